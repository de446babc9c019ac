"""compare.html: what changed from one run to another, with every reply of both side by side, in one file for a browser."""

from pathlib import Path

from stages.lib.records.scores import Claim
from stages.report.page.document import assemble
from stages.report.page.replies import PageReplies
from stages.report.page.tables import gate_rows
from stages.report.page.texts import Both
from stages.report.page.verdict import ToldClaim, Tone, Verdict, tell, tell_as
from stages.report.reasons import in_chinese
from tools.compare.claims import Verdict as Word
from tools.compare.comparison import Comparison
from tools.compare.run import Run
from tools.compare.sentences import headline, sentence
from tools.compare.side_by_side import tables, texts
from tools.compare.side_by_side.chinese import both
from tools.compare.side_by_side.replies import find_replies

FOLDER = Path(__file__).parent
TONES: dict[Word, Tone] = {"better": "good", "worse": "bad"}


def tell_claim(claim: Claim) -> ToldClaim:
    return tell_as(claim, Both(sentence(claim), sentence(claim, "zh", reason_of(claim))))


def reason_of(claim: Claim) -> str | None:
    """In Chinese."""
    if claim["reason"] is None:
        return None
    said = both(claim["reason"])
    return in_chinese(said.en) if said.en == said.zh else said.zh


def verdict_of(found: Comparison) -> Verdict:
    first, noise, notes = found["claims"]["better"], found["seed_noise"], found["notes"]
    head = Both(found["headline"], headline(found["verdict"], first, noise, "zh", reason_of(first)))
    seeds = both(noise["said"])
    lines = [
        texts.WORDS["names"].filled(a=tables.name_of(found["a"]), b=tables.name_of(found["b"])),
        Both(f"{seeds.en[0].upper()}{seeds.en[1:]}.", f"{seeds.zh}。"),
        *map(both, [*notes, *found["comparability"]["caveats"]]),
    ]
    return Verdict(TONES.get(found["verdict"], "open"), head, [without_marks(line) for line in lines])


def without_marks(text: Both) -> Both:
    """Without Markdown's marks of code."""
    return Both(*(language.replace("`", "") for language in text))


def comparable(found: Comparison) -> Both:
    comparability = found["comparability"]
    if found["verdict"] == "first run":
        return texts.WORDS["comparable_none"]
    if comparability["comparable"] == "yes":
        return texts.WORDS["comparable_but" if comparability["differences"] else "comparable_yes"]
    if comparability["comparable"] == "partly" and not comparability["differences"]:  # but the training data, say
        reasons = list(map(both, dict.fromkeys(comparability["withheld"].values())))
        why = Both("; ".join(one.en for one in reasons), "；".join(one.zh for one in reasons))
        return texts.WORDS["comparable_withheld"].filled(why=why)
    return texts.WORDS[f"comparable_{comparability['comparable']}"]


def said_of_replies(found: Comparison, replies: PageReplies | str) -> Both | None:
    """Why there are none, or what they can't be asked."""
    differ = {one["name"] for one in found["comparability"]["differences"]}
    withheld = found["comparability"]["withheld"].get("wording")
    if isinstance(replies, str) or "test" in differ:
        why = replies if isinstance(replies, str) else str(withheld)
        return texts.WORDS["replies_none"].filled(why=both(why))
    return texts.WORDS["replies_apart"].filled(why=both(withheld)) if withheld else None


def render_page(found: Comparison, a: Run, b: Run) -> str:
    replies = find_replies(a, b, found["comparability"]["per_token"])
    said, own, data = said_of_replies(found, replies), found["against_base"], found["data"]
    shown = (
        None
        if isinstance(replies, str) or any(one["name"] == "test" for one in found["comparability"]["differences"])
        else replies
    )
    losses, steps = tables.loss_chart(found)
    unknown = [both(why) for why in data["unknown"]]
    parts = {
        "verdict": verdict_of(found),
        "claims": [] if found["verdict"] == "first run" else [tell_claim(one) for one in found["claims"].values()],
        "own": [tell(one) for one in own["claims"].values()],
        "gates": gate_rows(own["gates"]),
        "first": found["verdict"] == "first run",
        "comparable": comparable(found),
        "differences": tables.difference_rows(found),
        "params": tables.param_rows(found),
        "moved": tables.data_rows(found),
        "unknown": Both("; ".join(one.en for one in unknown), "；".join(one.zh for one in unknown)) if unknown else None,
        "stages": tables.stage_rows(found),
        "metrics": tables.metric_tables(found),
        "others": tables.other_rows(found["others"]["models"]),
        "other_lines": tables.other_lines(found),
        "compared": True,
        "replies": PageReplies([], [], []) if shown is None else shown._replace(worst=[]) if said else shown,
        "said": said,
        "losses": losses,
        "steps": steps,
        "missing": tables.missing_rows(found),
    }
    rows = {"conversations": shown.conversations, "replies": shown.replies} if shown else {}
    scripts = ("page.js", "replies.js") if shown else ("page.js",)
    return assemble("compare.html", parts, texts.WORDS, texts.OF_SCRIPTS, rows, scripts, FOLDER)
