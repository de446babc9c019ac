"""What the page's tables hold, each cell as it is shown."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from stages.lib.records.predictions import CONTENDERS
from stages.lib.records.scores import Evaluation, Other, Scores, Stratum
from stages.report.evaluation import VERDICTS, cell, columns_of, other_name, strata_table
from stages.report.gates import WORDS, Outcome
from stages.report.names import shown_label, shown_name
from stages.report.page import names
from stages.report.page.charts import scale_over
from stages.report.page.names import named
from stages.report.page.texts import Both, same
from stages.report.page.verdict import ToldClaim, tell
from stages.report.reasons import in_chinese

BOUNDS = dict(zip(WORDS.values(), ("低于", "至多", "高于", "至少"), strict=True))
PASSED = Both("holds", "达到")
FAILED = Both("fails", "未达到")
NOT_COMPUTED = Both("could not be computed: {reason}", "无法计算：{reason}")
PART = Both(
    "It has {replies} of {wanted} replies, and {foreign} to other messages; what follows is about the {replies} alone.",
    "{wanted} 条回复中它有 {replies} 条，另有 {foreign} 条针对别的消息；以下只比较这 {replies} 条。",
)
NO_LABEL = Both("(no label)", "（不是标签）")
MISTAKES = 10  # rows, of many more that there may be
POOLED = re.compile(r"\(+(other|none)\)+")
SHORT = 60  # characters, beyond which a value is shown as a hash


class ScoreTable(NamedTuple):
    heads: list[Both]
    rows: list[tuple[Both, list[str]]]


def score_table(evaluation: Evaluation) -> ScoreTable:
    contenders = evaluation["contenders"]
    keys = columns_of(contenders)
    rows = [(names.CONTENDERS[name], contenders[name]) for name in names.ORDER if name in contenders]
    rows += [(of_replies(name, other), other["scores"]) for name, other in evaluation["others"].items()]
    cells = [(name, [cell(scores.get(key)) for key in keys]) for name, scores in rows]
    return ScoreTable([named(names.METRICS, key) for key in keys], cells)


def of_replies(name: str, other: Other) -> Both:
    """With the number of its replies where some are missing: a part is not the whole."""
    wanted = other["replies"] + other["missing"]
    chinese = f"{shown_name(name)}（{wanted:,} 条回复中的 {other['replies']:,} 条）" if other["missing"] else shown_name(name)
    return Both(other_name(name, other), chinese)


class OtherModel(NamedTuple):
    """Another model's replies: what is compared with them, and each claim of tuned against it."""

    name: str
    missing: Both | None
    claims: list[ToldClaim]


def other_models(evaluation: Evaluation) -> list[OtherModel]:
    models = []
    for name, other in evaluation["others"].items():
        shown = shown_name(name)
        wanted = other["replies"] + other["missing"]
        told = PART.filled(
            replies=f"{other['replies']:,}", wanted=f"{wanted:,}", foreign=f"{other['foreign'] + other['not_asked']:,}"
        )
        whole = not (other["missing"] or other["foreign"] or other["not_asked"])
        models.append(OtherModel(shown, None if whole else told, [tell(claim, shown) for claim in other["claims"]]))
    return models


def known_rows(evaluation: Evaluation) -> list[tuple[Both, list[str]]]:
    """(what, of base and of tuned) of what is known by heart."""
    scores = [evaluation["contenders"][contender] for contender in CONTENDERS]
    return [(name, [_share(one, key) for one in scores]) for key, name in names.KNOWN.items()]


def _share(scores: Scores, key: str) -> str:
    share, number = scores.get(key), scores.get(f"{key}_replies")
    return "" if number is None else f"{'–' if share is None else f'{share:.0%}'} ({number:,.0f})"


class StratumRow(NamedTuple):
    """`low`, `estimate`, `high`: places of the interval's drawing, from the left; None where there is none."""

    kind: Both
    name: Both
    conversations: int
    base: str
    tuned: str
    change: str
    interval: str
    tone: str
    verdict: Both
    low: float | None
    estimate: float | None
    high: float | None


