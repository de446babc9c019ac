"""A figure, or the reason why there is none: what cannot be computed is neither left out nor passed off as a number."""

import math

import numpy as np

from stages.evaluate.intervals import Estimate
from stages.lib.records.scores import Scores, perplexity

Figure = float | str  # the number, or why there is none
Figures = dict[str, Figure]


def finite(value: float, reason: str) -> Figure:
    return float(value) if math.isfinite(value) else reason


def perplexity_figure(nll: np.ndarray, labels: np.ndarray) -> Figure:
    """exp(sum of NLL / sum of labels), if each conversation has a likelihood and the result is a number."""
    if not len(nll):
        return "no conversation has a likelihood"
    if not labels.sum():
        return "no conversation has a token to score"
    if bad := int((~np.isfinite(nll)).sum()):
        return f"the likelihood of {bad:,} of {len(nll):,} conversations is no number"
    return finite(perplexity(nll, labels), "larger than any number: the model finds the references all but impossible")


def bits_per_byte_figure(nll: np.ndarray, text_bytes: np.ndarray) -> Figure:
    """NLL in bits over the UTF-8 bytes of the assistant texts: lower is better, and comparable across tokenizers."""
    if bad := int((~np.isfinite(nll)).sum()):
        return f"the likelihood of {bad:,} of {len(nll):,} conversations is no number"
    if not text_bytes.sum():
        return "no conversation has a byte to score"
    return float(nll.sum() / math.log(2) / text_bytes.sum())


def interval_figures(name: str, estimate: Estimate, exponential: bool = False) -> Figures:
    """`name`, `name_low` and `name_high`; of a logarithm, their exponentials."""
    figures: Figures = {}
    for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)):
        if value is None:
            figures[f"{name}{suffix}"] = estimate.reason or "it cannot be computed"
        else:
            figures[f"{name}{suffix}"] = finite(exponential_of(value) if exponential else value, "larger than any number")
    return figures


def exponential_of(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(value)))


def without_reasons(figures: Figures) -> Scores:
    return {name: None if isinstance(value, str) else value for name, value in figures.items()}


def reasons_of(figures: Figures) -> dict[str, str]:
    return {name: value for name, value in figures.items() if isinstance(value, str)}
