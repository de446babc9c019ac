"""data/predictions/{base,tuned}.parquet and data/split/test.jsonl -> data/evaluation/scores.json (metrics with their n, the
differences with their intervals) and data/evaluation/examples.parquet (one row a conversation).
"""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
from pydantic import Field

from stages.evaluate.text_metrics import Bleu, ChrF, RougeL, count_ngrams, distinct_n, signatures
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import write_json
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.conversation import conversations_of, read_conversations, reply_text, trained_positions
from stages.lib.records.predictions import CONTENDERS, FOLDER, Contender, predictions_of
from stages.lib.records.scores import EXAMPLES, SCORES, Comparison, Evaluation, Scores, perplexity

REPLIES = {"base": "base_reply", "tuned": "tuned_reply", "reference": "reference"}  # whose text -> column of the examples


class EvaluateParams(Section):
    seed: int = Field(ge=0)
    resamples: int = Field(ge=100)
    confidence: float = Field(gt=0.5, lt=1)
    rouge_max_words: int = Field(ge=1)


def read_examples() -> pd.DataFrame:
    """One row a test conversation: what it is, and for each model nll, labels, reply, reply_tokens, stopped, unscored.

    Of several replies, the last one; the reference is the message in whose place it stands.
    """
    predicted = {model: of_conversations(pd.read_parquet(predictions_of(model))) for model in CONTENDERS}
    replied = predicted[CONTENDERS[0]].set_index("id")["turn"]
    rows = []
    for conversation in read_conversations(conversations_of("test")):
        messages, id = conversation["messages"], conversation["id"]
        texts = [reply_text(messages[place]) for place in trained_positions(messages)]
        rows.append(
            {
                "id": id,
                "label": conversation["label"] or "(none)",
                "language": conversation["language"],
                "turns": len(texts),
                "reference": reply_text(messages[replied.get(id, -1)]) if texts else "",
                "reference_bytes": sum(len(text.encode()) for text in texts),
            }
        )
    table = pd.DataFrame(rows)
    for model in CONTENDERS:
        path = predictions_of(model)
        predictions = predicted[model].drop(columns="turn").set_index("id").add_prefix(f"{model}_")
        if absent := sorted(set(table["id"]) - set(predictions.index)):
            raise ReprotuneError(
                f"{path}: no prediction for {len(absent):,} test conversations, {absent[0]} first; run `dvc repro`"
            )
        table = table.join(predictions, on="id", validate="one_to_one")
    return table


def of_conversations(predictions: pd.DataFrame) -> pd.DataFrame:
    """A row a test conversation: likelihoods summed over its turns, the last reply, why either is missing."""
    test = predictions[predictions["set"] == "test"]
    rows = []
    for id, turns in test.groupby("id", sort=False):
        last = turns[turns["reply"].notna()].tail(1)
        whole = turns["nll"].notna().all() and len(last)
        reasons = [*turns["unscored"].dropna(), *turns["unanswered"].dropna()]
        rows.append(
            {
                "id": id,
                "turn": int(last["turn"].iloc[0]) if len(last) else int(turns["turn"].iloc[-1]),
                "nll": turns["nll"].sum() if whole else None,
                "labels": turns["labels"].sum() if whole else None,
                "reply": last["reply"].iloc[0] if whole else None,
                "reply_tokens": last["reply_tokens"].iloc[0] if whole else None,
                "stopped": last["stopped"].iloc[0] if whole else None,
                "unscored": None if whole else reasons[0],
            }
        )
    return pd.DataFrame(rows)


def bits_per_byte(nll: pd.Series, text_bytes: pd.Series) -> float:
    """NLL in bits over the UTF-8 bytes of the assistant texts: lower is better, and comparable across tokenizers."""
    return nll.sum() / math.log(2) / text_bytes.sum()


def score_replies(table: pd.DataFrame, replies: pd.Series, rouge_max_words: int) -> Scores:
    """chrF over all replies; BLEU and ROUGE-L by language, since their tokenizers differ."""
    chrf = ChrF().compute(predictions=list(replies), references=list(table["reference"]))
    scores: Scores = {"chrf": chrf["chrf"]}
    for language, part in table.groupby("language", sort=True):
        texts = {"predictions": list(replies[part.index]), "references": list(part["reference"])}
        scores[f"bleu_{language}"] = Bleu().compute(**texts, language=str(language))["bleu"]
        scores[f"rouge_l_{language}"] = RougeL().compute(**texts, max_words=rouge_max_words)["rouge_l"]
    return scores


