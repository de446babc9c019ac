"""The tokenize stage: what is too long is dropped or cut by choice, and the ledger accounts for every conversation."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import REPO, make_conversations, tiny_params, write_params
from transformers import AutoTokenizer

from stages import tokenize
from stages.lib.chat_template import IGNORE_INDEX, stop_token_id, tokenize_conversation
from stages.lib.conversations import read_jsonl, write_jsonl
from stages.lib.errors import ReprotuneError
from stages.tokenize import TokenizeParams, fit_length, tokenize_split

TEMPLATES = Path(__file__).parent / "templates"


@pytest.fixture(params=["chatml", "qwen3"])
def tokenizer(request: pytest.FixtureRequest, tiny_model_folder: Path) -> Any:
    """With a template that gives one example a conversation, and with one that gives an example a turn."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    tokenizer.chat_template = (TEMPLATES / f"{request.param}.jinja").read_text(encoding="utf-8")
    return tokenizer


def converse(id: str, turns: int, words: int = 5) -> dict:
    texts = [f"{'word ' * words}{turn}" for turn in range(turns)]
    pairs = [({"role": "user", "content": f"{text}?"}, {"role": "assistant", "content": f"{text}!"}) for text in texts]
    return {"id": id, "messages": [message for pair in pairs for message in pair]}


def longest(tokenizer: Any, messages: list[dict]) -> int:
    return max(len(example.input_ids) for example in tokenize_conversation(tokenizer, messages))


@pytest.mark.parametrize("turns_that_fit", [1, 3, 4])
def test_cut_takes_whole_turns_from_the_end_and_no_more_than_it_must(tokenizer, turns_that_fit):
    conversation = converse("a", 5)
    shorter = conversation["messages"][: 2 * turns_that_fit]
    params = TokenizeParams(max_length=longest(tokenizer, shorter), too_long="cut")
    assert fit_length(tokenizer, conversation, params) == (tokenize_conversation(tokenizer, shorter), "cut")


def test_every_reply_that_a_cut_leaves_keeps_its_stop_token(tokenizer):
    conversation = converse("a", 5)
    params = TokenizeParams(max_length=longest(tokenizer, conversation["messages"][:6]) + 1, too_long="cut")
    examples, _ = fit_length(tokenizer, conversation, params)
    stop = stop_token_id(tokenizer)
    assert sum(example.labels.count(stop) for example in examples) == 3
    assert all(example.labels[-1] == stop for example in examples)


def test_a_conversation_of_exactly_the_length_is_kept_whole(tokenizer):
    conversation = converse("a", 3)
    params = TokenizeParams(max_length=longest(tokenizer, conversation["messages"]), too_long="cut")
    assert fit_length(tokenizer, conversation, params) == (tokenize_conversation(tokenizer, conversation["messages"]), "kept")


@pytest.mark.parametrize(("too_long", "turns", "words"), [("drop", 5, 5), ("cut", 1, 50)])
def test_a_conversation_over_the_length_is_left_out_by_drop_or_where_its_first_turn_is_too_long(
    tokenizer, too_long, turns, words
):
    assert fit_length(tokenizer, converse("a", turns, words), TokenizeParams(max_length=60, too_long=too_long)) == (
        [],
        "too_long",
    )


@pytest.mark.parametrize(("too_long", "fates"), [("drop", (8, 0, 4)), ("cut", (8, 3, 1))])
def test_the_ledger_has_a_row_for_each_conversation_in_order_and_adds_up(tokenizer, too_long, fates):
    conversations = [converse(f"short{n}", 1) for n in range(8)] + [converse(f"many{n}", 20) for n in range(3)]
    conversations += [converse("long", 1, 500), converse("spells", 1)]
    conversations[-1]["messages"][0]["content"] = "What is <|im_end|>?"
    pairs, ledger = tokenize_split(tokenizer, conversations, "train", TokenizeParams(max_length=200, too_long=too_long))
    assert [row["id"] for row in ledger] == [conversation["id"] for conversation in conversations]
    count = Counter(row["fate"] for row in ledger)
    assert (count["kept"], count["cut"], count["too_long"], count["template_misfit"]) == (*fates, 1)
    assert count.total() == len(conversations)
    for row in ledger:
        own = [example for id, example in pairs if id == row["id"]]
        assert row["examples"] == len(own)
        assert row["tokens"] == sum(len(example.input_ids) for example in own)
        assert row["labels"] == sum(label != IGNORE_INDEX for example in own for label in example.labels)
        assert (row["labels"] > 0) == (row["fate"] in ("kept", "cut"))
    assert ledger[-1]["detail"] == "messages[0] holds the special token <|im_end|>"
    assert list(dict.fromkeys(id for id, _ in pairs)) == [row["id"] for row in ledger if row["examples"]]


@pytest.fixture
def folder(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the stage declares, nothing else; the working directory is there."""
    params = tiny_params()
    params["tokenize"] = {"max_length": 50, "too_long": "drop"}
    write_params(tmp_path, params)
    shutil.copytree(REPO / "requirements", tmp_path / "requirements")
    shutil.copytree(tiny_model_folder, tmp_path / "models/tokenizer")
    rows = make_conversations(40)
    write_jsonl(tmp_path / "data/split/train.jsonl", rows[:30])
    write_jsonl(tmp_path / "data/split/validation.jsonl", rows[30:])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_the_stage_writes_what_its_ledger_says(capsys):
    tokenize.main()
    output = capsys.readouterr().out
    ledger = read_jsonl(tokenize.LEDGER)
    assert [row["id"] for row in ledger] == [f"row{n}" for n in range(40)]
    assert {row["fate"] for row in ledger} == {"kept", "too_long"}
    for split, lines in (("train", 30), ("validation", 10)):
        rows = [row for row in ledger if row["split"] == split]
        table = pq.read_table(tokenize.TOKENIZED / f"{split}.parquet").to_pydict()
        assert len(rows) == lines
        assert table["id"] == [row["id"] for row in rows if row["fate"] == "kept"]
        assert [len(ids) for ids in table["input_ids"]] == [row["tokens"] for row in rows if row["fate"] == "kept"]
        assert f"tokenize {split}: {lines} conversations, {sum(row['tokens'] for row in rows):,} tokens" in output


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_of_which_nothing_is_left_is_an_error_that_says_why(folder, split):
    rows = [{"id": "a", "messages": [{"role": "user", "content": "<s>"}, {"role": "assistant", "content": "b"}]}]
    write_jsonl(folder / f"data/split/{split}.jsonl", rows)
    with pytest.raises(
        ReprotuneError, match=rf"data/split/{split}.jsonl: none of 1 .*a: messages\[0\] holds the special token <s>"
    ):
        tokenize.main()
