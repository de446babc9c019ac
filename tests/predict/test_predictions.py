"""Replies do not depend on their batch, likelihoods are those of the whole logits, and what can't be scored is counted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO, make_conversations
from peft import LoraConfig, get_peft_model
from torch.nn import functional
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stages.lib.chat_template import tokenize_conversation, tokenize_prompt
from stages.lib.records.tokenized import IGNORE_INDEX
from stages.predict import generation
from stages.predict.predictions import SCHEMA, PredictParams, predict, score_example

pytestmark = pytest.mark.usefixtures("one_thread")

TEMPLATES = REPO / "tests/templates"


def predict_params(**changes: Any) -> PredictParams:
    return PredictParams(**{"precision": "float32", "batch_size": 4, "max_new_tokens": 8} | changes)


def generate_replies(model: Any, tokenizer: Any, prompts: list[list[int]], **changes: Any) -> list[generation.Reply]:
    params = predict_params(**changes)
    return generation.generate_replies(model, tokenizer, prompts, params.batch_size, params.max_new_tokens, "base")


@pytest.fixture
def tokenizer(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


@pytest.fixture
def prompts(tokenizer: Any) -> list[list[int]]:
    """Ten prompts of many lengths, in no order of length."""
    prompts = [tokenize_prompt(tokenizer, row["messages"][:-1]) for row in make_conversations(10, seed=3)]
    assert len({len(prompt) for prompt in prompts}) >= 5
    assert prompts != sorted(prompts, key=len)
    return prompts


@pytest.fixture
def conversations() -> list[dict]:
    return make_conversations(9, seed=5)


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


def count_rows(model: Any) -> list[int]:
    """Rows of each call of the model from now on."""
    rows: list[int] = []
    model.register_forward_pre_hook(lambda _module, _args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True)
    return rows


def test_a_reply_that_has_ended_leaves_its_batch(model, tokenizer, prompts):
    free = [reply.ids for reply in generate_replies(model, tokenizer, prompts, batch_size=10)]
    move_the_stop(model, tokenizer, next(ids[3] for ids in free if ids.index(ids[3]) == 3))
    rows = count_rows(model)
    replies = generate_replies(model, tokenizer, prompts, batch_size=10)
    lengths = [len(reply.ids) + reply.stopped for reply in replies]
    assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]
    assert rows[-1] < 10


def test_a_batch_ends_with_its_last_reply(model, tokenizer, prompts):
    (free,) = generate_replies(model, tokenizer, prompts[:1])
    move_the_stop(model, tokenizer, free.ids[2])
    rows = count_rows(model)
    generate_replies(model, tokenizer, prompts[:1], max_new_tokens=50)
    assert len(rows) == free.ids.index(free.ids[2]) + 1


SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512, "pad_token_id": 0}
CONFIGS = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512},
    "mistral": SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "sliding_window": 24},
    "qwen3": SIZES | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8},
    "gemma2": SIZES
    | {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 24, "tie_word_embeddings": False},
    "gpt_neox": SIZES | {"intermediate_size": 64},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "pad_token_id": 0},
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_replies_are_those_of_transformers_for_many_kinds_of_models(kind, tokenizer, prompts, monkeypatch):
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **CONFIGS[kind])
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    assert (generation.row_wise_cache(model) is None) == (kind == "mamba")
    found = generate_replies(model, tokenizer, prompts, max_new_tokens=16)
    assert len({tuple(reply.ids) for reply in found}) > 3
    monkeypatch.setattr(generation, "row_wise_cache", lambda _model: None)
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=16) == found


@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_likelihoods_are_those_of_the_whole_logits(model, tokenizer, conversations, template):
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text(encoding="utf-8")
    rows = predict(model, tokenizer, conversations, predict_params(), "base")
    for row, conversation in zip(rows, conversations, strict=True):
        nll, number = 0.0, 0
        for ids, labels in tokenize_conversation(tokenizer, conversation["messages"]):
            logits = model(torch.tensor([ids])).logits[0]
            nll += functional.cross_entropy(
                logits[:-1], torch.tensor(labels[1:]), ignore_index=IGNORE_INDEX, reduction="sum"
            ).item()
            number += sum(label != IGNORE_INDEX for label in labels)
        assert row["nll"] == pytest.approx(nll, rel=1e-5)
        assert row["labels"] == number


def test_a_likelihood_has_one_value_a_label(model, tokenizer, conversations):
    (example,) = tokenize_conversation(tokenizer, conversations[0]["messages"])
    nll = score_example(model, example)
    assert nll.shape == (sum(label != IGNORE_INDEX for label in example.labels),)
    assert (nll > 0).all()


def test_each_conversation_has_its_row_in_order_with_the_reply_to_all_but_its_last_message(model, tokenizer, conversations):
    rows = predict(model, tokenizer, conversations, predict_params(), "base")
    assert [row["id"] for row in rows] == [conversation["id"] for conversation in conversations]
    for row, conversation in zip(rows, conversations, strict=True):
        assert list(row) == SCHEMA.names
        prompt = tokenize_prompt(tokenizer, conversation["messages"][:-1])
        (reply,) = generate_replies(model, tokenizer, [prompt])
        text = tokenizer.decode(reply.ids, skip_special_tokens=True).strip()
        assert (row["reply"], row["reply_tokens"], row["stopped"]) == (text, len(reply.ids), reply.stopped)
        assert row["unscored"] is None


def test_what_is_too_long_or_misfits_is_counted_and_the_others_are_as_without_it(model, tokenizer, conversations):
    long = {"id": "long", "messages": [{"role": "user", "content": "a" * 600}, {"role": "assistant", "content": "b"}]}
    spells = {"id": "spells", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "<|im_end|>"}]}
    expected = predict(model, tokenizer, conversations, predict_params(), "base")
    rows = predict(model, tokenizer, [long, *conversations[:4], spells, *conversations[4:]], predict_params(), "base")
    nothing = dict.fromkeys(SCHEMA.names)
    assert rows.pop(5) == nothing | {"id": "spells", "unscored": "messages[1] holds the special token <|im_end|>"}
    assert rows.pop(0) == nothing | {"id": "long", "unscored": "longer than the model's context of 512 tokens"}
    assert rows == expected


def test_the_reference_is_the_last_reply_to_learn_and_a_reply_of_weight_0_is_none(model, tokenizer):
    off = {"role": "assistant", "content": "Nowhere.", "weight": 0}
    asked, more = {"role": "user", "content": "Where?"}, {"role": "user", "content": "Sure?"}
    good = {"role": "assistant", "content": "On shelf two."}
    rows = [{"id": "a", "messages": [asked, good, more, off]}, {"id": "b", "messages": [asked, off]}]
    marked, none = predict(model, tokenizer, rows, predict_params(), "base")
    (plain,) = predict(model, tokenizer, [{"id": "a", "messages": [asked, good]}], predict_params(), "base")
    assert marked == plain
    assert none["unscored"] == "all of its replies have weight 0, so that there is none to compare with"
    assert (none["nll"], none["reply"]) == (None, None)


@pytest.mark.parametrize(("content", "counted"), [("b", "prompt"), ("b" * 50, "example")], ids=["prompt", "example"])
def test_the_context_must_hold_the_references_and_the_longest_reply(model, tokenizer, content, counted):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": content}]
    (example,) = tokenize_conversation(tokenizer, messages)
    needed = {"prompt": len(tokenize_prompt(tokenizer, messages[:1])) + 8, "example": len(example.input_ids)}
    assert needed[counted] == max(needed.values())
    for context, unscored in ((needed[counted], 0), (needed[counted] - 1, 1)):
        model.config.max_position_embeddings = context
        rows = predict(model, tokenizer, [{"id": "a", "messages": messages}], predict_params(), "base")
        assert sum(row["unscored"] is not None for row in rows) == unscored


def test_a_template_that_fits_nothing_leaves_every_conversation_unscored(model, tokenizer, conversations):
    tokenizer.chat_template = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    rows = predict(model, tokenizer, conversations, predict_params(), "base")
    assert all("writes no generation prompt" in row["unscored"] for row in rows)