def score_variety(texts: dict[str, list[str]]) -> dict[str, Scores]:
    """distinct-1 and distinct-2 of each set of texts, all at the same number of n-grams."""
    variety: dict[str, Scores] = {name: {} for name in texts}
    for n in (1, 2):
        sample = min(count_ngrams(some, n) for some in texts.values())
        for name, some in texts.items():
            variety[name][f"distinct_{n}"] = distinct_n(some, n, sample)
    return variety


def bootstrap(statistic: Callable[[np.ndarray], float], n: int, params: EvaluateParams) -> tuple[float, float]:
    """Percentile interval of a statistic of row positions, over resampled conversations: turns depend on each other."""
    generator = np.random.default_rng(params.seed)
    values = [statistic(generator.integers(0, n, n)) for _ in range(params.resamples)]
    tail = (1 - params.confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def compare(table: pd.DataFrame, params: EvaluateParams) -> Comparison:
    """Tuned over base perplexity on the same conversations, with its interval: below 1 the tuned model is better."""
    nll = {model: table[f"{model}_nll"].to_numpy() for model in CONTENDERS}
    labels = table["base_labels"].to_numpy()

    def ratio(rows: np.ndarray) -> float:
        return perplexity(nll["tuned"][rows], labels[rows]) / perplexity(nll["base"][rows], labels[rows])

    low, high = bootstrap(ratio, len(table), params)
    return {
        "conversations": len(table),
        "perplexity_ratio": ratio(np.arange(len(table))),
        "perplexity_ratio_low": low,
        "perplexity_ratio_high": high,
        "more_likely_when_tuned": float(np.mean(nll["tuned"] < nll["base"])),
    }


def score_contender(scored: pd.DataFrame, contender: Contender, rouge_max_words: int) -> Scores:
    """What asks for likelihoods or for the references; the rest of the scores the references have too."""
    nll, labels = scored[f"{contender}_nll"], scored[f"{contender}_labels"]
    return {
        "labels": int(labels.sum()),
        "perplexity": perplexity(nll, labels),
        "bits_per_byte": bits_per_byte(nll, scored["reference_bytes"]),
        "reply_stopped": float(scored[f"{contender}_stopped"].mean()),
        **score_replies(scored, scored[f"{contender}_reply"], rouge_max_words),
    }


def score_all(table: pd.DataFrame, params: EvaluateParams) -> Evaluation:
    """Scores of the base, tuned and reference texts, and the comparison, on the conversations that both models could score."""
    scored = table[table["base_unscored"].isna() & table["tuned_unscored"].isna()].reset_index(drop=True)
    if scored.empty:
        reasons = "; ".join(sorted(set(table["base_unscored"].dropna()))[:3])
        raise ReprotuneError(f"{FOLDER}: no test conversation could be scored: {reasons}")
    texts = {name: list(scored[column]) for name, column in REPLIES.items()}
    counts: Scores = {"conversations": len(scored), "unscored": len(table) - len(scored)}
    scores = {name: counts | variety for name, variety in score_variety(texts).items()}
    for name, some in texts.items():
        scores[name]["reply_characters"] = sum(map(len, some)) / len(some)
    return {
        "base": scores["base"] | score_contender(scored, "base", params.rouge_max_words),
        "tuned": scores["tuned"] | score_contender(scored, "tuned", params.rouge_max_words),
        "reference": scores["reference"],
        "comparison": compare(scored, params),
        "signatures": signatures(sorted(set(scored["language"]))),
    }


def main() -> None:
    check_installed("requirements/core.txt", "requirements/evaluation.txt")
    params = read_params("evaluate", EvaluateParams)
    table = read_examples()
    scores = score_all(table, params)
    write_json(SCORES, scores)
    table.to_parquet(EXAMPLES, index=False, compression="zstd")
    base, tuned, comparison = scores["base"]["perplexity"], scores["tuned"]["perplexity"], scores["comparison"]
    interval = f"{comparison['perplexity_ratio_low']:.2f} to {comparison['perplexity_ratio_high']:.2f}"
    print(f"evaluate: perplexity {base:.2f} -> {tuned:.2f}, {comparison['perplexity_ratio']:.2f} times ({interval})")


if __name__ == "__main__":
    run_stage(main, outs=[EXAMPLES, SCORES], restore="dvc checkout evaluate")
