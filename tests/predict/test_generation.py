"""Replies do not depend on their batch, nor on what was answered before them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import make_conversations
from peft import LoraConfig, get_peft_model

from benchmarks.architectures.trial import make_model
from stages.lib.chat_template import tokenize_prompt
from stages.predict import generation
from stages.predict.padding import counts_padding, reads_padding
from stages.predict.questions import Question
from stages.predict.reply import Reply

pytestmark = pytest.mark.usefixtures("one_thread")


def generate_replies(
    model: Any, tokenizer: Any, prompts: list[list[int]], batch_size: int = 4, max_new_tokens: int = 8
) -> list[Reply]:
    questions = [Question(prompt, max_new_tokens) for prompt in prompts]
    return generation.generate_replies(model, tokenizer, questions, batch_size)


def assert_together_as_alone(model: Any, prompts: list[list[int]]) -> None:
    together: dict[int, Reply] = {}
    generation.generate(model, [Question(prompt, 8) for prompt in prompts], {2}, 0, 3, together.__setitem__)
    for position, prompt in enumerate(prompts):
        alone: dict[int, Reply] = {}
        generation.generate(model, [Question(prompt, 8)], {2}, 0, 1, alone.__setitem__)
        assert together[position] == alone[0]


@pytest.mark.parametrize(("kind", "reads"), [("recurrent_gemma", True), ("rwkv", True), ("mamba", False), ("llama", False)])
def test_a_model_that_reads_padding_replies_to_each_prompt_by_itself(kind: str, reads: bool) -> None:
    model, prompts = make_model(kind, "float32"), [list(range(3, 3 + length)) for length in (9, 4, 6)]
    assert reads_padding(model, prompts[0], 0) == reads
    assert_together_as_alone(model, prompts)


@pytest.fixture
def prompts(tokenizer: Any) -> list[list[int]]:
    """Ten prompts of many lengths, in no order of length."""
    prompts = [tokenize_prompt(tokenizer, row["messages"][:-1]) for row in make_conversations(10, seed=3)]
    assert len({len(prompt) for prompt in prompts}) >= 5
    assert prompts != sorted(prompts, key=len)
    return prompts


def move_the_stop(model: Any, tokenizer: Any, token: int) -> None:
    """Make the model say the stop token where it said `token`."""
    stop = tokenizer.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        model.lm_head.weight[[token, stop]] = model.lm_head.weight[[stop, token]]


@pytest.fixture(params=["ours", "transformers"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Replies by our own loop, and by transformers', which takes the models that ours does not know."""
    if request.param == "transformers":
        monkeypatch.setattr(generation, "row_wise_cache", lambda _model: None)
    return request.param


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("pad", ["<|im_end|>", "<|endoftext|>", None])
def test_replies_in_batches_are_the_replies_one_by_one_in_the_order_of_the_prompts(model, tokenizer, prompts, pad):
    tokenizer.pad_token = pad
    alone = [generate_replies(model, tokenizer, [prompt])[0] for prompt in prompts]
    assert len({tuple(reply.ids) for reply in alone}) > 5, "the prompts should have replies of their own"
    assert generate_replies(model, tokenizer, prompts) == alone


@pytest.mark.usefixtures("loop")
def test_a_reply_is_the_most_likely_token_after_each_prefix(model, tokenizer, prompts):
    for prompt, reply in zip(prompts[:3], generate_replies(model, tokenizer, prompts[:3]), strict=True):
        assert len(reply.ids) == 8
        for length in range(8):
            logits = model(torch.tensor([prompt + reply.ids[:length]])).logits[0, -1]
            assert reply.ids[length] == logits.argmax()


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("eos", ["<|im_end|>", "<|endoftext|>"])
def test_a_reply_stops_at_the_template_s_stop_token_and_leaves_it_out(model, tokenizer, prompts, eos):
    tokenizer.eos_token = eos  # a template may end replies with another token than the tokenizer's eos
    free = [reply.ids for reply in generate_replies(model, tokenizer, prompts)]
    assert all(len(ids) == 8 for ids in free)
    token = next(ids[3] for ids in free if ids.index(ids[3]) == 3)
    move_the_stop(model, tokenizer, token)
    replies = generate_replies(model, tokenizer, prompts)
    assert [reply.ids for reply in replies] == [ids[: ids.index(token)] if token in ids else ids for ids in free]
    assert [reply.stopped for reply in replies] == [token in ids for ids in free]
    assert 0 < sum(reply.stopped for reply in replies) < len(replies)


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize(
    "option", [{"repetition_penalty": 5.0}, {"no_repeat_ngram_size": 1}, {"num_beams": 2}, {"do_sample": True}], ids=str
)
def test_generation_options_that_come_with_a_model_change_no_greedy_reply(model, tokenizer, prompts, option, adapted):
    greedy = generate_replies(model, tokenizer, prompts, max_new_tokens=8)
    model.generation_config.update(**option)
    if adapted:
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"])).eval()
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=8) == greedy


def note_calls(model: Any, note: Callable[[dict[str, Any]], None]) -> None:
    """Each call of the model from now on that fills a cache: not the one that tries what padding changes."""
    model.register_forward_pre_hook(
        lambda _module, _args, given: note(given) if given.get("past_key_values") is not None else None, with_kwargs=True
    )


def count_rows(model: Any) -> list[int]:
    """Rows of each of these calls."""
    rows: list[int] = []
    note_calls(model, lambda given: rows.append(len(given["input_ids"])))
    return rows


