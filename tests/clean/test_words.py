"""Words: golden cases, a second pass that changes nothing, and a segmenter that leaves no trace."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, examples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.clean import words
from stages.clean.words import segment_words

CASES = REPO / "tests/cases"
FUNCTIONS = ("segment_words", "remove_stop_words")


def read_cases(name: str) -> list[dict]:
    with (CASES / f"words_{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


GOLDEN = [pytest.param(name, case, id=f"{name}: {case['label']}") for name in FUNCTIONS for case in read_cases(name)]
KNOWN_FAILURES = [pytest.param(case, id=f"{case['function']}: {case['label']}") for case in read_cases("known_failures")]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_words_are_set_apart_or_taken_out(name: str, case: dict) -> None:
    assert getattr(words, name)(case["input"]) == case["expected"]


@pytest.mark.parametrize("case", KNOWN_FAILURES)
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert getattr(words, case["function"])(case["input"]) != case["expected"]


PIECES = [
    "我",
    "的",
    "目",
    "们",
    "中国",
    "人民",
    "银行",
    "学生",
    "会",
    "the",
    "is",
    "not",
    "cat",
    " ",
    "  ",
    "\n",
    "-",
    "'",
    "’",
    "s",
    "，",
    "a",
    "@",
    ".",
    "1",
]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(st.characters(min_codepoint=0x4E00, max_codepoint=0x56FF)),
)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=examples(120))
@given(text=TEXTS)
@example(text="the  a the\n an ")
def test_a_second_pass_changes_nothing(name: str, text: str) -> None:
    function = getattr(words, name)
    once = function(text)
    assert function(once) == once


@settings(deadline=None)
@given(text=TEXTS)
def test_segmenting_adds_spaces_and_nothing_else(text: str) -> None:
    assert segment_words(text).replace(" ", "") == text.replace(" ", "")


@settings(deadline=None)
@given(text=st.text(st.characters(max_codepoint=0x2E7F, exclude_categories=["Cs"])))
def test_a_text_without_chinese_is_not_segmented(text: str) -> None:
    assert segment_words(text) == text


def test_segmenting_prints_nothing_and_leaves_no_file(tmp_path: Path) -> None:
    code = "from stages.clean.words import segment_words; print(segment_words('我爱北京'))"
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
    result = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        cwd=REPO,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert (result.stdout, result.stderr) == ("我 爱 北京\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_broken_cache_of_another_user_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "jieba.cache").write_bytes(b"broken")
    code = "from stages.clean.words import segment_words; print(len(segment_words('我爱北京')))"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", code], cwd=REPO, env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("6\n", "")
    assert (tmp_path / "jieba.cache").read_bytes() == b"broken"
