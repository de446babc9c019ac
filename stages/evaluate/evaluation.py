"""From the tables of examples to everything that is said about a run."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.answered import Answered, answers_of, classified_pairs, common_rows, score_answers
from stages.evaluate.claims import Paired, make_claims
from stages.evaluate.classification import Answers, classification_figures, confusion
from stages.evaluate.comparison import Measured, Task, ask, comparison_figures, pair
from stages.evaluate.embedding import Embedder
from stages.evaluate.examples import Examples, read_others
from stages.evaluate.figures import Figures, reasons_of, without_reasons
from stages.evaluate.memory import verbatim_figures
from stages.evaluate.others import add_columns, compare_other, describe_others, reasons_of_others
from stages.evaluate.reply_files import OtherModel
from stages.evaluate.scoring import (
    NO_REPLY,
    Settings,
    by_language,
    languages_with_metrics,
    likelihood_figures,
    reply_figures,
    samples_of,
    variety,
)
from stages.evaluate.strata import compare_strata, find_influence
from stages.evaluate.text_metrics import signatures
from stages.evaluate.votes import Vote, add_hashes, add_numbers, ask_preferred, count_votes, vote_figures
from stages.lib.records.predictions import CONTENDERS
from stages.lib.records.scores import Evaluation, LanguageRow, Why


class Given(NamedTuple):
    """`task`, `task_reason` and `labels` as predict found them; `group_of` each conversation of the data; people's `votes`."""

    task: Task
    task_reason: str
    labels: list[str]
    group_of: dict[str, str]
    votes: list[Vote]


def contender_figures(name: str, scored: pd.DataFrame, answers: Answered, settings: Settings) -> Figures:
    figures = reply_figures(answers.replies, answers.each[name], answers.texts[name], settings)
    if name not in CONTENDERS:
        return figures
    columns = (scored[f"{name}_nll"], scored[f"{name}_labels"], scored["reference_bytes"])
    stopped = answers.replies[f"{name}_stopped"]
    figures |= likelihood_figures(*(column.to_numpy(float) for column in columns)) | verbatim_figures(name)
    return figures | {"reply_stopped": float(stopped.mean()) if len(stopped) else NO_REPLY}


def other_pairs(name: str, group_of: dict[str, str]) -> Paired | None:
    """Likelihoods of both models on texts that are not of test; without a group of its own each text is one."""
    base, tuned = (read_others(contender, name) for contender in CONTENDERS)
    both = base.add_suffix("_base").join(tuned.add_suffix("_tuned"), how="inner")
    if both.empty:
        return None
    groups = np.array([group_of.get(str(id), str(id)) for id in both.index], str)
    base_nll, tuned_nll, labels = (both[column].to_numpy(float) for column in ("nll_base", "nll_tuned", "labels_base"))
    return Paired(base_nll, tuned_nll, labels, groups)


def measure(scored: pd.DataFrame, answers: Answered, classified: dict[str, Answers], given: Given) -> Measured:
    table = answers.replies[["group"]].copy()
    for contender in CONTENDERS:
        table[f"{contender}_length"] = [len(text) for text in answers.texts[contender]]
        for column in ("chrf", "broken", "similarity"):
            if column in answers.each[contender]:
                table[f"{contender}_{column}"] = answers.each[contender][column].to_numpy(float)
    found = classified_pairs(answers, classified) if classified else None
    return Measured(
        task=given.task,
        likelihoods=pair(scored, "nll", "base_labels"),
        lengths=pair(table, "length"),
        chrf=pair(table, "chrf"),
        broken=found.invalid if found else pair(table, "broken"),
        right=found.right if found else None,
        likely_right=found.likely_right if found else None,
        over_majority=found.over_majority if found else None,
        retention=other_pairs("retention", given.group_of),
        train=other_pairs("train", given.group_of),
        similarity=pair(table, "similarity") if "base_similarity" in table else None,
    )


def language_rows(answers: Answered) -> list[LanguageRow]:
    every = sorted(set(answers.replies["language"]))
    rows: list[LanguageRow] = []
    for name in CONTENDERS:
        rows += by_language(name, answers.replies, answers.each[name], answers.texts[name], every)
    return rows