def test_a_reply_that_has_ended_leaves_its_batch(model, tokenizer, prompts, monkeypatch):
    monkeypatch.setattr("stages.predict.rows.PADDING_READ", 10**9)
    free = [reply.ids for reply in generate_replies(model, tokenizer, prompts, batch_size=10)]
    move_the_stop(model, tokenizer, next(ids[3] for ids in free if ids.index(ids[3]) == 3))
    rows = count_rows(model)
    replies = generate_replies(model, tokenizer, prompts, batch_size=10)
    lengths = [len(reply.ids) + reply.stopped for reply in replies]
    assert rows == [1, *(sum(length > step for length in lengths) for step in range(max(lengths)))]  # 1: what all begin with
    assert rows[-1] < 10


def test_the_next_prompts_take_the_place_of_replies_that_have_ended(model, tokenizer, prompts):
    free = [reply.ids for reply in generate_replies(model, tokenizer, prompts)]
    move_the_stop(model, tokenizer, next(ids[3] for ids in free if ids.index(ids[3]) == 3))
    alone = [generate_replies(model, tokenizer, [prompt])[0] for prompt in prompts]
    rows = count_rows(model)
    assert generate_replies(model, tokenizer, prompts, batch_size=4) == alone
    tokens = sum(len(reply.tokens) for reply in alone)
    assert sum(rows) == 1 + tokens  # no row is computed for a reply that has ended, or not begun
    assert sum(number >= 3 for number in rows) > len(rows) / 2
    assert max(rows) <= 4


def test_prompts_of_other_lengths_are_read_apart(model, tokenizer, prompts):
    long = [prompt * 3 for prompt in prompts] + [prompt * 12 for prompt in prompts]
    alone = [generate_replies(model, tokenizer, [prompt])[0] for prompt in long]
    shapes: list[tuple[int, int]] = []
    note_calls(model, lambda given: shapes.append(tuple(given["input_ids"].shape)))
    assert generate_replies(model, tokenizer, long, batch_size=len(long)) == alone
    read = [(rows, width) for rows, width in shapes if width > 1]
    assert 2 < len(read) < 10
    assert sum(rows * width for rows, width in read) < 1.3 * sum(map(len, long)) < max(map(len, long)) * len(long)
    assert max(rows for rows, _ in shapes) == len(long)  # and then all together


@pytest.mark.parametrize(("kind", "counts"), [("mpt", True), ("bloom", False), ("llama", False)])
def test_a_model_that_counts_distances_over_padding_reads_each_prompt_whole(kind: str, counts: bool) -> None:
    model, common = make_model(kind, "float32"), [5, 9, 33, 71, 12, 44, 8]
    prompts = [common + list(range(3, 3 + length)) for length in (9, 1, 4)]
    assert counts_padding(model, common, prompts[0][7:], 0) == counts
    assert_together_as_alone(model, prompts)


@pytest.mark.parametrize("batch_size", [3, 10])
def test_what_all_prompts_begin_with_is_read_once(model, tokenizer, prompts, batch_size):
    system = tokenizer("You are a helpful assistant, and you know all about trains.", add_special_tokens=False)["input_ids"]
    long = [system + prompt for prompt in prompts] + [system, system[:-1]]  # one is the beginning of all others
    alone = [generate_replies(model, tokenizer, [prompt])[0] for prompt in long]
    read: list[int] = []
    note_calls(model, lambda given: read.append(given["input_ids"].numel()))
    assert generate_replies(model, tokenizer, long, batch_size=batch_size) == alone
    assert read[0] == len(system) - 2
    assert len({tuple(reply.ids) for reply in alone}) > 5


def test_columns_that_are_padding_in_all_rows_go(model, tokenizer, prompts):
    longest = max(map(len, prompts)) + 8
    widths: list[int] = []
    note_calls(model, lambda given: widths.append(given["attention_mask"].shape[1] if "attention_mask" in given else 0))
    generate_replies(model, tokenizer, sorted(prompts, key=len) * 4, batch_size=3)
    assert max(widths) <= longest


def test_each_reply_has_its_own_room(model, tokenizer, prompts, loop):
    whole = generate_replies(model, tokenizer, prompts)
    questions = [Question(prompt, 1 + at % 8) for at, prompt in enumerate(prompts)]
    replies = generation.generate_replies(model, tokenizer, questions, batch_size=4)
    assert loop
    assert [reply.ids for reply in replies] == [reply.ids[: 1 + at % 8] for at, reply in enumerate(whole)]


def test_scores_that_are_no_numbers_break_a_reply_off(model, tokenizer, prompts, loop):
    with torch.no_grad():
        model.lm_head.weight[7] = torch.nan
    assert loop
    assert all(reply.broken for reply in generate_replies(model, tokenizer, prompts))


def test_a_batch_ends_with_its_last_reply(model, tokenizer, prompts):
    (free,) = generate_replies(model, tokenizer, prompts[:1])
    move_the_stop(model, tokenizer, free.ids[2])
    rows = count_rows(model)
    generate_replies(model, tokenizer, prompts[:1], max_new_tokens=50)
    assert len(rows) == free.ids.index(free.ids[2]) + 1


def test_replies_are_those_of_transformers_for_many_kinds_of_models(model_of_kind, tokenizer, prompts, monkeypatch):
    kind, model = model_of_kind
    assert (generation.row_wise_cache(model) is None) == (kind == "mamba")
    found = generate_replies(model, tokenizer, prompts, max_new_tokens=16)
    assert len({tuple(reply.ids) for reply in found}) > 3
    monkeypatch.setattr(generation, "row_wise_cache", lambda _model: None)
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=16) == found
