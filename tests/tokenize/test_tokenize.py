"""The tokenize stage: what is too long or said too often goes by choice, and the ledger accounts for every conversation."""

import gc
import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import CHATML, REPO, make_conversations, tiny_params, write_params
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from stages.base_model import __main__ as base_model
from stages.lib.base_model.tokenized import IGNORE_INDEX, Examples, examples_of
from stages.lib.chat_template import stop_token_id, tokenize_conversation
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl, write_jsonl
from stages.lib.core.params import read_params
from stages.lib.records.conversation import normalize
from stages.tokenize import __main__ as tokenize
from stages.tokenize import batches, lengths
from stages.tokenize.__main__ import TokenizeParams, cut, tokenize_split
from stages.tokenize.batches import BatchTokenizer
from stages.tokenize.rendered import render_some
from stages.tokenize.repeats import find_repeats, reply_keys

TEMPLATES = REPO / "tests/templates"


@pytest.fixture(params=["chatml", "qwen3"])
def tokenizer(request: pytest.FixtureRequest, tiny_model_folder: Path) -> Any:
    """With a template that gives one example a conversation, and with one that gives an example a turn."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    tokenizer.chat_template = (TEMPLATES / f"{request.param}.jinja").read_text(encoding="utf-8")
    return tokenizer


@pytest.fixture
def chatml(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def converse(id: str, turns: int, words: int = 5) -> dict:
    texts = [f"{'word ' * words}{id} {turn}" for turn in range(turns)]
    pairs = [({"role": "user", "content": f"{text}?"}, {"role": "assistant", "content": f"{text}!"}) for text in texts]
    return {"id": id, "messages": [message for pair in pairs for message in pair]}


def replying(id: str, *replies: str) -> dict:
    pairs = [({"role": "user", "content": id}, {"role": "assistant", "content": reply}) for reply in replies]
    return {"id": id, "messages": [message for pair in pairs for message in pair]}


def replies_of(conversation: dict) -> list[str]:
    return [message["content"] for message in conversation["messages"] if message["role"] == "assistant"]


def longest(tokenizer: Any, messages: list[dict]) -> int:
    return max(len(example.input_ids) for example in tokenize_conversation(tokenizer, messages))


def params(max_length: int = 1000, too_long: str = "drop", identical_replies: int | None = None) -> TokenizeParams:
    return TokenizeParams(max_length=max_length, too_long=too_long, identical_replies=identical_replies)


def tokenize_one(tokenizer: Any, conversation: dict, params: TokenizeParams) -> tuple[list, str]:
    """(examples, fate) of a conversation."""
    pairs, (row,) = tokenize_split(tokenizer, [conversation], "train", params)
    assert all(id == conversation["id"] for id, _ in pairs)
    return [example for _, example in pairs], row["fate"]


# Refusals


def test_a_call_that_a_stop_would_cut_off_stops_the_stage_and_names_the_choice(chatml):
    chatml.chat_template = "{{ tools | tojson if tools }}" + CHATML.replace(
        "{{ message.content }}",
        "{{ message.content }}{% if message.tool_calls %}<|im_end|>{{ message.tool_calls | tojson }}{% endif %}",
    )
    call = {"type": "function", "function": {"name": "find", "arguments": "{}"}}
    called = converse("b", 2)
    called["messages"][1]["tool_calls"] = [call]
    with pytest.raises(
        ReprotuneError, match=r"train.jsonl: b: .* writes <\|im_end\|>, .*; set clean.tool_messages to drop \(.*, or"
    ):
        tokenize_split(chatml, [converse("a", 1), called, called], "train", params())
    called["messages"][1]["weight"] = 0
    assert tokenize_one(chatml, called, params())[1] == "kept"


# Length


@pytest.mark.parametrize("turns_that_fit", [1, 3, 4])
def test_cut_takes_whole_turns_from_the_end_and_no_more_than_it_must(tokenizer, turns_that_fit):
    conversation = converse("a", 5)
    shorter = conversation["messages"][: 2 * turns_that_fit]
    limit = longest(tokenizer, shorter)
    expected = tokenize_conversation(tokenizer, shorter)
    assert tokenize_one(tokenizer, conversation, params(limit, "cut")) == (expected, "cut")
    assert cut(BatchTokenizer(tokenizer), conversation, limit) == (shorter, expected)


def test_every_reply_that_a_cut_leaves_keeps_its_stop_token(tokenizer):
    conversation = converse("a", 5)
    examples, _ = tokenize_one(tokenizer, conversation, params(longest(tokenizer, conversation["messages"][:6]) + 1, "cut"))
    stop = stop_token_id(tokenizer)
    assert sum(example.labels.count(stop) for example in examples) == 3
    assert all(example.labels[-1] == stop for example in examples)


def test_a_cut_takes_the_question_along_whose_reply_it_takes(chatml):
    messages = [*converse("a", 2)["messages"], {"role": "user", "content": "One more?"}]
    left, (example,) = cut(BatchTokenizer(chatml), converse("a", 2) | {"messages": messages}, longest(chatml, messages[:2]))
    assert left == messages[:2]
    assert example == tokenize_conversation(chatml, left)[0]


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_a_conversation_of_exactly_the_length_is_kept_whole_and_one_token_less_is_too_little(tokenizer, too_long):
    conversation = converse("a", 3)
    limit = longest(tokenizer, conversation["messages"])
    whole = tokenize_conversation(tokenizer, conversation["messages"])
    assert tokenize_one(tokenizer, conversation, params(limit, too_long)) == (whole, "kept")
    assert tokenize_one(tokenizer, conversation, params(limit - 1, too_long))[1] == {"drop": "too_long", "cut": "cut"}[too_long]


@pytest.mark.parametrize(("too_long", "turns", "words"), [("drop", 5, 5), ("cut", 1, 50), ("cut", 3, 50)])
def test_a_conversation_over_the_length_is_left_out_by_drop_or_where_its_first_turn_is_too_long(
    tokenizer, too_long, turns, words
):
    assert tokenize_one(tokenizer, converse("a", turns, words), params(60, too_long)) == ([], "too_long")


# Identical replies


def repeats_among(conversations: list[dict], most: int) -> set[str]:
    return find_repeats({row["id"]: reply_keys(row["messages"]) for row in conversations}, most)


@pytest.mark.parametrize(("most", "kept"), [(None, 10), (1, 1), (3, 3), (9, 9), (10, 10), (99, 10)])
def test_of_conversations_with_the_same_reply_so_many_are_kept(chatml, most, kept):
    conversations = [replying(f"row{n}", "Sorry, I do not know.") for n in range(10)] + [replying("other", "At nine.")]
    pairs, ledger = tokenize_split(chatml, conversations, "train", params(identical_replies=most))
    fates = Counter(row["fate"] for row in ledger)
    assert (fates["kept"], fates["identical_replies"]) == (kept + 1, 10 - kept)
    assert {row["id"] for row in ledger if row["fate"] == "kept"} == {id for id, _ in pairs}
    assert "other" in dict(pairs)


@pytest.mark.parametrize("other", ["SORRY, i do not know.", "Ｓｏｒｒｙ, I do not know.", " Sorry,\n\nI  do not know. "])
def test_replies_that_differ_in_case_width_and_white_space_are_the_same(other):
    rows = [replying("a", "Sorry, I do not know."), replying("b", other), replying("c", "Sorry, I do not know")]
    repeats = repeats_among(rows, 1)
    assert len(repeats) == 1
    assert repeats < {"a", "b"}


def test_replies_that_call_for_other_things_are_others_though_their_texts_are_the_same():
    def calling(*names):
        calls = [{"type": "function", "function": {"name": name, "arguments": "{}"}} for name in names]
        return [{"role": "assistant", "content": "One moment.", **({"tool_calls": calls} if calls else {})}]

    keys = [reply_keys(calling(*names)) for names in ([], ["find"], ["order"], ["find", "order"])]
    assert len(set(keys)) == 4
    assert reply_keys(calling("find")) == keys[1]


def test_a_conversation_with_one_reply_of_its_own_stays():
    rows = [replying(f"row{n}", "Yes.", f"Of {n}.", "No.") for n in range(5)] + [replying(f"short{n}", "Yes.") for n in range(5)]
    repeats = repeats_among(rows, 1)
    assert len(repeats) >= 4
    assert not repeats & {f"row{n}" for n in range(5)}


def test_a_reply_twice_in_one_conversation_counts_once():
    assert not repeats_among([replying("a", "Yes.", "Yes."), replying("b", "Yes.")], 2)
    assert len(repeats_among([replying(id, "Yes.", "Yes.") for id in "abc"], 2)) == 1


def test_the_same_question_is_no_repeat():
    rows = [replying("a", "Yes."), replying("b", "No.")]
    rows[1]["messages"][0] = rows[0]["messages"][0]
    assert not repeats_among(rows, 1)


REPLIES = st.lists(st.lists(st.sampled_from(["yes", "Yes", "no", "never", "It is fine."]), min_size=1, max_size=3), max_size=12)


@settings(deadline=None)
@given(replies=REPLIES, most=st.integers(1, 4), seed=st.integers(0, 99))
def test_which_are_repeats_does_not_depend_on_the_order_and_every_reply_stays_often_enough(replies, most, seed):
    rows = [replying(f"row{n}", *some) for n, some in enumerate(replies)]
    repeats = repeats_among(rows, most)
    assert repeats == repeats_among(random.Random(seed).sample(rows, len(rows)), most)

    def count(rows: list[dict]) -> Counter:
        return Counter(reply for row in rows for reply in {normalize(reply) for reply in replies_of(row)})

    before, after = count(rows), count([row for row in rows if row["id"] not in repeats])
    assert all(min(number, most) <= after[reply] for reply, number in before.items())
    same = Counter(frozenset(map(normalize, replies_of(row))) for row in rows if row["id"] not in repeats)
    assert all(number <= most for number in same.values())


def test_validation_keeps_identical_replies(chatml):
    rows = [replying(f"row{n}", "Yes.") for n in range(5)]
    fates = {
        split: {row["fate"] for row in tokenize_split(chatml, rows, split, params(identical_replies=1))[1]}
        for split in ("train", "validation")
    }
    assert fates == {"train": {"kept", "identical_replies"}, "validation": {"kept"}}


@pytest.mark.parametrize("too_long", ["drop", "cut"])
def test_replies_of_what_is_left_out_count_for_nothing(chatml, too_long):
    long = [replying(f"{'word ' * 300}{n}", "Yes.") for n in range(5)]
    pairs, ledger = tokenize_split(chatml, [*long, replying("short", "Yes.")], "train", params(200, too_long, 1))
    assert [row["fate"] for row in ledger] == ["too_long"] * 5 + ["kept"]
    assert [id for id, _ in pairs] == ["short"]


def test_replies_that_are_cut_off_count_for_nothing(tokenizer):
    """One that several begin with is a repeat in each, whatever they went on with; one that is cut off is learned elsewhere."""
    begin_alike = [replying(f"row{n}", "Yes.", f"{'word ' * 300}{n}") for n in range(5)]
    cut_off = [replying(f"long{n}", f"Of {n}.", f"{'word ' * 300}.") for n in range(5)]
    alone = replying("alone", f"{'word ' * 300}.")
    limit = longest(tokenizer, alone["messages"])
    pairs, ledger = tokenize_split(tokenizer, [*begin_alike, *cut_off, alone], "train", params(limit, "cut", 1))
    assert Counter(row["fate"] for row in ledger[:5]) == {"cut": 1, "identical_replies": 4}
    assert {row["fate"] for row in ledger[5:10]} == {"cut"}
    assert ledger[10]["fate"] == "kept"
    assert {id for id, _ in pairs} == {row["id"] for row in ledger if row["fate"] in ("cut", "kept")}


@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_a_limit_that_is_no_positive_number_is_an_error(tmp_path, value):
    write_params(tmp_path, {"tokenize": {"max_length": 50, "too_long": "drop", "identical_replies": value}})
    with pytest.raises(ReprotuneError, match=r"tokenize\.identical_replies: found"):
        read_params("tokenize", TokenizeParams, tmp_path / "params.yaml")


# The ledger


@pytest.mark.parametrize(("too_long", "fates"), [("drop", (8, 0, 4)), ("cut", (8, 3, 1))])
def test_the_ledger_has_a_row_for_each_conversation_in_order_and_adds_up(tokenizer, too_long, fates):
    conversations = [converse(f"short{n}", 1) for n in range(8)] + [converse(f"many{n}", 20) for n in range(3)]
    conversations += [converse("long", 1, 500), converse("spells", 1), replying("same0", "yes"), replying("same1", "Yes")]
    conversations[-3]["messages"][0]["content"] = "What is <|im_end|>?"
    pairs, ledger = tokenize_split(tokenizer, conversations, "train", params(200, too_long))
    again, with_limit = tokenize_split(tokenizer, conversations, "train", params(200, too_long, identical_replies=1))
    assert [row["id"] for row in ledger] == [row["id"] for row in with_limit] == [row["id"] for row in conversations]
    count, count_with_limit = (Counter(row["fate"] for row in rows) for rows in (ledger, with_limit))
    assert (count["kept"], count["cut"], count["too_long"], count["template_misfit"]) == (fates[0] + 2, *fates[1:], 1)
    assert count.total() == count_with_limit.total() == len(conversations)
    assert {row["split"] for row in ledger} == {"train"}
    for rows, examples in ((ledger, pairs), (with_limit, again)):
        for row in rows:
            own = [example for id, example in examples if id == row["id"]]
            assert row["examples"] == len(own)
            assert row["tokens"] == sum(len(example.input_ids) for example in own)
            assert row["labels"] == sum(label != IGNORE_INDEX for example in own for label in example.labels)
            assert (row["labels"] > 0) == (row["fate"] in ("kept", "cut"))
            assert (row["detail"] is not None) == (row["fate"] == "template_misfit")
        assert list(dict.fromkeys(id for id, _ in examples)) == [row["id"] for row in rows if row["examples"]]
    details = {row["id"]: row["detail"] for row in ledger if row["detail"]}
    assert details == {"spells": "messages[0] holds the special token <|im_end|>"}
    (repeat,) = [row["id"] for row in with_limit if row["fate"] == "identical_replies"]
    assert repeat in ("same0", "same1")


def test_each_conversation_has_the_examples_that_it_would_have_alone(tokenizer):
    conversations = make_conversations(30)
    pairs, _ = tokenize_split(tokenizer, conversations, "train", params())
    alone = [(row["id"], example) for row in conversations for example in tokenize_conversation(tokenizer, row["messages"])]
    assert list(pairs) == alone


class Row(dict):
    """A conversation that tells how many of its kind there are."""

    alive = 0

    def __init__(self, conversation: dict) -> None:
        super().__init__(conversation)
        Row.alive += 1

    def __del__(self) -> None:
        Row.alive -= 1


@pytest.mark.parametrize("too_long", ["drop", "cut"])
@pytest.mark.parametrize("limit", [30, 1000])
def test_conversations_are_held_for_a_while_only(chatml, monkeypatch, too_long, limit):
    for module in (batches, lengths):
        monkeypatch.setattr(module, "AT_ONCE", 5)
    rows = make_conversations(300)
    alive = []

    def one_by_one() -> Iterator[dict]:
        for row in rows:
            alive.append(Row.alive)
            yield Row(row)

    asked = params(limit, too_long, identical_replies=1)
    pairs, ledger = tokenize_split(chatml, one_by_one(), "train", asked)
    assert max(alive) <= 130  # itertools.tee lets go of 57 at a time
    whole_pairs, whole_ledger = tokenize_split(chatml, rows, "train", asked)
    assert (list(pairs), ledger) == (list(whole_pairs), whole_ledger)


# Examples as the model sees them


def pairs_of(tokenizer: Any, conversations: list[dict]) -> Examples:
    return tokenize_split(tokenizer, conversations, "train", params())[0]


def from_sources(**numbers: int) -> list[dict]:
    return [row | {"id": f"{source}/{row['id']}"} for source, number in numbers.items() for row in make_conversations(number)]


def test_what_is_rendered_joins_to_what_the_model_reads_and_says_what_is_labelled(tokenizer):
    conversations = [row for row in from_sources(a=60) if len(row["messages"]) > 2]
    messages_of = {row["id"]: row["messages"] for row in conversations}
    lead = "<think>\n\n</think>\n\n" if "think" in tokenizer.chat_template else ""
    pairs = pairs_of(tokenizer, conversations)
    first_of = dict(reversed(pairs))
    rows = render_some(tokenizer, pairs)
    assert len(rows) == 3
    for row in rows:
        example = first_of[row["id"]]
        assert "".join(piece["text"] for piece in row["pieces"]) == tokenizer.decode(example.input_ids)
        replies = [message["content"] for message in messages_of[row["id"]] if message["role"] == "assistant"]
        labelled = [piece["text"] for piece in row["pieces"] if piece["labelled"]]
        assert labelled == [f"{lead}{reply}<|im_end|>" for reply in (replies[:1] if lead else replies)]
        assert [piece["labelled"] for piece in row["pieces"]] == [False, True] * len(labelled)


def test_a_piece_keeps_the_space_that_it_begins_with(chatml):
    """Some tokenizers decode a text without its first space."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special_tokens = ["<unk>", "<|im_start|>", "<|im_end|>"]
    bpe.train_from_iterator([chatml.chat_template, "At nine?"], trainers.BpeTrainer(special_tokens=special_tokens))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' if m.role == 'assistant' }} {{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    ((_, example),) = pairs = pairs_of(tokenizer, [replying("At nine?", "At nine")])
    (row,) = render_some(tokenizer, pairs)
    assert [piece["text"] for piece in row["pieces"]] == ["At nine?<|im_end|><|im_start|>", " At nine<|im_end|>"]
    assert "".join(piece["text"] for piece in row["pieces"]) == tokenizer.decode(example.input_ids)


