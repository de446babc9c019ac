"""What evaluate found -> files of metrics/ that people, `dvc metrics` and pull requests read."""

from collections.abc import Mapping, Sequence

import pandas as pd

from stages.lib.base_model.pins import AdapterPin
from stages.lib.core.files import write_json
from stages.lib.records.scores import Evaluation, Other, Scores, Stratum
from stages.report.files import CLAIMS, COMPARABILITY, DETAILS, GATES, METRICS, REASONS, SUMMARY
from stages.report.gates import Gate, Outcome, check_gates, describe
from stages.report.names import shown_label, shown_name
from stages.report.seeds import adapter_hash, describe_seed_noise, read_seed_noise
from stages.report.sentences import sentence

GOOD = {"less": "better", "more": "worse", "unclear": "can't tell", "too_few": "too few to tell", "not_measured": "not measured"}
VERDICTS = {"perplexity_ratio": GOOD, "accuracy_difference": GOOD | {"less": "worse", "more": "better"}}
TABLE = [
    "perplexity", "bits_per_byte", "accuracy", "macro_f1", "invalid_reply", "chrf", "embedding_similarity", "length_ratio",
    "distinct_2", "broken",
]  # fmt: skip


def name_languages(values: Mapping[str, object]) -> dict[str, object]:
    """The scores with the languages in their names, which come from the user's file, as they may be shown."""
    return {shown_name(name): value for name, value in values.items()}


def apart_from(name: str, taken: set[str]) -> str:
    """The name, with more brackets where a user's own label is the same.

    >>> apart_from("(other)", {"other"}), apart_from("(other)", {"(other)"})
    ('(other)', '((other))')
    """
    while name in taken:
        name = f"({name})"
    return name


def stratum_name(stratum: Stratum, taken: set[str]) -> str:
    if stratum["value"] is not None:
        return shown_label(stratum["value"])
    return apart_from("(other)" if stratum["pooled"] else "(none)", taken)


def strata_table(strata: Sequence[Stratum]) -> pd.DataFrame:
    columns = ["stratum", "value", "conversations", "groups", "measure", "base", "tuned", "estimate", "low", "high", "p_holm",
               "verdict"]  # fmt: skip
    taken = {shown_label(one["value"]) for one in strata if one["value"] is not None}
    return pd.DataFrame([{**one, "value": stratum_name(one, taken)} for one in strata], columns=columns)


def languages_table(evaluation: Evaluation) -> pd.DataFrame:
    columns = ["language", "contender", "replies", "chrf", "bleu", "rouge_l"]
    table = pd.DataFrame(evaluation["languages"], columns=columns)
    return table.assign(language=table["language"].map(shown_label)).sort_values(["language", "contender"])


def confusion_table(evaluation: Evaluation) -> pd.DataFrame:
    """Rows (actual, predicted) of the tuned model; no row where the task is no classification."""
    table = pd.DataFrame(evaluation["confusion"], columns=["actual", "predicted"])
    return table.map(lambda label: shown_label(label) if label else "(no label)")


def markdown_table(rows: Sequence[Sequence[object]]) -> list[str]:
    head, *rest = [[str(cell).replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest)]


def columns_of(contenders: Mapping[str, Scores]) -> list[str]:
    """The metrics of TABLE that any of them has."""
    return [key for key in TABLE if any(scores.get(key) is not None for scores in contenders.values())]


def cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 100 else f"{value:,.0f}"


def strata_rows(strata: Sequence[Stratum]) -> list[list[object]]:
    """With its head, for people: the models' own values, the change and its interval, the verdict."""
    rows: list[list[object]] = [["stratum", "", "conversations", "base", "tuned", "change", "interval", "verdict"]]
    for one, name in zip(strata, strata_table(strata)["value"], strict=True):
        interval = "" if one["low"] is None or one["high"] is None else f"{cell(one['low'])} to {cell(one['high'])}"
        values = [cell(value) for value in (one["base"], one["tuned"], one["estimate"])]
        rows.append([one["stratum"], name, one["conversations"], *values, interval, VERDICTS[one["measure"]][one["verdict"]]])
    return rows


def others_figures(others: Mapping[str, Other]) -> dict[str, dict[str, object]]:
    """Of each other model the counts, its own scores, and tuned against it."""
    counts = ("replies", "missing", "foreign", "not_asked")
    return {
        shown_name(name): {
            **{key: one[key] for key in counts},  # type: ignore[literal-required]
            "scores": name_languages(one["scores"]),
            "comparison": name_languages(one["comparison"]),
        }
        for name, one in others.items()
    }


