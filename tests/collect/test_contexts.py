"""A text that stands once above the rows of a JSON document: never lost without a word, with or without the preview."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError

HOUSE = "The house has two doors and a gate."
TALK = [{"role": "user", "content": "Where is the door?"}, {"role": "assistant", "content": "It is on the left."}]
ROWS = [
    {"messages": TALK},
    TALK,
    {"conversations": [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": "On the left."}]},
    {"instruction": "Where is the door?", "output": "On the left."},
    {"prompt": "Where is the door?", "completion": "On the left."},
]


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(document: object, path: str = "raw.json", **options: object) -> list[RawConversation]:
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_text(json.dumps(document), encoding="utf-8")
    told = {"format": "json", "path": path, **options}
    found = list(read_source(TypeAdapter(Source).validate_python(told)))
    assert all(isinstance(row, RawConversation) for row in found), found
    return found


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("above", [{"system": HOUSE}, {"Background": {"said": [HOUSE]}}, {"documents": {"a": {"text": HOUSE}}}])
def test_a_text_above_the_rows_stops(row: object, above: dict) -> None:
    with pytest.raises(ReprotuneError, match="stands above the rows"):
        read({"version": "1 of 2", **above, "data": [row, row]})


def test_columns_say_that_it_is_not_used() -> None:
    document = {"context": HOUSE, "data": [{"prompt": "Where is it?", "completion": "On the left."}]}
    [talk] = read(document, columns={"user": "prompt", "assistant": "completion"})
    assert [message["content"] for message in talk.messages] == ["Where is it?", "On the left."]


def test_a_text_above_the_array_that_is_named_stops_too() -> None:
    document = {"system": HOUSE, "train": [{"messages": TALK}], "test": [{"messages": TALK}]}
    with pytest.raises(ReprotuneError, match="'system' stands above the rows"):
        read(document, array="train")
    assert [talk.messages for talk in read(document | {"system": ""}, array="train")] == [TALK]


@pytest.mark.parametrize(
    "above",
    [
        {"description": HOUSE, "license": "as you like"},
        {"system": "", "context": None, "instruction": 7, "background": "web", "document": {"id": "a b", "title": "Of doors"}},
        {"persona": "Where is the  door?"},
    ],
)
def test_what_says_nothing_more_than_the_rows_blocks_nothing(above: dict) -> None:
    assert [talk.messages for talk in read({**above, "data": [{"messages": TALK}]})] == [TALK]


def test_what_each_row_says_or_a_row_that_is_the_document_blocks_nothing() -> None:
    said = [{"role": "system", "content": HOUSE}, *TALK]
    assert [talk.messages for talk in read({"system": "Be brief.", "data": [{"system": HOUSE, "messages": TALK}]})] == [said]
    assert [talk.messages for talk in read({"system": HOUSE, "messages": TALK})] == [said]


def test_of_a_folder_the_document_is_named() -> None:
    read({"data": [{"messages": TALK}]}, "mine/a.json")
    with pytest.raises(ReprotuneError, match=r"mine/b.json: 'system' stands above the rows"):
        read({"system": HOUSE, "data": [{"messages": TALK}]}, "mine/b.json")
    with pytest.raises(ReprotuneError, match=r"mine/b.json: 'system' stands above the rows"):
        list(read_source(TypeAdapter(Source).validate_python({"format": "json", "path": "mine"})))