def test_of_each_source_the_same_few_are_rendered_whatever_the_order_and_whatever_other_sources_there_are(chatml):
    conversations = from_sources(b=20, a=2, c=5)
    pairs = pairs_of(chatml, conversations)
    rows = render_some(chatml, pairs)
    assert [row["id"].partition("/")[0] for row in rows] == ["a"] * 2 + ["b"] * 3 + ["c"] * 3
    assert render_some(chatml, Examples(random.Random(0).sample(pairs, len(pairs)))) == rows
    assert render_some(chatml, Examples(pair for pair in pairs if pair[0].startswith("b/"))) == rows[2:5]
    assert {row["id"] for row in rows[2:5]} != {"b/row0", "b/row1", "b/row10"}, "spread over the source, not its first ones"


def test_one_conversation_less_changes_one_rendered_row_at_most(chatml):
    pairs = pairs_of(chatml, from_sources(a=20))
    rendered = {row["id"] for row in render_some(chatml, pairs)}
    for gone in {id for id, _ in pairs}:
        left = {row["id"] for row in render_some(chatml, Examples(pair for pair in pairs if pair[0] != gone))}
        assert len(left & rendered) == (2 if gone in rendered else 3)


# The stage


@pytest.fixture
def _collecting() -> Iterator[None]:
    """The stage switches garbage collection off, in a process of its own; here others need it."""
    yield
    gc.enable()


