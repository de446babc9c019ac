"""A comparison as Markdown for a pull request's comment: the verdict first, tables after it, what is long folded."""

from collections.abc import Sequence

from stages.lib.records.scores import Claim
from stages.report.gates import describe
from stages.report.names import shown_name
from tools.compare.changes import ChangedStage
from tools.compare.comparison import Comparison, Named
from tools.compare.data import MOST_IDS, totals
from tools.compare.fingerprints import CLAIMS
from tools.compare.flips import Flip, Flips
from tools.compare.loss import Curves
from tools.compare.markdown import LONGEST_VALUE, amount, code, fold, plain, shorten, table, texts
from tools.compare.others import Interval
from tools.compare.run import SCORES
from tools.compare.sentences import change, level
from tools.console import plural

LONGEST = 60_000  # characters: GitHub takes 65,536 in a comment
MOST_ROWS = 40  # of a table
LEFT_OUT = "The rest is left out: a comment holds no more. `compare.json`, which `--out DIR` writes, has all of it."
WORDS = {"less": "less", "more": "more", "unclear": "can't tell", "too_few": "too few", "not_measured": "no claim"}
Section = list[str]


def render(found: Comparison) -> str:
    """Within what a comment holds: sections that do not fit are left out from the end."""
    sections = [
        head(found), claims(found), against_base(found), missing(found), comparable(found), params(found), data(found),
        stages(found), metrics(found), others(found), replies(found["replies"]), loss(found["loss"]),
    ]  # fmt: skip
    text, left_out = "", False
    for section in sections:
        added = "\n".join(section) + "\n\n" if section else ""
        if len(text) + len(added) > LONGEST:
            left_out = True
            continue
        text += added
    return text.rstrip("\n") + (f"\n\n{LEFT_OUT}\n" if left_out else "\n")


def name_of(named: Named) -> str:
    commit = named["commit"]
    if commit is None:
        return "the work tree"
    return code(named["name"]) if commit.startswith(named["name"]) else f"{code(named['name'])} ({commit[:7]})"


def head(found: Comparison) -> Section:
    failed = not all(gate["passed"] for gate in found["against_base"]["gates"])
    more = f", {'but' if found['verdict'] == 'better' else 'and'} B fails a gate" if failed else ""
    lines = [f"## {found['verdict'][0].upper()}{found['verdict'][1:]}{more}", "", plain(found["headline"]), ""]
    noise = found["seed_noise"]["said"]
    lines.append(f"A is {name_of(found['a'])}, B is {name_of(found['b'])}. {plain(noise[0].upper() + noise[1:])}.")
    notes = [*found["notes"], *found["comparability"]["caveats"]]
    return [*lines, *([""] if notes else []), *(f"- {plain(note)}" for note in notes)]


def claims(found: Comparison) -> Section:
    if found["verdict"] == "first run":
        return []
    made = [found["claims"][name] for name in CLAIMS]
    rows = [row_of(claim) for claim in made if claim["verdict"] != "not_measured"]
    said = [f"- {plain(claim['sentence'])}" for claim in made]
    if not rows:
        return ["### Claims", "", *said]
    titles = ["claim", "A", "B", "change", "interval", "p (Holm)", "conversations", "verdict"]
    return ["### Claims", "", *said, "", *fold("Figures", table(titles, rows))]


def against_base(found: Comparison) -> Section:
    """All there is to say of a first run; of others it is folded."""
    own = found["against_base"]
    gates = [plain(describe(gate)) for gate in own["gates"]]
    said = [f"- {line}" for line in [*(plain(one["sentence"]) for one in own["claims"].values()), *gates]]
    if not said:
        return []
    title = "B's tuned model against its base"
    return [f"### {title}", "", *said] if found["verdict"] == "first run" else fold(title, said)


def row_of(claim: Claim) -> list[str]:
    measure = claim["measure"]
    interval = "" if claim["low"] is None else f"{change(claim['low'], measure)} to {change(claim['high'], measure)}"
    values = [level(value, measure) if value is not None else "" for value in (claim["base"], claim["tuned"])]
    estimate = "" if claim["estimate"] is None else change(claim["estimate"], measure)
    verdict = WORDS[claim["verdict"]]
    return [claim["name"], *values, estimate, interval, amount(claim["p_holm"]), amount(claim["conversations"]), verdict]


def missing(found: Comparison) -> Section:
    if not found["missing"]:
        return []
    rows = [[one["run"], code(one["path"]), plain(one["why"])] for one in found["missing"]]
    return [
        "### Out of reach",
        "",
        "What follows is from git alone where these are needed.",
        "",
        *table(["", "file", "why"], rows),
    ]


def comparable(found: Comparison) -> Section:
    differences = found["comparability"]["differences"]
    if not differences:
        return []
    rows = [[plain(one["what"]), value_of(one["a"]), value_of(one["b"])] for one in differences]
    title = {"yes": "Measured alike but for", "partly": "Comparable in part: these differ", "no": "Not comparable: these differ"}
    return ["### " + title[found["comparability"]["comparable"]], "", *table(["", "A", "B"], rows)]


def metrics(found: Comparison) -> Section:
    lines: Section = []
    for name in SCORES:
        differing = {key: one for key, one in found["metrics"].get(name, {}).items() if one["a"] != one["b"]}
        rows = [
            [code(shown_name(key)), amount(one["a"]), amount(one["b"]), amount(one["change"], signed=True)]
            for key, one in differing.items()
        ]
        if rows:
            lines += [
                "",
                *fold(f"{name}: {plural(len(rows), 'value')} changed", cut(table(["", "A", "B", "change"], rows, numbers=3))),
            ]
    return ["### Metrics that changed", *lines] if lines else []


