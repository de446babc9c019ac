"""Other models beside tuned, by what their texts show: on the replies that all of them have, and with the number of these."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.behaviour import Behaviour
from stages.evaluate.claims import Paired, Question, compare_lengths, compare_scores, compare_shares, make_claims
from stages.evaluate.classification import classification_figures, read_answers
from stages.evaluate.comparison import means, similarity_figures
from stages.evaluate.embedding import add_similarity
from stages.evaluate.figures import Figures, interval_figures, reasons_of, without_reasons
from stages.evaluate.intervals import sign_test
from stages.evaluate.reply_files import OtherModel
from stages.evaluate.scoring import Settings, reply_figures, samples_of, score_each
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.predictions import CONTENDERS
from stages.lib.records.scores import Other, Why

OF_TEXT = [name for name in Behaviour.__annotations__ if name != "runaway"]  # for which one must know that a reply was cut
UNKNOWN_END = Why.UNKNOWN_END.said()


class Side(NamedTuple):
    """One model on the common rows. `broken`: faults that the text shows, or in classification no label."""

    texts: list[str]
    each: pd.DataFrame
    broken: np.ndarray
    right: np.ndarray | None
    figures: Figures


class Compared(NamedTuple):
    """`kept`: positions, among the replies of base and tuned, of those that the other model has too: (M,)."""

    kept: np.ndarray
    sides: dict[str, Side]
    comparison: Figures
    questions: list[Question]


def measure_side(rows: pd.DataFrame, texts: list[str], each: pd.DataFrame, settings: Settings, labels: list[str] | None) -> Side:
    """`rows`, `texts` and `each` stand beside one another; `labels`: of classification."""
    each = each.assign(runaway=False, broken=each[OF_TEXT].any(axis=1))
    figures = reply_figures(rows, each, texts, settings)
    figures |= {name: UNKNOWN_END for name in figures if name.startswith("runaway")}
    if labels is None:
        return Side(texts, each, each["broken"].to_numpy(float), None, figures)
    answers = read_answers(list(rows["reference"]), texts, [], labels)
    figures |= classification_figures(answers, rows["group"].to_numpy(str), settings.confidence, False)
    return Side(texts, each, (answers.replied < 0).astype(float), (answers.replied == answers.actual).astype(float), figures)


def compare_sides(other: Side, tuned: Side, rows: pd.DataFrame, confidence: float) -> tuple[Figures, list[Question]]:
    """Tuned less, or over, the other model, which stands in base's place."""
    groups, ones, number = rows["group"].to_numpy(str), np.ones(len(rows)), len(rows)

    def pairs(first: object, second: object) -> Paired:
        return Paired(np.array(first, float), np.array(second, float), ones, groups)

    wording, broken = pairs(other.each["chrf"], tuned.each["chrf"]), pairs(other.broken, tuned.broken)
    lengths = pairs([len(text) for text in other.texts], [len(text) for text in tuned.texts])
    nearer, fewer = compare_scores(wording, confidence), compare_shares(broken, confidence)
    longer = compare_lengths(lengths, confidence)
    figures = interval_figures("chrf_difference", nearer) | interval_figures("broken_difference", fewer)
    both = None
    if "similarity" in other.each:
        both = pairs(other.each["similarity"], tuned.each["similarity"])
    figures |= similarity_figures(both, confidence)
    figures |= interval_figures("length_ratio", longer, exponential=True)
    questions = [
        Question("wording", "chrf_difference", nearer, number, *means(wording)),
        Question("broken", "broken_difference", fewer, number, *means(broken)),
        Question("length", "length_ratio", longer, number, *means(lengths)),
    ]
    if other.right is not None and tuned.right is not None:
        right = pairs(other.right, tuned.right)
        accuracy = compare_shares(right, confidence)
        figures |= interval_figures("accuracy_difference", accuracy)
        figures["accuracy_mcnemar_p"] = sign_test(right.tuned - right.base, groups)
        questions = [Question("better", "accuracy_difference", accuracy, number, *means(right)), *questions]
    return figures, questions


