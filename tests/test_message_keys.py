"""Whatever keys messages have: no text is learned that a mark excludes, and none is lost without a row in a ledger."""

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import tiny_params
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from transformers import AutoTokenizer

from stages.clean.conversation import clean_lines
from stages.clean.params import CleanParams
from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.marks import KNOWN, is_mark
from stages.collect.sources import Source
from stages.lib.records.tokenized import IGNORE_INDEX
from stages.tokenize.__main__ import TokenizeParams, tokenize_split

Reply = tuple[dict[str, Any], bool | None]
OFF = {"train": [0, 0.0, False, "0", "false", "False", "no"], "mask": [True, "true", "True"]}
ON = {"train": [1, 1.0, True, "1", "true", None, ""], "mask": [False, "false", None]}
UNCLEAR = [0.5, 2, -1, "half", [{"begin_offset": 0}], {"a": 1}]
STRANGE = ["loss_scale", "do_train", "isTrained", "trainOnThis", "token_weight", "exclude_from_loss", "learnable"]
HARMLESS = ["id", "mood", "closs", "content_type", "sent_at"]
VALUES = st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.floats(0, 1), st.sampled_from(["", "x", "false"]))


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    """(keys of an assistant's message, whether it is to be learned; None where that can't be told)."""
    keys: dict[str, Any] = {name: draw(VALUES) for name in draw(st.lists(st.sampled_from(HARMLESS), max_size=2))}
    kind = draw(st.sampled_from(["plain", "off", "on", "unclear", "strange"]))
    if kind == "plain":
        return keys, True
    if kind == "strange":
        value = draw(st.sampled_from([0, 1, True, False, 0.5]))
        return keys | {draw(st.sampled_from(STRANGE)): value}, None
    name = draw(st.sampled_from(sorted(KNOWN)))
    values = {"off": OFF[KNOWN[name]], "on": ON[KNOWN[name]], "unclear": UNCLEAR}[kind]
    return keys | {name: draw(st.sampled_from(values))}, {"off": False, "on": True, "unclear": None}[kind]


TALKS = st.lists(st.lists(replies(), min_size=1, max_size=4), min_size=1, max_size=5)


def test_the_strange_keys_are_marks_and_the_harmless_ones_are_none() -> None:
    assert all(map(is_mark, STRANGE))
    assert not any(map(is_mark, HARMLESS))


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(talks=TALKS)
def test_no_text_is_learned_that_a_mark_excludes_and_none_is_lost_without_a_row(
    tiny_model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    talks: list[list[Reply]],
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = []
    for number, talk in enumerate(talks):
        messages: list[dict[str, Any]] = []
        for turn, (keys, _) in enumerate(talk):
            messages.append({"role": "user", "content": f"question {number}.{turn}"})
            messages.append({"role": "assistant", "content": f"reply {number}.{turn}"} | keys)
        rows.append({"id": f"t{number}", "messages": messages})
    Path("raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    source: Any = TypeAdapter(Source).validate_python({"format": "jsonl", "path": "raw.jsonl"})
    collected, unreadable = assign_ids("s", read_source(source))
    clear = {f"s/t{number}": talk for number, talk in enumerate(talks) if all(wanted is not None for _, wanted in talk)}
    assert {row.id for row in collected} == clear.keys()
    assert len(collected) + len(unreadable) == len(talks)
    params = tiny_params()["clean"] | {"near_duplicates": None}
    chunk = clean_lines([row.line for row in collected], CleanParams.model_validate(params))
    assert [verdict.reason for verdict in chunk.verdicts] == [None] * len(collected)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    conversations = [json.loads(verdict.line) for verdict in chunk.verdicts]
    wanted_params = TokenizeParams.model_validate(tiny_params()["tokenize"])
    pairs, ledger = tokenize_split(tokenizer, conversations, "train", wanted_params)
    assert [row["id"] for row in ledger] == [row["id"] for row in conversations]
    learned = {row["id"]: "" for row in ledger}
    for id, example in pairs:
        learned[id] += tokenizer.decode([label for label in example.labels if label != IGNORE_INDEX])
    for row in ledger:
        number = row["id"].removeprefix("s/t")
        expected = [f"reply {number}.{turn}" for turn, (_, wanted) in enumerate(clear[row["id"]]) if wanted]
        assert learned[row["id"]] == "".join(f"{text}<|im_end|>" for text in expected)
        assert row["fate"] == ("kept" if expected else "no_labels")