@pytest.fixture
def folder(tmp_path: Path, tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch, _collecting: None) -> Path:
    """What the stage declares, nothing else; the working directory is there."""
    project_params = tiny_params()
    project_params["tokenize"] = {"max_length": 50, "too_long": "drop", "identical_replies": None}
    write_params(tmp_path, project_params)
    shutil.copytree(REPO / "requirements", tmp_path / "requirements")
    shutil.copytree(tiny_model_folder, tmp_path / "tiny_model")
    rows = make_conversations(40)
    write_jsonl(tmp_path / "data/split/train.jsonl", rows[:30])
    write_jsonl(tmp_path / "data/split/validation.jsonl", rows[30:])
    monkeypatch.chdir(tmp_path)
    base_model.main()
    return tmp_path


def change_base_model(folder: Path, **values: object) -> None:
    params = tiny_params()
    params["tokenize"] = {"max_length": 90, "too_long": "drop", "identical_replies": None}
    params["base_model"] |= values
    write_params(folder, params)
    base_model.main()


@pytest.mark.usefixtures("folder")
def test_the_stage_writes_what_its_ledger_says(capsys):
    tokenize.main()
    output = capsys.readouterr().out
    ledger = read_jsonl(tokenize.LEDGER)
    assert [row["id"] for row in ledger] == [f"row{n}" for n in range(40)]
    assert {row["fate"] for row in ledger} == {"kept", "too_long"}
    for split, lines in (("train", 30), ("validation", 10)):
        rows = [row for row in ledger if row["split"] == split]
        table = pq.read_table(examples_of(split)).to_pydict()
        assert len(rows) == lines
        assert table["id"] == [row["id"] for row in rows if row["fate"] == "kept"]
        assert [len(ids) for ids in table["input_ids"]] == [row["tokens"] for row in rows if row["fate"] == "kept"]
        assert f"tokenize {split}: {lines} conversations, {sum(row['tokens'] for row in rows):,} tokens" in output


