"""Whatever a run finds, the page says it in English and in Chinese."""

import re
from string import Formatter
from typing import get_args

import pandas as pd
from html_tree import chinese_texts, read
from pages import GATE, SCORES, STRATUM, claim, evaluation, make_page, reply

from stages.clean.faults import FAULTS as CLEAN_FAULTS
from stages.lib.records.scores import Why
from stages.lib.records.tokenize_ledger import TokenizedFate
from stages.report.gates import WORDS
from stages.report.page.names import COMPARABILITY, COUNTS, METRICS, ORDER, STRATA
from stages.report.page.texts import Both
from stages.report.seeds import describe_seed_noise

ROWS = [reply("pairs/1", "base one", "tuned one", tuned_chrf=1.0, tuned_looping=True), reply("chats/2", "a", "b", tuned_chrf=2.0)]
FATES = [
    *(f"clean: dropped, {reason}" for reason in (
        "exact duplicate", "near duplicate", "length", "language", "tool messages", "no reply", "empty", "no assistant message",
        "no user message", *(fault.name for fault in CLEAN_FAULTS))),
    *(f"tokenize: {fate}".replace("_", " ") for fate in get_args(TokenizedFate) if fate != "kept"),
    *("collect: rows unreadable", "collect: rows over limit", "collect: rows left out", "split: left out"),
    *("train", "validation", "test"),
]  # fmt: skip
HARDWARE = {
    "device": "cpu", "device_name": "x86_64", "device_count": 1, "cuda": None, "cudnn": None, "deterministic_algorithms": False,
    "cpu_threads": 2, "cpu_capability": "AVX2", "precision": "float32", "packed_documents": True, "processes": 1,
    "packages": {"torch": "2.13.0"},
}  # fmt: skip
# What no language changes: names of metrics, files, params, commands, packages and terms; labels, ids and languages.
NAMES = re.compile(
    r"\b(metrics/\w+\.\w+|data/votes\.jsonl|params\.yaml|evaluate\.embedding|report\.(gates|show_text)|python -m tools\.\w+|"
    r"predict\.retention|train\.seed|dvc (repro|plots show)|tuned\.\w+|base\.\w+|chrF|distinct-2|F1|Jaccard|JSONL?|token|nat|CPU|"
    r"float32|x86_64|AVX2|cpu|cuda|cudnn|torch|python|true|false|null|id|collect|clean|split|tokenize|predict|English|A|B|"
    r"pairs|chats|travel|billing|hosted|en|zh|abc|[0-9a-f]{12,})\b",
    re.ASCII,
)


def values_of(template: str) -> dict[str, int]:
    return {name: 7 for _, name, _, _ in Formatter().parse(template) if name}


def everything() -> str:
    """A page with a claim of each name, measure and verdict, with and without its reason, and all else that can stand there."""
    measures = {
        "forgot": "retention_ratio", "broken": "broken_difference", "length": "length_ratio", "memorised": "memorised_auc",
        "preferred": "win_rate", "majority": "majority_difference", "wording": "chrf_difference",
    }  # fmt: skip
    claims = [
        claim("better", "perplexity_ratio", "less"),
        claim("better", "accuracy_difference", "unclear", more_conversations=9),
    ]
    for name, measure in measures.items():
        claims += [claim(name, measure, verdict, more_conversations=9) for verdict in ("less", "more", "unclear")]
        claims += [claim(name, measure, "not_measured", reason=why.said(**values_of(why.value))) for why in Why]
    strata = [STRATUM | {"value": None, "pooled": pooled, "stratum": kind, "verdict": verdict} for pooled in (True, False)
              for kind in STRATA for verdict in ("less", "more", "unclear", "too_few", "not_measured")]  # fmt: skip
    other = {"replies": 60, "missing": 3, "foreign": 1, "not_asked": 2, "scores": {"chrf": 1.0}, "base": {}, "tuned": {},
             "comparison": {}, "claims": claims}  # fmt: skip
    made = evaluation(claims, strata)
    made["contenders"] = dict.fromkeys(ORDER, SCORES | dict.fromkeys(METRICS, 1.0) | {"verbatim": None, "verbatim_replies": 3})
    made["comparison"] |= {"votes_foreign": 2}
    made |= {"others": {"hosted": other}, "confusion": [("travel", "")]}
    made["comparability"] |= dict.fromkeys(COMPARABILITY)
    noise = {"seeds": [0, 1], "adapters": ["a"], "comparability": {}, "measures": {
        "log_perplexity_ratio": {"values": [-1.0, -0.9], "mean": -0.95, "standard_deviation": 0.07}}}  # fmt: skip
    told = Both(*(describe_seed_noise(noise, "a", {}, claims, language) for language in ("en", "zh")))
    outcomes = [
        GATE | {"value": None, "passed": False, "reason": why.said(**values_of(why.value)), "bound": f"{bound} 0.1"}
        for why in Why for bound in WORDS.values()
    ]  # fmt: skip
    labels = [{"label": label, "model": model, "perplexity": 10.0, "conversations": 5}
              for label in ("travel", "(other)", "((none))") for model in ("base", "tuned")]  # fmt: skip
    return make_page(
        ROWS, evaluation=made, outcomes=outcomes, seed_noise=told, perplexities=pd.DataFrame(labels), environment=HARDWARE,
        fates=pd.DataFrame({"fate": FATES, "conversations": 5}), data=dict.fromkeys(COUNTS, 5),
    )  # fmt: skip


def test_no_english_is_left_on_the_chinese_page() -> None:
    body = read(everything()).all("body")[0]
    left = [text for text in chinese_texts(body) if re.search("[A-Za-z]", NAMES.sub("", text))]
    assert left == []
