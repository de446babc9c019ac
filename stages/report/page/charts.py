"""Numbers -> places in a drawing of 100 by 100, which the page stretches to its width: text stays text beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from stages.lib.records.loss_history import HistoryRow

Points = list[tuple[float, float]]


class Curve(NamedTuple):
    """`path`: of an SVG. `points`: (step, loss)."""

    name: str
    path: str
    points: Points


class Chart(NamedTuple):
    """`ticks`: (place from the top, text) on the vertical axis. `kept`: the place of the step that was kept, from the left."""

    curves: list[Curve]
    ticks: list[tuple[float, str]]
    first_step: int
    last_step: int
    kept: float | None


def step_of(span: float, parts: int) -> float:
    """The distance of round numbers that cut the span into at most so many parts.

    >>> step_of(2.1, 4), step_of(90, 5)
    (1.0, 20.0)
    """
    rough = span / parts
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))


def place(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 2) if high > low else 50.0


def draw_path(points: Sequence[tuple[float, float]]) -> str:
    """
    >>> draw_path([(0, 1.5), (10, 2)])
    'M0 1.5L10 2'
    """
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) if points else ""


def draw_losses(history: Sequence[HistoryRow]) -> Chart | None:
    """Both losses over the steps; None where there is none."""
    curves: dict[str, Points] = {"train": [], "validation": []}
    for row in history:
        for name, loss in (("train", row.get("train_loss")), ("validation", row.get("validation_loss"))):
            if loss is not None and math.isfinite(loss):
                curves[name].append((row["step"], loss))
    kept = next((row["step"] for row in history if row.get("kept")), None)
    steps = [row["step"] for row in history] or [0]
    return draw_curves(curves, steps[0], steps[-1], kept)


def draw_curves(curves: Mapping[str, Points], first: int, last: int, kept: int | None = None) -> Chart | None:
    """Curves by their names, all on the same axes, over the steps from first to last; None where there is none."""
    losses = [loss for points in curves.values() for _, loss in points]
    if not losses:
        return None
    distance = step_of((max(losses) - min(losses)) or 1.0, 4)
    low, high = math.floor(min(losses) / distance) * distance, math.ceil(max(losses) / distance) * distance
    if high == low:
        high = low + distance
    digits = max(0, -math.floor(math.log10(distance)))
    values = [low + distance * number for number in range(round((high - low) / distance) + 1)]

    def draw(points: Points) -> str:
        return draw_path([(place(step, first, last), 100 - place(loss, low, high)) for step, loss in points])

    return Chart(
        [Curve(name, draw(points), points) for name, points in curves.items() if points],
        [(100 - place(value, low, high), f"{value:.{digits}f}") for value in values],
        first,
        last,
        None if kept is None else place(kept, first, last),
    )


class Scale(NamedTuple):
    """Of one column of a table: values -> places from the left; `logarithmic` for ratios."""

    low: float
    high: float
    logarithmic: bool

    def place(self, value: float) -> float:
        return place(self._axis(value), self._axis(self.low), self._axis(self.high))

    def _axis(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value


def scale_over(values: Sequence[float], logarithmic: bool) -> Scale | None:
    """Over all of these, with some room; None where there is nothing to draw."""
    kept = [value for value in values if math.isfinite(value) and (value > 0 or not logarithmic)]
    if not kept:
        return None
    low, high = min(kept), max(kept)
    if logarithmic:
        room = max((high / low) ** 0.06, 1.05)
        return Scale(low / room, high * room, True)
    room = (high - low) * 0.06 or 0.05
    return Scale(low - room, high + room, False)