def compare_other(
    model: OtherModel,
    replies: pd.DataFrame,
    texts: dict[str, list[str]],
    each: dict[str, pd.DataFrame],
    settings: Settings,
    labels: list[str] | None,
) -> Compared:
    """`replies`: those that base and tuned have, with the `texts` of both and the scores of `each`."""
    keys = list(zip(replies["id"], replies["turn"], strict=True))
    kept = np.array([at for at, key in enumerate(keys) if key in model.replies], int)
    if not len(kept):
        raise ReprotuneError(
            f"{model.path}: none of its {len(model.replies):,} replies is to one of the messages that base and tuned replied to; "
            "data/evaluation/replies.parquet has their id and turn"
        )
    rows = replies.iloc[kept].reset_index(drop=True)
    own = settings._replace(samples=samples_of(list(rows["reference"])))
    said = [model.replies[keys[at]] for at in kept]
    scored = score_each(rows, said, [True] * len(rows), settings.rouge_max_words)
    if settings.embedder:
        scored = add_similarity(scored, said, list(rows["reference"]), settings.embedder)
    sides = {"other": measure_side(rows, said, scored, own, labels)}
    for name in CONTENDERS:
        part = each[name].iloc[kept].reset_index(drop=True)
        sides[name] = measure_side(rows, [texts[name][at] for at in kept], part, own, labels)
    return Compared(kept, sides, *compare_sides(sides["other"], sides["tuned"], rows, settings.confidence))


def describe_others(
    models: dict[str, OtherModel], compared: dict[str, Compared], answered: int, confidence: float
) -> dict[str, Other]:
    """With claims that count each other, of all the models together, and none of those about base."""
    questions = [question for one in compared.values() for question in one.questions]
    claims = iter(make_claims(questions, confidence))
    return {
        name: {
            "replies": len(one.kept),
            "missing": answered - len(one.kept),
            "foreign": models[name].foreign,
            "not_asked": len(models[name].replies) - len(one.kept),
            "scores": without_reasons(one.sides["other"].figures),
            "base": without_reasons(one.sides["base"].figures),
            "tuned": without_reasons(one.sides["tuned"].figures),
            "comparison": without_reasons(one.comparison),
            "claims": [next(claims) for _ in one.questions],
        }
        for name, one in compared.items()
    }


def reasons_of_others(compared: dict[str, Compared]) -> dict[str, str]:
    """Key, such as contenders.last_year.comparison.chrf_difference_low -> why it is None."""
    reasons: dict[str, str] = {}
    for name, one in compared.items():
        for part, figures in (("scores", one.sides["other"].figures), ("comparison", one.comparison)):
            reasons |= {f"contenders.{name}.{part}.{key}": why for key, why in reasons_of(figures).items()}
    return reasons


def add_columns(replies: pd.DataFrame, models: dict[str, OtherModel]) -> pd.DataFrame:
    """The replies of each other model beside those of base and tuned; None where it has none."""
    keys = list(zip(replies["id"], replies["turn"], strict=True))
    columns = {
        f"{name}_reply": pd.Series([model.replies.get(key) for key in keys], dtype=object) for name, model in models.items()
    }
    return replies.assign(**columns)


def describe_counts(name: str, other: Other) -> str:
    """
    >>> describe_counts("last_year", {"replies": 60, "missing": 3, "foreign": 2, "not_asked": 0})
    'last_year: 60 of 63 replies, 2 are to no message of test'
    """
    said = f"{name}: {other['replies']:,} of {other['replies'] + other['missing']:,} replies"
    if other["foreign"]:
        said += f", {other['foreign']:,} are to no message of test"
    if other["not_asked"]:
        said += f", {other['not_asked']:,} to messages that base and tuned did not reply to"
    return said