def strata_rows(strata: Sequence[Stratum]) -> tuple[list[StratumRow], float | None]:
    """The rows, and the place of no change in their drawings."""
    if not strata:
        return [], None
    is_ratio = strata[0]["measure"] == "perplexity_ratio"
    neutral = 1.0 if is_ratio else 0.0
    ends = [value for one in strata for value in (one["low"], one["estimate"], one["high"]) if value is not None]
    scale = scale_over([*ends, neutral], is_ratio)
    rows = []
    for one, name in zip(strata, strata_table(strata)["value"], strict=True):
        word = VERDICTS[one["measure"]][one["verdict"]]
        places = [
            None if value is None or scale is None or (is_ratio and value <= 0) else scale.place(value)
            for value in (one["low"], one["estimate"], one["high"])
        ]
        interval = "" if one["low"] is None or one["high"] is None else f"{cell(one['low'])} – {cell(one['high'])}"
        shown = names.pooled(name) if one["value"] is None else same(name)
        rows.append(
            StratumRow(
                named(names.STRATA, one["stratum"]), shown, one["conversations"], cell(one["base"]), cell(one["tuned"]),
                cell(one["estimate"]), interval, names.TONES.get(word, "open"), names.VERDICTS[word], *places,
            )
        )  # fmt: skip
    return rows, scale.place(neutral) if scale else None


def mistake_rows(confusion: Sequence[Sequence[str]]) -> list[tuple[str, Both, int]]:
    """(label, what tuned replied to it, how often), the most frequent first."""
    counts = Counter((actual, replied) for actual, replied in confusion if actual != replied)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MISTAKES]
    return [
        (shown_label(actual), same(shown_label(replied)) if replied else NO_LABEL, number)
        for (actual, replied), number in ordered
    ]


class LabelRow(NamedTuple):
    label: Both
    conversations: int
    base: str
    tuned: str
    base_place: float
    tuned_place: float


def label_rows(perplexities: pd.DataFrame) -> list[LabelRow]:
    """Both models' perplexity of each label, from `perplexity_by_label`; of those that have both."""
    scale = scale_over(list(perplexities["perplexity"]), True)
    by_model = {model: perplexities[perplexities["model"] == model] for model in CONTENDERS}
    table = by_model["base"].merge(by_model["tuned"], on="label")
    if scale is None:
        return []
    return [
        LabelRow(
            names.pooled(str(label)) if POOLED.fullmatch(str(label)) else same(str(label)),
            int(number),
            cell(base),
            cell(tuned),
            scale.place(base),
            scale.place(tuned),
        )
        for label, number, base, tuned in zip(
            table["label"], table["conversations_x"], table["perplexity_x"], table["perplexity_y"], strict=True
        )
    ]


def fate_rows(fates: pd.DataFrame) -> list[tuple[Both, int, float]]:
    """(fate, conversations, length of its bar in percent)"""
    largest = fates["conversations"].max()
    return [
        (named(names.FATES, str(fate)), int(number), round(100 * number / largest, 2))
        for fate, number in zip(fates["fate"], fates["conversations"], strict=True)
    ]


def count_rows(counts: Mapping[str, float | None]) -> list[tuple[Both, str]]:
    return [(name, _count(counts[key])) for key, name in names.COUNTS.items() if key in counts]


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


class GateRow(NamedTuple):
    metric: str
    found: Both
    bound: Both
    tone: str
    outcome: Both


def gate_rows(outcomes: Sequence[Outcome]) -> list[GateRow]:
    rows = []
    for outcome in outcomes:
        value = outcome["value"]
        reason = outcome["reason"] or ""
        unknown = Both(NOT_COMPUTED.en.format(reason=reason), NOT_COMPUTED.zh.format(reason=in_chinese(reason)))
        found = unknown if value is None else same(f"{value:.4g}")
        words, _, limit = outcome["bound"].rpartition(" ")
        bound = Both(outcome["bound"], f"{BOUNDS[words]} {limit}")
        passed = outcome["passed"]
        rows.append(GateRow(outcome["key"], found, bound, "good" if passed else "bad", PASSED if passed else FAILED))
    return rows


def fingerprint(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def comparability_rows(parts: Mapping[str, str | None]) -> list[tuple[Both, str]]:
    keys = [key for key in dict.fromkeys([*names.COMPARABILITY, *sorted(parts)]) if key in parts]
    return [(named(names.COMPARABILITY, key), short(parts[key])) for key in keys]


def short(value: str | None) -> str:
    return "?" if value is None else fingerprint(value) if len(value) > SHORT else value


def environment_rows(training: Mapping[str, object], parts: Mapping[str, str | None]) -> list[tuple[Both, list[str]]]:
    """(what, of train, of predict for base and for tuned); packages by their names."""
    columns = [_flat(training)]
    for contender in CONTENDERS:
        versions = json.loads(parts.get(f"{contender}_versions") or "{}")
        versions |= {name: parts.get(f"{contender}_{name}") for name in ("device", "precision")}
        columns.append(_flat(versions))
    keys = dict.fromkeys(key for column in columns for key in sorted(column))
    return [(named(names.ENVIRONMENT, key), [column.get(key, "") for column in columns]) for key in sorted(keys)]


def _flat(values: Mapping[str, object]) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= {str(name): str(version) for name, version in value.items()}
        elif value is not None:
            flat[key.replace("_", " ")] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat
