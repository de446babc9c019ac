"""A figure, or the reason why there is none: what cannot be computed is neither left out nor passed off as a number."""

import math

import numpy as np

from stages.evaluate.intervals import Estimate
from stages.lib.records.scores import Reason, Scores, Why, perplexity

DIGITS = 10  # what lies beyond them depends on the order in which a processor adds up

Figure = float | Reason  # the number, or why there is none
Figures = dict[str, Figure]


def finite(value: float, reason: Reason) -> Figure:
    return float(value) if math.isfinite(value) else reason


def perplexity_figure(nll: np.ndarray, labels: np.ndarray) -> Figure:
    """exp(sum of NLL / sum of labels), if each conversation has a likelihood and the result is a number."""
    if not len(nll):
        return Why.NO_LIKELIHOOD.said()
    if not labels.sum():
        return Why.NO_TOKEN.said()
    if bad := int((~np.isfinite(nll)).sum()):
        return Why.NO_NUMBERS.said(bad=bad, all=len(nll))
    return finite(perplexity(nll, labels), Why.IMPOSSIBLE.said())


def bits_per_byte_figure(nll: np.ndarray, text_bytes: np.ndarray) -> Figure:
    """NLL in bits over the UTF-8 bytes of the assistant texts: lower is better, and comparable across tokenizers."""
    if bad := int((~np.isfinite(nll)).sum()):
        return Why.NO_NUMBERS.said(bad=bad, all=len(nll))
    if not text_bytes.sum():
        return Why.NO_BYTE.said()
    return float(nll.sum() / math.log(2) / text_bytes.sum())


def interval_figures(name: str, estimate: Estimate, exponential: bool = False) -> Figures:
    """`name`, `name_low` and `name_high`; of a logarithm, their exponentials."""
    figures: Figures = {}
    for suffix, value in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high)):
        if value is None:
            figures[f"{name}{suffix}"] = estimate.reason or Why.NOT_COMPUTED.said()
        else:
            figures[f"{name}{suffix}"] = finite(exponential_of(value) if exponential else value, Why.TOO_LARGE.said())
    return figures


def exponential_of(value: float) -> float:
    with np.errstate(over="ignore"):
        return float(np.exp(np.float64(value)))


def without_reasons(figures: Figures) -> Scores:
    return {name: None if isinstance(value, str) else value for name, value in figures.items()}


def reasons_of(figures: Figures) -> dict[str, Reason]:
    return {name: value for name, value in figures.items() if isinstance(value, str)}


def to_digits(value: object) -> object:
    """What is written, so that another processor writes the same bytes.

    >>> to_digits({"a": [1.6342297290051198, 3, None], "b": (-0.58207671720874915, "x")})
    {'a': [1.634229729, 3, None], 'b': [-0.5820767172, 'x']}
    """
    if isinstance(value, dict):
        return {key: to_digits(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_digits(one) for one in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
