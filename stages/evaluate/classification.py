"""Replies and label likelihoods as a classifier's answers: how often they are right, how sure, and how often no label at all."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, log_loss

from stages.evaluate.figures import Figures
from stages.evaluate.intervals import share_interval
from stages.lib.records.conversation import normalize
from stages.lib.records.scores import Why

BINS = 10  # of the calibration error
INVALID = ""  # what a reply that is no label counts as


class Answers(NamedTuple):
    """`labels`: all of them, as they are written. `actual` and `replied`: their positions, or -1 for none of them: (N,).

    `nll`: of each label as the reply, in nats: (N, L), or None.
    """

    labels: list[str]
    actual: np.ndarray
    replied: np.ndarray
    nll: np.ndarray | None


def class_key(text: str) -> str:
    """What two spellings of a label share: case, width and white space do not count, nor a full stop at the end."""
    return normalize(text).rstrip(" .。")


def read_answers(references: Sequence[str], texts: Sequence[str], label_nll: Sequence[object], labels: Sequence[str]) -> Answers:
    """Labels that stand in test alone are labels too; no model has learned them."""
    keys = dict.fromkeys(map(class_key, [*labels, *references]))
    position = {key: at for at, key in enumerate(keys)}
    names = {class_key(text): text for text in [*references, *labels]}
    nll = None
    if len(label_nll) and all(likelihoods is not None for likelihoods in label_nll):
        nll = np.full((len(references), len(keys)), np.inf)
        for row, likelihoods in enumerate(label_nll):
            for text, value in dict(likelihoods).items():  # type: ignore[call-overload]
                nll[row, position[class_key(text)]] = value
    return Answers(
        [names[key] for key in keys],
        np.array([position[class_key(text)] for text in references], int),
        np.array([position.get(class_key(text), -1) for text in texts], int),
        nll,
    )


def probabilities(nll: np.ndarray) -> np.ndarray:
    """Of the labels, given that the reply is one of them: (N, L)."""
    weights = np.exp(nll.min(axis=1, keepdims=True) - nll)
    return weights / weights.sum(axis=1, keepdims=True)


def calibration_error(confidences: np.ndarray, right: np.ndarray) -> float:
    """Mean distance of accuracy from confidence over ten equal bins, (Naeini et al. 2015): 0 to 1, lower is better."""
    bins = np.minimum((confidences * BINS).astype(int), BINS - 1)
    gaps = [abs(right[bins == one].mean() - confidences[bins == one].mean()) * (bins == one).mean() for one in np.unique(bins)]
    return float(sum(gaps))


def macro_f1(actual: np.ndarray, predicted: np.ndarray) -> float:
    """Mean F1 of the labels that stand in test, whatever the model says besides them."""
    return float(f1_score(actual, predicted, labels=np.unique(actual), average="macro", zero_division=0))


def classification_figures(answers: Answers, groups: np.ndarray, confidence: float, with_likelihoods: bool) -> Figures:
    if not len(answers.actual):
        return {}
    right, invalid = answers.replied == answers.actual, answers.replied < 0
    figures: Figures = {"macro_f1": macro_f1(answers.actual, answers.replied)}
    for name, hits in (("accuracy", right), ("invalid_reply", invalid)):
        low, high = share_interval(hits, groups, confidence)
        figures |= {name: float(hits.mean()), f"{name}_low": low, f"{name}_high": high}
    return figures | (likelihood_figures(answers, groups, confidence) if with_likelihoods else {})


def likelihood_figures(answers: Answers, groups: np.ndarray, confidence: float) -> Figures:
    names = ("likelihood_accuracy", "likelihood_accuracy_low", "likelihood_accuracy_high", "log_loss", "calibration_error")
    if answers.nll is None:
        return dict.fromkeys(names, Why.NO_LABEL_LIKELIHOOD.said())
    if np.isnan(answers.nll).any() or not np.isfinite(answers.nll).any(axis=1).all():
        return dict.fromkeys(names, Why.LABEL_NO_NUMBER.said())
    shares = probabilities(answers.nll)
    hits = shares.argmax(axis=1) == answers.actual
    low, high = share_interval(hits, groups, confidence)
    unknown = not np.isfinite(answers.nll[np.arange(len(hits)), answers.actual]).all()
    every = list(range(len(answers.labels)))
    loss = Why.UNKNOWN_LABEL.said() if unknown else float(log_loss(answers.actual, shares, labels=every))
    return {
        "likelihood_accuracy": float(hits.mean()),
        "likelihood_accuracy_low": low,
        "likelihood_accuracy_high": high,
        "log_loss": loss,
        "calibration_error": calibration_error(shares.max(axis=1), hits),
    }


def confusion(answers: Answers) -> pd.DataFrame:
    """One row a reply, for the plot: actual, predicted; INVALID where the reply is no label."""
    said = [answers.labels[at] if at >= 0 else INVALID for at in answers.replied]
    return pd.DataFrame({"actual": [answers.labels[at] for at in answers.actual], "predicted": said})