def test_the_stage_renders_examples_of_train_alone(folder, chatml):
    for split in ("train", "validation"):
        rows = [row | {"id": f"{split}/{row['id']}"} for row in make_conversations(30)]
        write_jsonl(folder / f"data/split/{split}.jsonl", rows)
    tokenize.main()
    table = pq.read_table(examples_of("train")).to_pydict()
    rendered = read_jsonl(tokenize.RENDERED)
    assert len(rendered) == 3
    for row in rendered:
        ids = table["input_ids"][table["id"].index(row["id"])]
        assert "".join(piece["text"] for piece in row["pieces"]) == chatml.decode(ids)


def test_the_same_split_gives_the_same_bytes(folder):
    def run() -> dict[str, bytes]:
        tokenize.main()
        return {
            path.name: path.read_bytes() for path in [*(folder / "data").rglob("*.parquet"), tokenize.RENDERED, tokenize.LEDGER]
        }

    first = run()
    assert run() == first
    assert len(first) == 4


def test_a_system_message_that_the_template_refuses_stops_the_run_and_names_the_param(folder):
    template = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    change_base_model(folder, chat_template=template)
    rows = make_conversations(30)
    for row in rows[10:15]:
        row["messages"] = [{"role": "system", "content": "Be brief."}, *row["messages"]]
    write_jsonl(folder / "data/split/train.jsonl", rows)
    with pytest.raises(ReprotuneError) as refusal:
        tokenize.main()
    assert str(refusal.value) == (
        "data/split/train.jsonl: row10 is the first of 5 conversations with a system message, and the template refuses a system "
        "message: no system; base_model.system_messages: in_question puts it before the question that follows"
    )
    change_base_model(folder, chat_template=template, system_messages="in_question")
    tokenize.main()
    assert all(row["fate"] in ("kept", "too_long") for row in read_jsonl(tokenize.LEDGER))


