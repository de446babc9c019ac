"""Text repair: golden cases of each function, what none may change, and linear time on hostile input."""

import importlib
import json
import re
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ftfy
import pytest
from conftest import REPO, examples
from ftfy.badness import BADNESS_RE
from hypothesis import example, given, settings
from hypothesis import strategies as st

import stages
from stages.clean.markup import strip_html
from stages.clean.mojibake import COMMON_CHINESE, FTFY, MOJIBAKE_SIGN, fix_gbk_mojibake, fix_unicode
from stages.clean.simplified import to_simplified
from stages.clean.spacing import fix_whitespace, remove_control_characters
from stages.clean.urls import mask_urls

CASES = REPO / "tests/cases"
FUNCTIONS: dict[str, Callable[[str], str]] = {
    function.__name__: function
    for function in (
        fix_unicode, fix_gbk_mojibake, remove_control_characters, fix_whitespace, strip_html, mask_urls, to_simplified,
    )
}  # fmt: skip


def read_cases(name: str) -> list[dict]:
    with (CASES / f"text_repair_{name}.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


GOLDEN = [pytest.param(name, case, id=f"{name}: {case['label']}") for name in FUNCTIONS for case in read_cases(name)]
KNOWN_FAILURES = [pytest.param(case, id=f"{case['function']}: {case['label']}") for case in read_cases("known_failures")]


@pytest.mark.parametrize(("name", "case"), GOLDEN)
def test_a_text_is_repaired_or_left_as_it_stands(name: str, case: dict) -> None:
    assert FUNCTIONS[name](case["input"]) == case["expected"]


@pytest.mark.parametrize("case", KNOWN_FAILURES)
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert FUNCTIONS[case["function"]](case["input"]) != case["expected"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_has_cases_that_change_and_cases_that_must_not(name: str) -> None:
    kinds = [case["input"] == case["expected"] for case in read_cases(name)]
    assert 3 <= sum(kinds) <= len(kinds) - 3


# Properties, over text of all kinds and over pieces that mean something to one of the functions.
PIECES = [
    "a", "B", " ", "\n", "\t", "好", "浣", "犲", "ソ", "涓", "€", "鈥", "檚", "Ã", "©", "e", "\u0301", "\u200b", "\x80", "\r",
    "<b>", "</b>", "<p>", "</p>", "<br>", "<li>", "<pre>", "</pre>", "<code>", "</code>", "<script>", "</script>", "<!--", "-->",
    "<", ">", "&lt;", "&gt;", "&amp;", "lt;", "&", "#96;", "`", "```", "/", "http://", "www.", "x.y", ")", "(", ".", "[URL]",
    "漢", "乾", "の", "👍",
]  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(deadline=None, max_examples=examples(120))
@given(text=TEXTS)
@example(text="<pre>&lt;b&gt;x`</pre>")
@example(text="<<b>b>x</b></b>")
@example(text="乾安縣")
@example(text="<code>\n</code>`&amp;`")
def test_a_second_pass_changes_nothing(name: str, text: str) -> None:
    function = FUNCTIONS[name]
    once = function(text)
    assert function(once) == once


# Everything ftfy does to these is composing: it has nothing to repair where no sign of mojibake stands.


def matches_hold_a_sign(pattern: object) -> bool:
    """Whether every match of a parsed regular expression must hold one of the characters of MOJIBAKE_SIGN."""
    for operation, value in pattern:
        name = str(operation)
        if name == "LITERAL" and MOJIBAKE_SIGN.match(chr(value)):
            return True
        if name == "IN" and all(set_holds_signs_only(*item) for item in value):
            return True
        if name == "BRANCH" and all(matches_hold_a_sign(branch) for branch in value[1]):
            return True
        if name == "SUBPATTERN" and matches_hold_a_sign(value[-1]):
            return True
    return False


def set_holds_signs_only(operation: object, value: object) -> bool:
    name = str(operation)
    if name == "LITERAL":
        return bool(MOJIBAKE_SIGN.match(chr(value)))
    return name == "RANGE" and all(MOJIBAKE_SIGN.match(chr(code)) for code in range(value[0], value[1] + 1))


def test_what_ftfy_takes_for_mojibake_always_holds_a_sign_of_it() -> None:
    assert matches_hold_a_sign(re._parser.parse(BADNESS_RE.pattern, BADNESS_RE.flags))
    assert not matches_hold_a_sign(re._parser.parse("Ã|x"))
    assert not matches_hold_a_sign(re._parser.parse("[Ãx]|Ã"))


@pytest.mark.parametrize(
    "bytes_",
    [bytes([first, second, third]) for first in (0xC3, 0xD0, 0xE2, 0xF0) for second in (0x80, 0x9F) for third in (0x84, 0xBF)],
)
@pytest.mark.parametrize("encoding", ["latin-1", "cp1251", "cp1252", "cp1250", "cp1253", "mac-roman", "cp437"])
def test_the_fast_path_agrees_with_ftfy_on_bytes_read_in_a_wrong_encoding(bytes_: bytes, encoding: str) -> None:
    text = "so " + bytes_.decode(encoding, "replace") + " it is"
    assert fix_unicode(text) == ftfy.fix_text(text, FTFY)


@settings(deadline=None, max_examples=examples(200))
@given(
    text=st.text(
        st.one_of(
            st.characters(max_codepoint=0x5FF),
            st.characters(min_codepoint=0x2000, max_codepoint=0x25FF),
            st.sampled_from("aé好。”"),
        )
    )
)
def test_the_fast_path_agrees_with_ftfy(text: str) -> None:
    assert fix_unicode(text) == ftfy.fix_text(text, FTFY)


@settings(deadline=None)
@given(text=st.text(st.characters(min_codepoint=0x2E80, max_codepoint=0xFFFD, exclude_categories=["Cs", "Cn"])))
def test_chinese_japanese_and_korean_are_only_composed(text: str) -> None:
    assert fix_unicode(text) == unicodedata.normalize("NFC", text)


@settings(deadline=None, max_examples=examples(200))
@given(text=st.text(st.sampled_from(sorted(COMMON_CHINESE) + list("，。“”！？ abc\n"))))
def test_ordinary_chinese_is_no_gbk_mojibake(text: str) -> None:
    assert fix_gbk_mojibake(text) == text


def test_no_word_of_a_large_dictionary_is_gbk_mojibake() -> None:
    import jieba

    with (Path(jieba.__file__).parent / "dict.txt").open(encoding="utf-8") as file:
        words = [line.split()[0] for line in file]
    assert len(words) > 300_000
    assert [word for word in words if fix_gbk_mojibake(word) != word] == []


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_characters="<&", exclude_categories=["Cs"])))
def test_without_a_tag_or_an_entity_nothing_is_html(text: str) -> None:
    assert strip_html(text) == text


