"""Each message to learn has its row; likelihoods and replies are apart, so that one failing does not take the other."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO, make_conversations
from torch.nn import functional

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import tokenize_conversation, tokenize_prompt, what_is_said
from stages.lib.core.errors import describe_os_error
from stages.lib.general_prompts import RetentionPrompt
from stages.lib.records.conversation import trained_positions
from stages.lib.records.predictions import SCHEMA
from stages.predict import likelihood
from stages.predict.generation import generate_replies
from stages.predict.journal import Journal, open_journal
from stages.predict.questions import Question, choose_turns

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPLATES = REPO / "tests/templates"
ASKED = {"role": "user", "content": "Where?"}
GOOD = {"role": "assistant", "content": "On shelf two."}


def conversation(*messages: dict, id: str = "a") -> dict:
    return {"id": id, "label": None, "language": "en", "group": None, "messages": list(messages)}


@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_likelihoods_are_those_of_the_whole_logits_turn_by_turn(model, tokenizer, conversations, predict, monkeypatch, template):
    monkeypatch.setattr(tokenizer, "chat_template", (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8"))
    rows = predict(conversations)
    for one in conversations:
        whole = tokenize_conversation(tokenizer, one["messages"])
        total = sum(label != IGNORE_INDEX for example in whole for label in example.labels)
        assert sum(row["labels"] for row in rows if row["id"] == one["id"]) == total
        for turn in trained_positions(one["messages"]):
            *_, (ids, labels) = tokenize_conversation(tokenizer, one["messages"][: turn + 1])
            start = len(labels) - labels[::-1].index(IGNORE_INDEX)
            logits = model(torch.tensor([ids])).logits[0, start - 1 : -1]
            reply = torch.tensor(ids[start:])
            [row] = [row for row in rows if (row["id"], row["turn"]) == (one["id"], turn)]
            assert row["nll"] == pytest.approx(functional.cross_entropy(logits, reply, reduction="sum").item(), rel=1e-5)
            assert row["labels"] == len(reply)
            same = (logits.argmax(-1) == reply).tolist()
            assert row["verbatim"] == [*same, False].index(False)


def test_labels_of_replies_that_adjoin_are_told_apart(tokenizer, monkeypatch):
    template = (
        "{% for message in messages %}{{ message.content }}{% if message.role == 'assistant' %}<|im_end|>{% endif %}{% endfor %}"
    )
    monkeypatch.setattr(tokenizer, "chat_template", template)
    messages = [ASKED, GOOD, {"role": "assistant", "content": "Or not."}]
    examples = tokenize_conversation(tokenizer, messages)
    first, second = (len(tokenizer(text)["input_ids"]) + 1 for text in ("On shelf two.", "Or not."))
    assert likelihood.count_labels(tokenizer, messages, None, examples) == [first, second]


def test_verbatim_counts_the_first_tokens_that_greedy_decoding_gives(model, tokenizer):
    prompt = tokenize_prompt(tokenizer, [ASKED])
    [reply] = generate_replies(model, tokenizer, [Question(prompt, 6)], 1)
    assert likelihood.score_continuation(model, prompt, reply.tokens).verbatim == 6
    other = [*reply.tokens[:3], reply.tokens[3] - 1, *reply.tokens[4:]]
    assert likelihood.score_continuation(model, prompt, other).verbatim == 3


def test_each_message_to_learn_has_its_row_in_order_and_each_chosen_turn_its_reply(model, tokenizer, conversations, predict):
    rows = predict(conversations)
    turns = [(one["id"], turn) for one in conversations for turn in trained_positions(one["messages"])]
    assert [(row["id"], row["turn"]) for row in rows] == turns
    messages_of = {one["id"]: one["messages"] for one in conversations}
    for row in rows:
        assert list(row) == SCHEMA.names
        [reply] = generate_replies(
            model, tokenizer, [Question(tokenize_prompt(tokenizer, messages_of[row["id"]][: row["turn"]]), 8)], 1
        )
        text = what_is_said(tokenizer, reply.ids).text
        assert (row["reply"], row["reply_tokens"], row["stopped"]) == (text, len(reply.ids), reply.stopped)
        assert (row["unscored"], row["unanswered"], row["room"]) == (None, None, 8)


def test_of_many_turns_some_are_replied_to_and_all_are_scored(predict):
    long = conversation(*[ASKED, GOOD] * 6)
    rows = predict([long])
    assert [row["turn"] for row in rows] == [1, 3, 5, 7, 9, 11]
    assert all(row["nll"] for row in rows)
    replied = [row["turn"] for row in rows if row["reply"] is not None]
    assert replied == choose_turns(long, 3, seed=0)
    assert len(replied) == 3


def test_the_turns_are_chosen_by_the_seed_and_the_id_alone_and_all_alike():
    rows = [conversation(*[ASKED, GOOD] * 4, id=str(number)) for number in range(400)]
    chosen = [tuple(choose_turns(row, 1, seed=0)) for row in rows]
    assert chosen == [tuple(choose_turns(row, 1, seed=0)) for row in rows]
    assert chosen != [tuple(choose_turns(row, 1, seed=1)) for row in rows]
    assert all(70 < chosen.count((turn,)) < 130 for turn in (1, 3, 5, 7))
    assert choose_turns(rows[0], 9, seed=0) == [1, 3, 5, 7]


# --- What fails takes nothing with it -----------------------------------------------------------------------------------


def test_what_has_no_room_or_misfits_is_told_and_the_others_are_as_without_it(conversations, predict):
    long = conversation({"role": "user", "content": "a" * 600}, GOOD, id="long")
    spells = conversation({"role": "user", "content": "<|im_start|>"}, GOOD, id="spells")
    expected = predict(conversations)
    rows = predict([long, *conversations[:4], spells, *conversations[4:]], name="more")
    found = {row["id"]: row for row in rows if row["id"] in ("long", "spells")}
    assert [row for row in rows if row["id"] not in found] == expected
    assert found["long"]["unscored"] == "longer than the model's context of 512 tokens"
    assert "leaves a reply no room in the model's context of 512" in found["long"]["unanswered"]
    for reason in ("unscored", "unanswered"):
        assert found["spells"][reason] == "messages[0] holds the special token <|im_start|>"


def test_a_reference_that_cannot_be_scored_takes_no_reply_with_it(predict):
    for content, reason in (("<|im_end|>", "special token"), ("b" * 600, "context of 512")):
        [row] = predict([conversation(ASKED, {"role": "assistant", "content": content}, id=content)])
        assert reason in row["unscored"]
        assert (row["nll"], row["labels"], row["verbatim"]) == (None, None, None)
        assert row["reply"] is not None
        assert row["unanswered"] is None


def test_a_prompt_that_leaves_less_room_than_the_longest_reply_keeps_its_likelihood(model, tokenizer, predict):
    one = conversation(ASKED, {"role": "assistant", "content": "b"})
    length = len(tokenize_prompt(tokenizer, [ASKED]))
    for context, room in ((length + 8, 8), (length + 3, 3)):
        model.config.max_position_embeddings = context
        [row] = predict([one], name=str(context))
        assert row["nll"] is not None
        assert (row["room"], row["reply_tokens"], row["stopped"], row["unanswered"]) == (room, room, False, None)
    model.config.max_position_embeddings = length
    [row] = predict([one], name="full")
    assert (row["reply"], row["room"]) == (None, None)
    assert row["unanswered"] == f"its prompt of {length} tokens leaves a reply no room in the model's context of {length}"


def test_a_conversation_without_a_message_to_learn_says_so(predict):
    off = {"role": "assistant", "content": "Nowhere.", "weight": 0}
    marked, none = predict([conversation(ASKED, GOOD, ASKED, off), conversation(ASKED, off, id="b")])
    [plain] = predict([conversation(ASKED, GOOD)], name="plain")
    assert marked == plain
    assert (none["turn"], none["nll"], none["reply"], none["unanswered"]) == (-1, None, None, None)
    assert none["unscored"] == "all of its replies have weight 0, so that there is none to compare with"


def test_a_template_that_fits_nothing_leaves_a_reason_everywhere(tokenizer, conversations, predict, monkeypatch):
    template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    monkeypatch.setattr(tokenizer, "chat_template", template)
    for row in predict(conversations):
        assert "writes no generation prompt" in row["unscored"]
        assert "writes no generation prompt" in row["unanswered"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_a_reason_and_no_number(model, conversations, predict, value):
    with torch.no_grad():
        model.lm_head.weight[7] = value
    for row in predict(conversations[:2]):
        assert (row["nll"], row["labels"], row["reply"]) == (None, None, None)
        assert "float32" in row["unscored"]
        assert "float32" in row["unanswered"]


def test_a_special_token_within_a_reply_stays_in_its_text(model, tokenizer, predict):
    one = conversation(ASKED, GOOD)
    [plain] = predict([one])
    [reply] = generate_replies(model, tokenizer, [Question(tokenize_prompt(tokenizer, [ASKED]), 8)], 1)
    said, special = reply.ids[2], tokenizer.convert_tokens_to_ids("[INST]")
    with torch.no_grad():
        model.lm_head.weight[[said, special]] = model.lm_head.weight[[special, said]]
    [row] = predict([one], name="swapped")
    assert "[INST]" in row["reply"]
    assert "[INST]" not in plain["reply"]


# --- General prompts ----------------------------------------------------------------------------------------------------

PROMPTS = [RetentionPrompt(id=f"en/{name}", language="en", prompt=f"What is {name}?") for name in ("rain", "bread", "a robot")]


def test_general_prompts_are_replied_to_and_base_s_replies_scored(model, tokenizer, predict):
    base = predict([], retention=PROMPTS)
    assert [(row["set"], row["id"]) for row in base] == [("retention", prompt.id) for prompt in PROMPTS]
    replies = {row["id"]: row["reply_ids"] for row in base}
    for row, prompt in zip(base, PROMPTS, strict=True):
        assert row["verbatim"] == row["labels"] == len(row["reply_ids"])  # greedy, so each token is the most likely one
        score = likelihood.score_continuation(model, tokenize_prompt(tokenizer, prompt.messages), row["reply_ids"])
        assert row["nll"] == pytest.approx(score.nll)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.5)
        model.model.layers[0].mlp.up_proj.weight.mul_(0.2)
    tuned = predict([], name="tuned", retention=PROMPTS, base_replies=replies)
    for row, other, prompt in zip(tuned, base, PROMPTS, strict=True):
        score = likelihood.score_continuation(model, tokenize_prompt(tokenizer, prompt.messages), other["reply_ids"])
        assert row["nll"] == pytest.approx(score.nll)
        assert row["labels"] == other["labels"]
        assert row["nll"] != other["nll"]
    missing = predict([], name="missing", retention=PROMPTS, base_replies={PROMPTS[1].id: replies[PROMPTS[1].id]})
    assert [row["unscored"] is None for row in missing] == [False, True, False]


def test_a_general_prompt_that_misfits_is_told(predict):
    [row] = predict([], retention=[RetentionPrompt(id="a", language="en", prompt="<|im_start|>")])
    assert row["unscored"] == row["unanswered"] == "messages[0] holds the special token <|im_start|>"


# --- After a kill -------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    pass


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let a run end after so many results, in the middle of the next one."""
    put = Journal.put

    def stop_after(results: int) -> None:
        def put_some(journal: Journal, key: str, value: Any) -> None:
            nonlocal results
            if results == 0:
                journal.file.write(b'["reply te')
                raise Killed
            results -= 1
            put(journal, key, value)

        monkeypatch.setattr(Journal, "put", put_some)

    return stop_after


