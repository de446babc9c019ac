"""Tuned against base on the same conversations: figures with intervals, and the questions that claims answer."""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.claims import Paired, Question, compare_lengths, compare_likelihoods, compare_scores, compare_shares
from stages.evaluate.figures import Figure, Figures, interval_figures
from stages.evaluate.intervals import DETECTABLE, auc, sign_test
from stages.lib.records.scores import Why, perplexity

Task = Literal["dialogue", "classification"]
NO_RETENTION = Why.NO_RETENTION.said()
NO_TRAIN = Why.NO_TRAIN.said()


class Measured(NamedTuple):
    """Rows that both models have. `likelihoods`: NLL, weighed by labels, a row a conversation. Of replies, a row each:
    `lengths` in characters, `chrf`, `broken` (in classification, no label at all), `right` (of classification; else None).
    `over_majority`: right replies of the majority class, in base's place, and of tuned. `retention`: NLL of general texts;
    `train`: of training conversations; None where predict gave none. `similarity`: None where it is off.
    """

    task: Task
    likelihoods: Paired
    lengths: Paired
    chrf: Paired
    broken: Paired
    right: Paired | None
    likely_right: Paired | None
    over_majority: Paired | None
    retention: Paired | None
    train: Paired | None
    similarity: Paired | None = None


def pair(table: pd.DataFrame, column: str, weights: str | None = None) -> Paired:
    base, tuned = (table[f"{model}_{column}"].to_numpy(float) for model in ("base", "tuned"))
    weighed = table[weights].to_numpy(float) if weights else np.ones(len(table))
    return Paired(base, tuned, weighed, table["group"].to_numpy(str))


def share_more_likely(pairs: Paired) -> Figure:
    """Share of conversations whose references tuned finds more likely; where it makes no difference, half."""
    if not len(pairs.base) or not (np.isfinite(pairs.base).all() and np.isfinite(pairs.tuned).all()):
        return Why.NO_NUMBER_OR_NONE.said()
    return float(np.mean((pairs.tuned < pairs.base) + (pairs.tuned == pairs.base) / 2))


def comparison_figures(measured: Measured, confidence: float) -> Figures:
    """Those whose names end in `_difference` are tuned less base (or the majority class), `_ratio` tuned over base."""
    likelihoods = compare_likelihoods(measured.likelihoods, confidence)
    figures: Figures = {"conversations": len(measured.likelihoods.base), "groups": likelihoods.groups}
    figures |= interval_figures("perplexity_ratio", likelihoods, exponential=True)
    error = likelihoods.error
    figures["perplexity_ratio_detectable"] = (
        float(np.exp(-DETECTABLE * error)) if error is not None else likelihoods.reason or Why.NOT_COMPUTED.said()
    )
    figures["more_likely_when_tuned"] = share_more_likely(measured.likelihoods)
    figures |= retention_figures(measured.retention, confidence)
    figures |= interval_figures("length_ratio", compare_lengths(measured.lengths, confidence), exponential=True)
    figures |= interval_figures("chrf_difference", compare_scores(measured.chrf, confidence))
    figures |= similarity_figures(measured.similarity, confidence)
    figures |= interval_figures("broken_difference", compare_shares(measured.broken, confidence))
    shares = {"accuracy": measured.right, "likelihood_accuracy": measured.likely_right, "majority": measured.over_majority}
    for name, pairs in shares.items():
        if pairs is not None:
            figures |= interval_figures(f"{name}_difference", compare_shares(pairs, confidence))
            figures[f"{name}_mcnemar_p"] = sign_test(pairs.tuned - pairs.base, pairs.groups)
    return figures


def similarity_figures(pairs: Paired | None, confidence: float) -> Figures:
    """Difference of two mean cosines."""
    name = "embedding_similarity_difference"
    if pairs is None:
        return dict.fromkeys([name, f"{name}_low", f"{name}_high"], Why.NO_EMBEDDING.said())
    return interval_figures(name, compare_scores(pairs, confidence, bound=2))


def retention_figures(pairs: Paired | None, confidence: float) -> Figures:
    """Of the base model's replies to general prompts: their perplexity under tuned over that under base."""
    if pairs is None:
        return dict.fromkeys(["retention_ratio", "retention_ratio_low", "retention_ratio_high"], NO_RETENTION)
    return interval_figures("retention_ratio", compare_likelihoods(pairs, confidence), exponential=True)


def ask(measured: Measured, confidence: float) -> list[Question]:
    """The questions, in the order in which a reader asks them; of a classifier also whether it beats the majority class."""
    majority = measured.over_majority
    beaten = [] if majority is None else [ask_majority(majority, confidence)]
    return [
        ask_better(measured, confidence),
        *beaten,
        ask_forgot(measured, confidence),
        ask_broken(measured, confidence),
        ask_length(measured, confidence),
        ask_memorised(measured, confidence),
    ]


def ask_better(measured: Measured, confidence: float) -> Question:
    if measured.right is not None:
        pairs = measured.right
        return Question("better", "accuracy_difference", compare_shares(pairs, confidence), len(pairs.base), *means(pairs))
    pairs = measured.likelihoods
    values = perplexities(pairs)
    return Question("better", "perplexity_ratio", compare_likelihoods(pairs, confidence), len(pairs.base), *values)


def ask_majority(pairs: Paired, confidence: float) -> Question:
    return Question("majority", "majority_difference", compare_shares(pairs, confidence), len(pairs.base), *means(pairs))


def ask_forgot(measured: Measured, confidence: float) -> Question:
    pairs = measured.retention
    if pairs is None:
        return Question("forgot", "retention_ratio", None, 0, reason=NO_RETENTION)
    return Question("forgot", "retention_ratio", compare_likelihoods(pairs, confidence), len(pairs.base), *perplexities(pairs))


def ask_broken(measured: Measured, confidence: float) -> Question:
    pairs = measured.broken
    return Question("broken", "broken_difference", compare_shares(pairs, confidence), len(pairs.base), *means(pairs))


def ask_length(measured: Measured, confidence: float) -> Question:
    pairs = measured.lengths
    return Question("length", "length_ratio", compare_lengths(pairs, confidence), len(pairs.base), *means(pairs))


def ask_memorised(measured: Measured, confidence: float) -> Question:
    """Whether tuning gained more on training conversations than on new ones: the chance to tell them apart by the gain."""
    if measured.train is None:
        return Question("memorised", "memorised_auc", None, 0, reason=NO_TRAIN)
    train, test = (gains(pairs) for pairs in (measured.train, measured.likelihoods))
    estimate = auc(train, test, measured.train.groups, measured.likelihoods.groups, confidence)
    return Question("memorised", "memorised_auc", estimate, len(train) + len(test))


def gains(pairs: Paired) -> np.ndarray:
    """Nats a token that tuning took off each conversation: (N,)."""
    with np.errstate(all="ignore"):
        return (pairs.base - pairs.tuned) / pairs.weights


def means(pairs: Paired) -> tuple[float | None, float | None]:
    return (_value(pairs.base.mean()), _value(pairs.tuned.mean())) if len(pairs.base) else (None, None)


def perplexities(pairs: Paired) -> tuple[float | None, float | None]:
    return _value(perplexity(pairs.base, pairs.weights)), _value(perplexity(pairs.tuned, pairs.weights))


def _value(number: float) -> float | None:
    return float(number) if np.isfinite(number) else None