@settings(deadline=None)
@given(code=st.text(st.sampled_from(list("ab <>&;/p\n\"'")), max_size=40))
def test_fenced_code_stays_whatever_it_holds(code: str) -> None:
    text = f"<p>see</p>\n```\n{code}\n```"
    assert strip_html(text).endswith(f"```\n{code}\n```")


HOSTILE = [
    "<", "<a ", '<a "', "<script>", "<!--", "`", "`a\n", "&", "&amp;", "&lt;p&gt;", "<pre>", "<p>x</p>", "<code>`</code>",
    "www.", "http://a" + ")" * 50, "/中", "浣", " ", " \n", "\u200b",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "to_simplified"])
def test_a_long_hostile_text_takes_no_quadratic_time(name: str, piece: str) -> None:
    text = piece * (300_000 // len(piece)) + "</pre></p>"
    start = time.process_time()
    FUNCTIONS[name](text)
    assert time.process_time() - start < 3


def groups_repeated_possessively(pattern: re.Pattern[str]) -> list[Any]:
    """What stands under a possessive quantifier, of more than one set of characters."""
    found, waiting = [], [re._parser.parse(pattern.pattern, pattern.flags).data]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple) and node[0] is re._constants.POSSESSIVE_REPEAT:
            repeated = node[1][2].data
            if len(repeated) != 1 or repeated[0][0] not in (re._constants.IN, re._constants.NOT_LITERAL, re._constants.LITERAL):
                found.append(repeated)
        if isinstance(node, (tuple, list)):
            waiting += node
        elif isinstance(node, re._parser.SubPattern):
            waiting.append(node.data)
    return found


@pytest.mark.parametrize("path", sorted(Path(stages.__path__[0]).rglob("*.py")), ids=lambda path: path.stem)
def test_no_group_is_repeated_possessively(path: Path) -> None:
    """Python 3.11.0 to 3.11.4, Debian 12's among them, end such a match too early (CPython's issue 106052)."""
    module = importlib.import_module(".".join(path.relative_to(Path(stages.__path__[0]).parent).with_suffix("").parts))
    patterns = [value for value in vars(module).values() if isinstance(value, re.Pattern) and isinstance(value.pattern, str)]
    assert [groups_repeated_possessively(pattern) for pattern in patterns] == [[] for _ in patterns]
    assert groups_repeated_possessively(re.compile("a(?:b|c+)*+"))