def other_name(name: str, other: Other) -> str:
    """With the number of its replies where some are missing: a part is not the whole."""
    wanted = other["replies"] + other["missing"]
    return f"{shown_name(name)} ({other['replies']:,} of {wanted:,} replies)" if other["missing"] else shown_name(name)


def other_lines(name: str, other: Other, keys: Sequence[str]) -> list[str]:
    """What a table of all replies cannot show, where some are missing; then the claims."""
    lines = []
    if other["missing"] or other["foreign"] or other["not_asked"]:
        lines += [
            f"It has {other['replies']:,} of {other['replies'] + other['missing']:,} replies; {other['foreign']:,} more are to "
            f"no message of test, {other['not_asked']:,} to messages that base and tuned did not reply to. What follows is about "
            f"the {other['replies']:,} alone.",
            "",
        ]
    shown = [key for key in keys if key in other["scores"]]
    models = {shown_name(name): other["scores"], "base": other["base"], "tuned": other["tuned"]}
    rows = [[model, *(cell(scores.get(key)) for key in shown)] for model, scores in models.items()]
    lines += [*markdown_table([["", *(key.replace("_", " ") for key in shown)], *rows]), ""]
    return lines + [f"- {sentence(claim, other=shown_name(name))}" for claim in other["claims"]]


def summarise(evaluation: Evaluation, gates: Sequence[Outcome], seed_noise: str) -> str:
    """What a reviewer reads in two minutes."""
    contenders, claims = evaluation["contenders"], evaluation["claims"]
    lines = ["# What tuning changed", "", f"Task: {evaluation['task']} ({evaluation['task_reason']}).", ""]
    lines += [f"- {sentence(claim)}" for claim in claims]
    lines += [
        "",
        seed_noise,
        "",
        "## Beside models and floors",
        "",
    ]
    keys = columns_of(contenders)
    rows = [[name.replace("_", " "), *(cell(contenders[name].get(key)) for key in keys)] for name in contenders]
    rows += [
        [other_name(name, one), *(cell(one["scores"].get(key)) for key in keys)] for name, one in evaluation["others"].items()
    ]
    lines += markdown_table([["", *(key.replace("_", " ") for key in keys)], *rows])
    for name, one in evaluation["others"].items():
        lines += ["", f"## Against {shown_name(name)}", "", *other_lines(name, one, keys)]
    if evaluation["strata"]:
        lines += ["", "## Where", "", *markdown_table(strata_rows(evaluation["strata"]))]
    if gates:
        lines += ["", "## Gates", "", *(f"- {describe(outcome)}" for outcome in gates)]
    return "\n".join(lines) + "\n"


def place_in_metrics(name: str) -> str:
    """Of a contender, or of a figure of one: the file of metrics/ and the keys in it. The floors share a file.

    >>> place_in_metrics("tuned.chrf"), place_in_metrics("floor_echo.chrf")
    ('tuned.chrf', 'floors.echo.chrf')
    """
    return f"floors.{name.removeprefix('floor_')}" if name.startswith("floor_") else name


def report_evaluation(evaluation: Evaluation, gates: Sequence[Gate], adapter: AdapterPin) -> None:
    floors: dict[str, object] = {}
    for name, scores in (*evaluation["contenders"].items(), ("comparison", evaluation["comparison"])):
        file, _, floor = place_in_metrics(name).partition(".")
        if floor:
            floors[floor] = name_languages(scores)
        else:
            write_json((DETAILS if file == "reference" else METRICS) / f"{file}.json", name_languages(scores))
    write_json(METRICS / "floors.json", floors)
    write_json(METRICS / "contenders.json", others_figures(evaluation["others"]))
    write_json(DETAILS / "signatures.json", name_languages(evaluation["signatures"]))
    write_json(REASONS, name_languages({place_in_metrics(name): why for name, why in evaluation["reasons"].items()}))
    write_json(COMPARABILITY, evaluation["comparability"])
    write_json(CLAIMS, {one["name"]: {**one, "sentence": sentence(one)} for one in evaluation["claims"]})
    outcomes = check_gates(gates)
    write_json(GATES, outcomes)
    pin = adapter_hash(adapter.model_dump())
    seed_noise = describe_seed_noise(read_seed_noise(), pin, evaluation["comparability"], evaluation["claims"])
    SUMMARY.write_text(summarise(evaluation, outcomes, seed_noise), encoding="utf-8")
