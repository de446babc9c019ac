"""Made-up runs for the page: as many replies as one likes, with texts of all kinds."""

import pandas as pd

from stages.report.page.document import Content, render_page
from stages.report.page.replies import PageReplies, describe_replies
from stages.report.page.retention import describe_retained
from stages.report.page.texts import same

LONG = "ungebrochen" * 400
HOSTILE = [
    "</script><script>document.title = 'taken'</script>",
    "<img src=x onerror=\"document.title = 'taken'\">",
    "<!-- a comment that nobody ends <script>",
    "]]> &amp; &lt;b&gt; {{ 7 * 7 }} {% raw %}",
    "שלום עולם \u202e evil \u2066 bidi",
    LONG,
    "a\u2028b\u2029c\x00d\x07\x85 \\u003c",
    "👩‍👩‍👧 e\u0301 ",
    "'\"` onmouseover=alert(1) ",
    "https://example.org/beacon.png",
]
CLAIM = {
    "name": "better", "measure": "perplexity_ratio", "verdict": "less", "base": 65.5, "tuned": 19.8, "estimate": 0.3, "low": 0.2,
    "high": 0.4, "p": 1e-7, "p_holm": 1e-7, "conversations": 63, "groups": 53, "detectable": 1.5, "more_conversations": None,
    "reason": None,
}  # fmt: skip
STRATUM = {
    "stratum": "label", "value": "travel", "pooled": False, "measure": "perplexity_ratio", "conversations": 30, "groups": 30,
    "base": 20.0, "tuned": 10.0, "estimate": 0.5, "low": 0.4, "high": 0.6, "p_holm": 0.01, "verdict": "less",
}  # fmt: skip
GATE = {"metric": "tuned.runaway", "key": "tuned.runaway_high", "value": 0.05, "bound": "at most 0.1", "passed": True,
        "reason": None}  # fmt: skip
RETAINED = pd.DataFrame({
    "id": ["en/1", "zh/1"], "language": ["en", "zh"], "prompt": ["What is rain?", "雨是什么？"],
    "base_reply": ["Water.", None], "tuned_reply": ["Bread.", "面包。"], "change": [1.5, float("nan")],
})  # fmt: skip
FLAGS = ("looping", "runaway", "empty", "wrong_language", "prompt_copy")
SCORES = {"perplexity": 10.0, "chrf": 20.0, "unscored": 0, "unanswered": 0}


def claim(name: str, measure: str, verdict: str, **more: object) -> dict:
    return CLAIM | {"name": name, "measure": measure, "verdict": verdict} | more


def evaluation(claims: list[dict] | None = None, strata: list[dict] | None = None) -> dict:
    comparison = {"conversations": 63, "groups": 53, "perplexity_ratio_detectable": 0.63, "votes_foreign": 0}
    return {
        "task": "dialogue", "task_reason": "", "comparison": comparison, "claims": [CLAIM] if claims is None else claims,
        "contenders": dict.fromkeys(("base", "floor_echo", "reference", "tuned"), SCORES),
        "strata": [STRATUM] if strata is None else strata, "influence": {"without": [], "perplexity_ratio": 0.25},
        "others": {}, "languages": [], "confusion": [], "reasons": {}, "signatures": {},
        "comparability": {"test": "abc", "base_versions": '{"python":"3.11"}', "tuned_versions": None, "tuned_device": "cpu"},
    }  # fmt: skip


def reply(id: str, base: str | None, tuned: str | None, **more: object) -> dict:
    """A row of data/evaluation/replies.parquet."""
    row = {"id": id, "turn": 1, "base_reply": base, "tuned_reply": tuned, "base_chrf": 20.0, "tuned_chrf": 30.0}
    row |= {f"{model}_{flag}": False for model in ("base", "tuned") for flag in FLAGS}
    return row | {"hash": f"{abs(hash_of(id + str(base) + str(tuned))):016x}", "votes": 0} | more


def hash_of(text: str) -> int:
    return sum((position + 1) * ord(letter) for position, letter in enumerate(text)) * 2654435761 % 2**64


def page_replies(rows: list[dict], show_text: list[str], prompts: dict[str, str] | None = None) -> PageReplies:
    """Each id's conversation is a prompt and its reference."""
    ids = list(dict.fromkeys(row["id"] for row in rows))
    nll = {"base_nll": 20.0, "base_labels": 10, "tuned_nll": 10.0, "tuned_labels": 10}
    labels = ["travel", "billing", None]
    columns = ["id", "label", "language", *nll]
    examples = pd.DataFrame(
        [{"id": id, "label": labels[at % 3], "language": "en", **nll} for at, id in enumerate(ids)], columns=columns
    )
    messages_of = {
        id: [
            {"role": "user", "content": (prompts or {}).get(id, f"prompt of {id}")},
            {"role": "assistant", "content": f"right {id}"},
        ]
        for id in ids
    }
    return describe_replies(pd.DataFrame(rows, columns=list(reply("", None, None))), examples, messages_of, show_text)


def hostile_rows() -> list[dict]:
    """The texts as replies, each also as an id where it has no slash."""
    rows = [reply(f"pairs/{at}", text, f"tuned {text}", tuned_chrf=10.0 - at) for at, text in enumerate(HOSTILE)]
    return [*rows, reply(f"pairs/<b onclick=x>{LONG}", "base", "tuned", tuned_chrf=1.0)]


def many_rows(number: int) -> list[dict]:
    words = ["the", "train", "leaves", "at", "nine", "and", "my", "invoice", "is", "late", "again"]
    return [
        reply(
            f"pairs/{at:05}", " ".join(words[at % 7 :] * 6), f"answer {at} " + " ".join(words[: at % 9] * 5),
            tuned_chrf=float(at % 100), tuned_looping=at % 11 == 0,
        )
        for at in range(number)
    ]  # fmt: skip


def make_content(replies: PageReplies, **more: object) -> Content:
    labels = [{"label": "travel", "model": model, "perplexity": 10.0, "conversations": 5} for model in ("base", "tuned")]
    history = [{"step": 0, "validation_loss": 3.0}, {"step": 1, "train_loss": 2.5}, {"step": 2, "train_loss": float("nan"),
               "validation_loss": 2.0, "kept": True}]  # fmt: skip
    given = {
        "evaluation": evaluation(), "outcomes": [GATE], "replies": replies, "history": history, "data": {"rows_read": 1677},
        "fates": pd.DataFrame({"fate": ["train", "clean: dropped, refusal"], "conversations": [508, 2]}),
        "perplexities": pd.DataFrame(labels), "environment": {"device": "cpu", "packages": {"torch": "2.13.0"}},
        "seed_noise": same("Seed noise is not measured."), "retained": describe_retained(RETAINED, ["pairs"], ["pairs"]),
    }  # fmt: skip
    return Content(**given | more)


def make_page(rows: list[dict], show_text: list[str] | None = None, **more: object) -> str:
    return render_page(make_content(page_replies(rows, ["pairs"] if show_text is None else show_text), **more))
