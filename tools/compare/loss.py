"""The loss curves of both runs, from the data of git's plots: as points, and drawn over each other as SVG."""

import csv
import io
import math
from collections.abc import Sequence
from typing import TypedDict

from stages.report.files import METRICS
from tools.compare.revision import Revision

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 360, 56, 16, 40, 40
COLOURS = {"a": "#8a8f98", "b": "#c2410c"}
SVG = (
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
    'font-family="system-ui, sans-serif" font-size="12" aria-label="Loss during training of A and of B">'
)
Curve = list[tuple[float, float]]  # (step, loss in nats a label)


class Curves(TypedDict):
    train: Curve
    validation: Curve


def read_curves(revision: Revision) -> Curves:
    """Empty where git has none."""
    return {"train": read_curve(revision, "train"), "validation": read_curve(revision, "validation")}


def read_curve(revision: Revision, split: str) -> Curve:
    content = revision.read(METRICS / "plots" / f"{split}_loss.csv") or b""
    rows = csv.DictReader(io.StringIO(content.decode("utf-8", "replace")))
    try:
        points = [(float(row["step"]), float(row["loss"])) for row in rows]
    except (KeyError, TypeError, ValueError):
        return []
    return [point for point in points if all(map(math.isfinite, point))]


def draw(a: Curves, b: Curves) -> str | None:
    """Train thin, validation thick; None where there is nothing to draw."""
    curves = [(run, split, points) for run, some in (("a", a), ("b", b)) for split, points in by_split(some)]
    steps, losses = ([point[axis] for _, _, points in curves for point in points] for axis in (0, 1))
    if not steps:
        return None
    last, low, high = max(steps) or 1, min(losses), max(losses)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)

    def place(point: tuple[float, float]) -> str:
        x = LEFT + point[0] / last * (WIDTH - LEFT - RIGHT)
        y = TOP + (high - point[1]) / (high - low) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    lines = [SVG, f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
    for loss in ticks(low, high):
        height = place((0, loss)).split(",")[1]
        lines.append(f'<path d="M{LEFT} {height}H{WIDTH - RIGHT}" stroke="#e5e7eb"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{height}" dy="4" text-anchor="end" fill="#4b5563">{loss:g}</text>')
    for step in ticks(0, last):
        across = place((step, low)).split(",")[0]
        lines.append(f'<text x="{across}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle" fill="#4b5563">{step:g}</text>')
    lines.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end" fill="#4b5563">step; loss in nats a label</text>')
    lines += legend()
    for run, split, points in curves:
        if points:
            lines.append(f'<polyline points="{" ".join(map(place, points))}" {stroke(run, split)} fill="none"/>')
        for point in points if split == "validation" or len(points) == 1 else []:
            across, height = place(point).split(",")
            lines.append(f'<circle cx="{across}" cy="{height}" r="3" fill="{COLOURS[run]}"/>')
    return "\n".join([*lines, "</svg>", ""])


def by_split(curves: Curves) -> list[tuple[str, Curve]]:
    return [("train", curves["train"]), ("validation", curves["validation"])]


def legend() -> list[str]:
    lines = []
    for left, run in ((LEFT, "a"), (LEFT + 260, "b")):
        for down, split in ((0, "train"), (16, "validation")):
            lines.append(f'<path d="M{left} {12 + down}h24" {stroke(run, split)}/>')
            lines.append(f'<text x="{left + 32}" y="{16 + down}" fill="#1f2937">{run.upper()}, {split}</text>')
    return lines


def stroke(run: str, split: str) -> str:
    width = "2.5" if split == "validation" else "1"
    dashes = ' stroke-dasharray="6 3"' if run == "a" else ""
    return f'stroke="{COLOURS[run]}" stroke-width="{width}"{dashes} stroke-linejoin="round"'


def ticks(low: float, high: float) -> Sequence[float]:
    """Round numbers from low to high, up to seven of them.

    >>> ticks(0, 33), ticks(2.74, 3.83)
    ([0.0, 10.0, 20.0, 30.0], [2.8, 3.0, 3.2, 3.4, 3.6, 3.8])
    """
    rough = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first, final = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) for number in range(first, final + 1)]
