"""What the page's tables hold, each cell as it is shown."""

from collections.abc import Sequence
from typing import NamedTuple

from stages.report.page import names
from stages.report.page.charts import Chart, draw_curves
from stages.report.page.names import named
from stages.report.page.tables import short
from stages.report.page.texts import Both, same
from tools.compare.changes import ChangedStage
from tools.compare.comparison import Comparison, Named
from tools.compare.data import MOST_IDS
from tools.compare.markdown import LONGEST_VALUE, shorten
from tools.compare.others import Beside, Interval
from tools.compare.run import SCORES
from tools.compare.side_by_side import texts
from tools.compare.side_by_side.chinese import both
from tools.compare.side_by_side.metric_names import metric_name
from tools.console import visible


class Sides(NamedTuple):
    """A value of both runs. `change`: B less A, where that is a number."""

    name: Both
    a: str
    b: str
    change: str = ""


def name_of(revision: Named) -> Both:
    name, commit = visible(revision["name"]), revision["commit"]
    if commit is None:
        return texts.WORDS["worktree"]
    return same(name if commit.startswith(name) else f"{name} ({commit[:7]})")


def number(value: float | None, signed: bool = False) -> str:
    """Four digits of it.

    >>> number(19.8414), number(0.25, True), number(1677.0), number(None)
    ('19.84', '+0.25', '1,677', '')
    """
    if value is None:
        return ""
    whole = abs(value) >= 10_000 or float(value).is_integer()
    return format(value, ("+" if signed else "") + (",.0f" if whole else ".4g"))


def value_of(value: object) -> str:
    return "" if value is None else shorten(visible(str(value)), LONGEST_VALUE)


def difference_rows(found: Comparison) -> list[Sides]:
    rows = found["comparability"]["differences"]
    return [Sides(named(names.COMPARABILITY, one["name"]), short(one["a"]), short(one["b"])) for one in rows]


def param_rows(found: Comparison) -> list[Sides]:
    return [Sides(same(visible(one["name"])), value_of(one["a"]), value_of(one["b"])) for one in found["params"]]


def data_rows(found: Comparison) -> list[tuple[Both, Both, str, str]]:
    """(kind, what, how many, some of them)"""
    rows = found["data"]["changes"]
    return [
        (both(one["kind"], True), both(one["what"], True), f"{one['conversations']:,}", visible(", ".join(one["ids"])))
        for one in rows
    ]


def stage_rows(found: Comparison) -> list[tuple[str, Both, Both]]:
    """(stage, what for, what came of it)"""
    return [(one["name"], reason_of(one), outcome_of(one)) for one in found["stages"]]


def reason_of(stage: ChangedStage) -> Both:
    if stage["only"]:
        return both(f"only {stage['only'].upper()} has it")
    said = []
    for kind in ("params", "data", "code", "packages"):
        if some := stage[kind]:
            listed = few(some)
            said.append(Both(f"{texts.STAGE_PARTS[kind].en} {listed.en}", f"{texts.STAGE_PARTS[kind].zh} {listed.zh}"))
    said += [texts.STAGE_PARTS["command"]] if stage["command"] else []
    return Both("; ".join(one.en for one in said), "；".join(one.zh for one in said)) if said else texts.NOTHING_RECORDED


def few(all_of_them: Sequence[str]) -> Both:
    some = ", ".join(map(visible, all_of_them[:MOST_IDS]))
    rest = len(all_of_them) - MOST_IDS
    more = texts.MORE.filled(number=rest)
    return Both(f"{some}, {more.en}", f"{some}, {more.zh}") if rest > 0 else same(some)


def outcome_of(stage: ChangedStage) -> Both:
    number_of_outs = len(stage["outs"])
    if not number_of_outs:
        return both("the same results")
    return both(f"{number_of_outs} {'out' if number_of_outs == 1 else 'outs'} changed")


def metric_tables(found: Comparison) -> list[tuple[Both, list[Sides]]]:
    """(title, rows) of each file of metrics/ in which something changed."""
    tables = []
    for file in SCORES:
        rows = [
            Sides(metric_name(key), number(one["a"]), number(one["b"]), number(one["change"], True))
            for key, one in found["metrics"].get(file, {}).items()
            if one["a"] != one["b"]
        ]
        if rows:
            tables.append((texts.WORDS["metrics_of"].filled(file=f"{file}.json", number=len(rows)), rows))
    return tables


class OtherRow(NamedTuple):
    name: str
    measure: Both
    a: str
    b: str
    same: Both


def other_rows(models: Sequence[Beside]) -> list[OtherRow]:
    return [
        OtherRow(
            one["name"], texts.MEASURES[one["measure"]], with_interval(one["a"]), with_interval(one["b"]),
            same("") if one["same"] else texts.WORDS["others_not_same"],
        )
        for one in models
    ]  # fmt: skip


def other_lines(found: Comparison) -> list[Both]:
    """Whose replies only one run has, and what people voted."""
    others, votes = found["others"], found["others"]["votes"]
    lines = [texts.WORDS["others_only"].filled(run="A", name=name) for name in others["only_a"]]
    lines += [texts.WORDS["others_only"].filled(run="B", name=name) for name in others["only_b"]]
    if votes:
        rates = {run: with_interval(votes[run]) for run in ("a", "b", "change")}
        lines.append(texts.WORDS["votes_said"].filled(votes_a=votes["votes_a"], votes_b=votes["votes_b"], **rates))
    return lines


def with_interval(found: Interval) -> str:
    ends = "" if found["low"] is None else f" ({number(found['low'])} – {number(found['high'])})"
    return f"{number(found['value'])}{ends}"


def missing_rows(found: Comparison) -> list[tuple[str, str, Both]]:
    """(run, file, why)"""
    return [(one["run"], one["path"], both(visible(one["why"]))) for one in found["missing"]]


def loss_chart(found: Comparison) -> tuple[Chart | None, list[Sides]]:
    """The curves of both, and a row for each step with a validation loss."""
    loss = found["loss"]
    curves = {f"{split}_{run}": loss[run][split] for split in ("train", "validation") for run in ("a", "b")}
    steps = [round(step) for points in curves.values() for step, _ in points]
    losses = {run: dict(loss[run]["validation"]) for run in ("a", "b")}
    rows = [
        Sides(same(f"{step:g}"), *(f"{losses[run][step]:.4f}" if step in losses[run] else "" for run in ("a", "b")))
        for step in sorted({*losses["a"], *losses["b"]})
    ]
    return (draw_curves(curves, min(steps), max(steps)) if steps else None), rows
