"""JSON and Python's lists are read as they were written: no number rounded, no text joined."""

import json
import pprint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stages.collect.conversations import read_source
from stages.collect.nested import parse_documents, parse_json, parse_list, parse_literal
from stages.collect.raw_conversation import RawConversation
from stages.collect.sources import Source

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**18, 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    """Equal, and of the same types: 1 is not True, 10**20 is not 1e20."""
    return repr(one) == repr(other)


@given(VALUES, st.booleans())
def test_json_is_read_exactly_whatever_its_white_space(value: object, pretty: bool) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=2 if pretty else None)
    assert same(parse_json(text), value)
    assert same(parse_json(text.encode()), value)


@given(
    st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), min_size=1, max_size=4), st.sampled_from(["", "\n", " ", ",\n", "\r\n"])
)
def test_objects_in_a_row_are_read_one_after_the_other(values: list, between: str) -> None:
    assert same(parse_documents(between.join(json.dumps(value) for value in values)), values)


@given(st.lists(VALUES, max_size=4) | st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_python_prints_is_read_back(value: object) -> None:
    assert same(parse_literal(repr(value)), value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_nothing(number: str) -> None:
    assert parse_json(f'{{"a": {number}, "b": [{number}], "c": "NaN"}}') == {"a": None, "b": [None], "c": "NaN"}


@pytest.mark.parametrize(
    "text", ["", "{", '{"a": 1} x', '{"a": nil}', '{"a": "\\ud800"}', '{"a": 12345678901234567890, "b": "\\ud800"}', "[" * 5000,
             '{"a": ' + "1" * 5000 + "}"]
)  # fmt: skip
def test_what_is_no_json_says_where(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        parse_json(text)


@pytest.mark.parametrize(
    "text",
    [
        "['a' 'b']",
        "['a'\n 'b']",
        "[{'a': 'x' 'y'}]",
        "[f('x')]",
        "['a', 'b'",
        "'a'",
        "7",
        "[nan]",
        "{'a'}",
        "[b'x']",
        "['\\ud800']",
        "[" * 500,
    ],
)
def test_what_python_would_join_compute_or_not_understand_is_no_list(text: str) -> None:
    assert parse_literal(text) is None


def test_a_list_too_long_for_pythons_parser_is_none() -> None:
    assert parse_literal("['" + "x" * 2**22 + "']") is None


def test_a_cell_that_holds_no_list_says_what_it_holds() -> None:
    for text, said in (
        ("{'a': 1}", "is an object; expected a list"),
        ('"x"', "is a text; expected a list"),
        ("[1 2]", "is text, but not JSON: "),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            parse_list(text)


@pytest.mark.parametrize("pretty", [None, 1])
def test_ids_beyond_64_bits_stay_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pretty: int | None) -> None:
    monkeypatch.chdir(tmp_path)
    ids = [2**64 + 1, 2**64 + 2, -(2**70)]
    rows = [{"chat": id, "who": who, "text": f"{who} {id}"} for id in ids for who in ("user", "assistant")]
    Path("raw.json").write_text(json.dumps(rows, indent=pretty), encoding="utf-8")
    source = {"format": "json", "path": "raw.json", "columns": {"conversation": "chat", "role": "who", "content": "text"}}
    found = list(read_source(TypeAdapter(Source).validate_python(source)))
    assert [row.key for row in found if isinstance(row, RawConversation)] == list(map(str, ids))


@pytest.mark.parametrize("width", [40, 10_000])
def test_a_document_as_python_prints_it_is_read_row_by_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"Is it {n}?", "completion": 'It\'s "so".', "label": None} for n in range(3)]
    Path("raw.json").write_text(pprint.pformat(rows, width=width), encoding="utf-8")
    found = list(read_source(TypeAdapter(Source).validate_python({"format": "json", "path": "raw.json"})))
    said = [[message["content"] for message in row.messages] for row in found if isinstance(row, RawConversation)]
    assert said == [[row["prompt"], row["completion"]] for row in rows]
