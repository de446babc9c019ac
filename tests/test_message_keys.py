"""Whatever keys messages have: no text is learned that a mark excludes, and none is lost without a row in a ledger."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import examples, tiny_params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from transformers import AutoTokenizer

from stages.clean.conversation import clean_lines
from stages.clean.params import CleanParams
from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.marks import is_mark
from stages.collect.sources import Source
from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.tokenize.__main__ import TokenizeParams, tokenize_split

Reply = tuple[dict[str, Any], bool | None]
OFF = {"train": [0, 0.0, False, "0", "false", "False", "no"], "mask": [True, "true", "True"]}
ON = {"train": [1, 1.0, True, "1", "true", None, ""], "mask": [False, "false", None]}
# Written out: a name that is taken from the list in the code is known whatever the list lacks.
NAMES = {
    **dict.fromkeys(["weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask"], "train"),
    **dict.fromkeys(["train_on_turn", "train_on_message"], "train"),
    **dict.fromkeys(["mask", "masked", "ignore_loss", "mask_loss", "no_loss", "no_train"], "mask"),
}
UNCLEAR = [0.5, 2, -1, "half", [{"begin_offset": 0}], {"a": 1}]
STRANGE = ["Weight", "loss weight", "lossScale", "isTrained", "trainOnThis", "token_weight", "exclude_loss"]
HARMLESS = ["id", "mood", "closs", "content_type", "sent_at"]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(0, 1), st.sampled_from(["", "x", "false"]))


@st.composite
def marks(draw: st.DrawFn) -> Reply:
    """(a key of a message, what it says)."""
    kind = draw(st.sampled_from(["off", "off", "on", "on", "unclear", "strange"]))
    if kind == "strange":
        name = draw(st.sampled_from([*STRANGE, "mask"]))  # of a number under `mask` nobody knows what it says
        return {name: draw(st.sampled_from([0, 1, 0.5] if name == "mask" else [0, 1, True, False, 0.5]))}, None
    name = draw(st.sampled_from(sorted(NAMES)))
    values = {"off": OFF[NAMES[name]], "on": ON[NAMES[name]], "unclear": UNCLEAR}[kind]
    return {name: draw(st.sampled_from(values))}, {"off": False, "on": True, "unclear": None}[kind]


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """(keys of an assistant's message, whether it is to be learned; None where that can't be told). One no is enough."""
    keys: dict[str, Any] = {name: draw(VALUES) for name in draw(st.lists(st.sampled_from(HARMLESS), max_size=2))}
    several = draw(st.lists(marks(), max_size=2, unique_by=lambda mark: next(iter(mark[0]))))
    said = [wanted for _, wanted in several]
    for mark, _ in several:
        keys |= mark
    return keys, None if None in said else all(said)


# Conversations of turns, each of one reply or of two in a row.
TALKS = st.lists(st.lists(st.lists(replies(), min_size=1, max_size=2), min_size=1, max_size=3), min_size=1, max_size=5)
LAYOUTS: dict[str, dict[str, Any]] = {
    "a list": {},
    "ShareGPT's": {},
    "a row a message": {"columns": {"conversation": "talk", "role": "role", "content": "content"}},
}


def test_the_strange_keys_are_marks_and_the_harmless_ones_are_none() -> None:
    assert all(map(is_mark, STRANGE))
    assert not any(map(is_mark, HARMLESS))


@pytest.fixture(scope="module")
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def rows_of(talks: list[list[list[Reply]]], layout: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number, talk in enumerate(talks):
        messages: list[dict[str, Any]] = []
        for turn, several in enumerate(talk):
            messages.append({"role": "user", "content": f"question {number}.{turn}"})
            for part, (keys, _) in enumerate(several):
                messages.append({"role": "assistant", "content": reply_text(number, turn, part)} | keys)
        if layout == "a row a message":
            rows += [{"talk": f"t{number}"} | message for message in messages]
        elif layout == "a list":
            rows.append({"id": f"t{number}", "messages": messages})
        else:
            listed = [{"from": message.pop("role"), "value": message.pop("content")} | message for message in messages]
            rows.append({"id": f"t{number}", "conversations": listed})
    return rows


def reply_text(number: int, turn: int, part: int) -> str:
    return f"reply {number}.{turn}.{part};"


@settings(deadline=None, max_examples=examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talks=TALKS, layout=st.sampled_from(list(LAYOUTS)))
def test_no_text_is_learned_that_a_mark_excludes_and_none_is_lost_without_a_row(
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    talks: list[list[list[Reply]]],
    layout: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = rows_of(talks, layout)
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source: Any = TypeAdapter(Source).validate_python({"format": "jsonl", "path": "raw.jsonl"} | LAYOUTS[layout])
    collected, unreadable = assign_ids("s", read_source(source))
    clear = {
        f"s/t{number}": talk
        for number, talk in enumerate(talks)
        if all(wanted is not None for several in talk for _, wanted in several)
    }
    assert {row.id for row in collected} == clear.keys()
    assert sum(1 + len(row.further) for row in collected) + sum(row.rows for row in unreadable) == len(rows)
    params = tiny_params()["clean"] | {"near_duplicates": None}
    chunk = clean_lines([row.line for row in collected], CleanParams.model_validate(params))
    assert [verdict.reason for verdict in chunk.verdicts] == [None] * len(collected)
    conversations = [json.loads(verdict.line) for verdict in chunk.verdicts]
    wanted_params = TokenizeParams.model_validate(tiny_params()["tokenize"])
    pairs, ledger = tokenize_split(tokenizer, conversations, "train", wanted_params)
    assert [row["id"] for row in ledger] == [row["id"] for row in conversations]
    learned = {row["id"]: "" for row in ledger}
    for id, example in pairs:
        learned[id] += tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX])
    for row in ledger:
        number = int(row["id"].removeprefix("s/t"))
        said = [
            (reply_text(number, turn, part), wanted)
            for turn, several in enumerate(clear[row["id"]])
            for part, (_, wanted) in enumerate(several)
        ]
        texts = learned[row["id"]].replace("<|im_end|>", "").replace("\n", "")  # two in a row are joined by a line feed
        assert texts == "".join(text for text, wanted in said if wanted)
        assert row["fate"] == ("kept" if any(wanted for _, wanted in said) else "no_labels")