def cut(lines: Section) -> Section:
    rest = len(lines) - MOST_ROWS
    return lines if rest <= 0 else [*lines[:MOST_ROWS], "", f"... and {rest:,} more"]


def params(found: Comparison) -> Section:
    rows = [[code(one["name"]), value_of(one["a"]), value_of(one["b"])] for one in found["params"]]
    return ["### Params that changed", "", *cut(table(["", "A", "B"], rows))] if rows else []


def value_of(value: object) -> str:
    return "" if value is None else code(shorten(str(value), LONGEST_VALUE))


def stages(found: Comparison) -> Section:
    rows = [[code(one["name"]), why(one), outcome(one)] for one in found["stages"]]
    return ["### Stages that ran again", "", *cut(table(["stage", "for", "outcome"], rows))] if rows else []


def why(stage: ChangedStage) -> str:
    if stage["only"]:
        return f"only {stage['only'].upper()} has it"
    parts = {"params": stage["params"], "data": stage["data"], "code": stage["code"], "packages": stage["packages"]}
    said = [f"{kind} {', '.join(map(code, few(names)))}" for kind, names in parts.items() if names]
    return "; ".join(said + (["its command"] if stage["command"] else [])) or "nothing that DVC records"


def few(names: Sequence[str]) -> list[str]:
    return list(names) if len(names) <= MOST_IDS else [*names[:MOST_IDS], f"{len(names) - MOST_IDS} more"]


def outcome(stage: ChangedStage) -> str:
    return plural(len(stage["outs"]), "out") + " changed" if stage["outs"] else "the same results"


def data(found: Comparison) -> Section:
    changes = found["data"]["changes"]
    if not changes:
        return []
    rows = [
        [one["kind"], plain(one["what"]), amount(one["conversations"]), ", ".join(code(id) for id in one["ids"])]
        for one in changes
    ]
    total = ", ".join(f"{number:,} {kind}" for kind, number in totals(changes).items())
    return ["### Conversations that changed", "", *fold(total, cut(table(["", "", "conversations", "such as"], rows)))]


def others(found: Comparison) -> Section:
    """Contenders and votes; what A and B differ in beside another model, they differ in themselves."""
    models, votes = found["others"]["models"], found["others"]["votes"]
    rows = [
        [code(one["name"]), one["measure"].replace("_", " "), with_interval(one["a"]), with_interval(one["b"]),
         "" if one["same"] else "its replies are others in B"]
        for one in models
    ]  # fmt: skip
    lines = ["", *cut(table(["against", "", "A", "B", ""], rows))] if rows else []
    alone = [(name, "A") for name in found["others"]["only_a"]] + [(name, "B") for name in found["others"]["only_b"]]
    lines += ["", *(f"- Only {run} has replies by {code(name)}." for name, run in alone)] if alone else []
    if votes:
        lines += [
            "",
            f"People preferred A's tuned model to base in {with_interval(votes['a'])} of {plural(votes['votes_a'], 'vote')}, "
            f"B's in {with_interval(votes['b'])} of {plural(votes['votes_b'], 'vote')} (ties split), a difference of "
            f"{with_interval(votes['change'])}.",
        ]
    return ["### Other models and votes", *lines] if lines else []


def with_interval(found: Interval) -> str:
    ends = "" if found["low"] is None else f" ({amount(found['low'])} to {amount(found['high'])})"
    return f"{amount(found['value'])}{ends}"


def replies(flips: Flips | None) -> Section:
    if flips is None or not flips["changed"]:
        return []
    counts = f"{flips['changed']:,} of {plural(flips['compared'], 'reply')} changed: "
    counts += f"{flips['mended']:,} no longer broken, {flips['broke']:,} newly broken"
    if flips["righted"] is not None:
        counts += f", {flips['righted']:,} turned right, {flips['wronged']:,} turned wrong"
    lines = ["### Replies that changed", "", f"{counts}."]
    for title, some in (("Those that gained most", flips["best"]), ("Those that lost most", flips["worst"])):
        if some:
            lines += ["", *fold(title, table(["", "prompt", "reference", "A", "B"], [show(flip) for flip in some]))]
    return lines


def show(flip: Flip) -> list[str]:
    """A row: which reply it is, with its scores, and the texts side by side."""
    scores = [f"chrF {amount(flip['chrf_a'])} to {amount(flip['chrf_b'])}"]
    if flip["nll_a"] is not None and flip["nll_b"] is not None:
        scores.append(f"nats a token {amount(flip['nll_a'])} to {amount(flip['nll_b'])}")
    name = "<br>".join([code(flip["id"]), f"message {flip['turn']}", *scores])
    shown = flip["texts"]
    if shown is None:
        return [name, "not shown: its source is not in `report.show_text` of both", "", "", ""]
    return [name, texts(shown["prompt"]), texts(shown["reference"]), texts(shown["a"]), texts(shown["b"])]


def loss(curves: dict[str, Curves]) -> Section:
    """The picture is a file of its own: GitHub shows none that stands in a comment."""
    points = {name: dict(curves[name]["validation"]) for name in ("a", "b")}
    if not any(points.values()) or points["a"] == points["b"]:
        return []
    rows = [
        [amount(step), *(amount(points[name].get(step)) for name in ("a", "b"))] for step in sorted({*points["a"], *points["b"]})
    ]
    return [
        "### Validation loss",
        "",
        *fold("Nats a label, by step; `loss.svg` has the curves", cut(table(["step", "A", "B"], rows, numbers=3))),
    ]