def test_a_system_message_that_only_a_later_place_loses_is_left_out_and_counted(folder):
    change_base_model(
        folder, chat_template=CHATML.replace("message.content", "message.content if message.role != 'system' or loop.first")
    )
    rows = make_conversations(30)
    rows[3]["messages"] = [*rows[4]["messages"], {"role": "system", "content": "Be brief."}, *rows[3]["messages"]]
    write_jsonl(folder / "data/split/train.jsonl", rows)
    tokenize.main()
    (left_out,) = [row for row in read_jsonl(tokenize.LEDGER) if row["fate"] == "template_misfit"]
    assert left_out["id"] == "row3"
    assert "loses the system message; base_model.system_messages: in_question" in left_out["detail"]


def test_tokens_that_a_template_costs_which_renders_past_turns_otherwise_are_counted_and_told(folder, capsys):
    change_base_model(folder, chat_template=(TEMPLATES / "qwen3.jinja").read_text(encoding="utf-8"))
    tokenize.main()
    told = re.findall(r"([\d,]+) of them once more: the template renders a reply otherwise", capsys.readouterr().out)
    ledger = read_jsonl(tokenize.LEDGER)
    for split, number in zip(("train", "validation"), told, strict=True):
        table = pq.read_table(examples_of(split)).to_pydict()
        last = {id: len(ids) for id, ids in zip(table["id"], table["input_ids"], strict=True)}
        more = sum(len(ids) for ids in table["input_ids"]) - sum(last.values())
        assert 0 < more == sum(row.get("repeated", 0) for row in ledger if row["split"] == split)
        assert number == f"{more:,}"
    assert all(("repeated" in row) == (row["examples"] > 1) for row in ledger)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_split_of_which_nothing_is_left_is_an_error_that_says_why(folder, split):
    rows = [{"id": "a", "messages": [{"role": "user", "content": "<s>"}, {"role": "assistant", "content": "b"}]}]
    write_jsonl(folder / f"data/split/{split}.jsonl", rows)
    with pytest.raises(
        ReprotuneError, match=rf"data/split/{split}.jsonl: none of 1 .*a: messages\[0\] holds the special token <s>"
    ):
        tokenize.main()