@pytest.mark.parametrize("results", [3, 14, 25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_killed_run_goes_on_with_what_it_had_not_done(model, predict, monkeypatch, stop_after, results, dtype):
    model.to(dtype)
    test = make_conversations(16, seed=6)
    params = {"batch_size": 2}  # in bfloat16 segments of 8 replies
    expected = predict(test, name="whole", retention=PROMPTS, params=params)
    wanted = sum(row["reply"] is not None for row in expected)
    assert wanted > 16
    stop_after(results)
    with pytest.raises(Killed):
        predict(test, name="killed", retention=PROMPTS, params=params)
    monkeypatch.undo()
    asked = []
    generate = generate_replies
    monkeypatch.setattr("stages.predict.work.generate_replies", lambda *given: asked.extend(given[2]) or generate(*given))
    assert predict(test, name="killed", retention=PROMPTS, params=params) == expected
    done = max(0, results - len(test))
    assert len(asked) == wanted - (done if dtype is torch.float32 else done // 8 * 8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_results_are_the_same_however_many_processes_share_the_work_before_a_kill_and_after(
    model, predict, stop_after, monkeypatch, dtype
):
    model.to(dtype)
    given = {"retention": PROMPTS, "params": {"batch_size": 2}}
    test, generate, segments = make_conversations(9, seed=6), generate_replies, {1: [], 3: []}

    def note_segments(processes: int) -> None:
        def generate_noted(*all_given: Any) -> Any:
            segments[processes].append(all_given[2])
            return generate(*all_given)

        monkeypatch.setattr("stages.predict.work.generate_replies", generate_noted)

    note_segments(1)
    expected = predict(test, **given)
    note_segments(3)
    assert predict(test, name="shared", processes=3, **given) == expected
    if dtype is torch.bfloat16:  # where neighbours matter
        assert segments[3] == segments[1][::-1]
        assert len(segments[1]) == 2
    else:
        assert [len(segments[number]) for number in (1, 3)] == [1, 3]
    stop_after(15)
    with pytest.raises(Killed):
        predict(test, name="killed", processes=3, **given)
    monkeypatch.undo()
    assert predict(test, name="killed", processes=2, **given) == expected


def test_a_full_disk_is_told_with_the_journal_s_name_and_what_was_done_is_used(predict, monkeypatch, tmp_path):
    test = make_conversations(8, seed=6)
    expected = predict(test, name="whole")
    put = Journal.put

    def put_five(journal: Journal, key: str, value: Any) -> None:
        if len(journal.done) == 5:
            journal.file.write(b'["reply te')  # what there was room for
            journal.file = Path("/dev/full").open("ab", buffering=0)  # noqa: SIM115
        put(journal, key, value)

    monkeypatch.setattr(Journal, "put", put_five)
    with pytest.raises(OSError, match="No space left") as caught:
        predict(test, name="full")
    assert describe_os_error(caught.value).startswith(f"{tmp_path}/full/done.jsonl: no space left; free some and run it again")
    monkeypatch.undo()
    with open_journal(tmp_path / "full") as journal:
        assert len(journal.done) == 5
    assert predict(test, name="full") == expected
