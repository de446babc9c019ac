"""metrics/report.html: one file that holds all it needs, asks for nothing on a network and runs no script but its own.

`assemble` makes other pages of the same parts.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.lib.records.loss_history import HistoryRow
from stages.lib.records.scores import Evaluation
from stages.report.gates import Outcome
from stages.report.page import tables, texts
from stages.report.page.charts import draw_losses
from stages.report.page.replies import BEHAVIOURS, PageReplies
from stages.report.page.retention import Retained
from stages.report.page.texts import Both
from stages.report.page.verdict import judge, limits, tell

FOLDER = Path(__file__).parent
SCRIPTS = ("page.js", "replies.js", "votes.js")
FAULTS = [texts.FAULTS[name] for name in BEHAVIOURS]
# Where HTML's parser, or JavaScript's of old, would see more than text.
ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


class Content(NamedTuple):
    """What the page is made of; `data`: metrics/data.json, `fates` and `perplexities`: tables of metrics/plots/."""

    evaluation: Evaluation
    outcomes: Sequence[Outcome]
    replies: PageReplies
    history: Sequence[HistoryRow]
    data: Mapping[str, float | None]
    fates: pd.DataFrame
    perplexities: pd.DataFrame
    environment: Mapping[str, object]
    seed_noise: Both
    retained: Retained


def embed(value: object) -> str:
    """As JSON that can stand in a script element, whatever texts it holds."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPES)


def source_hash(text: str) -> str:
    """How a content security policy names a script or style that may stand in the page."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def assemble(
    template: str, parts: Mapping[str, object], words: Mapping[str, Both], browser: Mapping[str, Both], data: object,
    scripts: Sequence[str], folder: Path = FOLDER,
) -> str:  # fmt: skip
    """A page in one file. `parts`: of the template, which lies in `folder` or here, as its style may that has its name.

    `words`: what it says, `browser`: what its scripts say, on `data`; both in both languages.
    """
    styles = [FOLDER / "page.css", *([folder / Path(template).with_suffix(".css").name] if folder != FOLDER else [])]
    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    script = "\n".join((FOLDER / name).read_text(encoding="utf-8") for name in scripts)
    environment = Environment(
        loader=FileSystemLoader([folder, FOLDER]), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template(template).render(
        both={**{f"column_{key}": text for key, text in texts.COLUMNS.items()}, **words, **browser},
        style=style,
        script=script,
        style_hash=source_hash(style),
        script_hash=source_hash(script),
        faults_of=faults_of,
        data=embed(data),
        words=embed({**browser, "behaviours": FAULTS}),
        **parts,
    )


def render_page(content: Content) -> str:
    evaluation, comparability = content.evaluation, content.evaluation["comparability"]
    strata, neutral = tables.strata_rows(evaluation["strata"])
    parts = {
        "task": evaluation["task"],
        "verdict": judge(evaluation["claims"], content.outcomes),
        "claims": [tell(claim) for claim in evaluation["claims"]],
        "limits": limits(evaluation, content.seed_noise),
        "compared": False,
        "replies": content.replies,
        "gates": tables.gate_rows(content.outcomes),
        "fingerprint": tables.fingerprint(comparability),
        "comparability": tables.comparability_rows(comparability),
        "scores": tables.score_table(evaluation),
        "others": tables.other_models(evaluation),
        "mistakes": tables.mistake_rows(evaluation["confusion"]),
        "strata": strata,
        "neutral": neutral,
        "losses": draw_losses(content.history),
        "labels": tables.label_rows(content.perplexities),
        "fates": tables.fate_rows(content.fates),
        "counts": tables.count_rows(content.data),
        "known": [tell(claim) for claim in evaluation["claims"] if claim["name"] in ("forgot", "memorised")],
        "by_heart": tables.known_rows(evaluation),
        "retained": content.retained,
        "environment": tables.environment_rows(content.environment, comparability),
    }
    data = {"conversations": content.replies.conversations, "replies": content.replies.replies}
    return assemble("page.html", parts, texts.PAGE, {**texts.BROWSER, **texts.VOTING}, data, SCRIPTS)


def faults_of(bits: int | None) -> list[Both]:
    return [fault for bit, fault in enumerate(FAULTS) if (bits or 0) >> bit & 1]