def figures_of_all(
    examples: Examples, scored: pd.DataFrame, answers: Answered, classified: dict[str, Answers], settings: Settings
) -> dict[str, Figures]:
    """Of base, tuned, the floors and the references."""
    counts: Figures = {"conversations": len(scored), "unscored": len(examples.conversations) - len(scored)}
    counts["unanswered"] = len(examples.replies) - len(answers.replies)
    figures: dict[str, Figures] = {}
    for name in answers.texts:
        figures[name] = (counts if name in CONTENDERS else {}) | contender_figures(name, scored, answers, settings)
        if name in classified:
            groups = answers.replies["group"].to_numpy(str)
            figures[name] |= classification_figures(classified[name], groups, settings.confidence, name in CONTENDERS)
    references = list(answers.replies["reference"])
    mean = sum(map(len, references)) / len(references) if references else NO_REPLY
    figures["reference"] = {"replies": len(references), "reply_characters": mean, **variety(references, settings.samples)}
    return figures


def evaluate_all(
    examples: Examples,
    floors: dict[str, list[str]],
    models: dict[str, OtherModel],
    given: Given,
    confidence: float,
    rouge_max_words: int,
    embedder: Embedder | None,
) -> tuple[Evaluation, pd.DataFrame]:
    """The evaluation, and the replies with the scores of each. `floors`: a reply of each floor to each of `examples.replies`;
    `models`: other models, with replies of their own.
    """
    scored, answered = common_rows(examples)
    kept = examples.replies["base_reply"].notna() & examples.replies["tuned_reply"].notna()
    floors = {name: [text for text, keep in zip(texts, kept, strict=True) if keep] for name, texts in floors.items()}
    answers = score_answers(answered, floors, rouge_max_words, embedder)
    languages = languages_with_metrics(examples.conversations)
    settings = Settings(confidence, rouge_max_words, languages, samples_of(list(examples.replies["reference"])), embedder)
    is_classification = given.task == "classification"
    classified = {name: answers_of(answers, name, given.labels) for name in answers.texts} if is_classification else {}
    measured = measure(scored, answers, classified, given)
    influence = find_influence(list(scored["id"]), measured.likelihoods)
    without = influence["perplexity_ratio"]
    figures = figures_of_all(examples, scored, answers, classified, settings)
    replies = add_numbers(add_hashes(with_scores(examples.replies, answers)), given.votes)
    ballot = count_votes(given.votes, replies)
    figures["comparison"] = comparison_figures(measured, confidence) | {
        "perplexity_ratio_without_3": Why.NOT_COMPUTED.said() if without is None else without
    }
    figures["comparison"] |= vote_figures(ballot, confidence)
    labels = given.labels if is_classification else None
    compared = {
        name: compare_other(model, answers.replies, answers.texts, answers.each, settings, labels)
        for name, model in models.items()
    }
    reasons: dict[str, str] = {f"{name}.{key}": why for name, some in figures.items() for key, why in reasons_of(some).items()}
    reasons |= reasons_of_others(compared)
    comparison = without_reasons(figures.pop("comparison"))
    if measured.right is not None:
        table = answers.replies.merge(examples.conversations, on=["id", "group", "label", "language"])
        strata = compare_strata(table, measured.right, "accuracy_difference", confidence)
    else:
        strata = compare_strata(scored, measured.likelihoods, "perplexity_ratio", confidence)
    evaluation: Evaluation = {
        "task": given.task,
        "task_reason": given.task_reason,
        "contenders": {name: without_reasons(some) for name, some in figures.items()},
        "comparison": comparison,
        "claims": make_claims([*ask(measured, confidence), ask_preferred(ballot, confidence)], confidence),
        "others": describe_others(models, compared, len(answers.replies), confidence),
        "strata": strata,
        "influence": influence,
        "languages": language_rows(answers),
        "confusion": list(confusion(classified["tuned"]).itertuples(index=False, name=None)) if classified else [],
        "reasons": reasons,
        "signatures": signatures(sorted(set(answered["language"])))
        | ({"embedding_similarity": embedder.pin} if embedder else {}),
        "comparability": {},
    }
    return evaluation, add_columns(replies, models)


def with_scores(replies: pd.DataFrame, answers: Answered) -> pd.DataFrame:
    """All replies that were wanted, with the scores of those that both models gave."""
    scores = [answers.each[contender].add_prefix(f"{contender}_") for contender in CONTENDERS]
    scored = pd.concat([answers.replies[["id", "turn"]], *scores], axis=1)
    columns = [column for column in replies if not str(column).endswith("_label_nll")]
    return replies[columns].merge(scored, on=["id", "turn"], how="left", validate="one_to_one")
