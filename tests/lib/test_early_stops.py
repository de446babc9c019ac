"""No reply is learned that goes on after a token which ends a generation: prediction would never see the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import CHATML
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import (
    FormMisfit,
    StopMisfit,
    TemplateMisfit,
    check_template,
    note_stops,
    stop_token_ids,
    tokenize_conversation,
    tokenize_prompt,
)
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, Tool
from stages.predict.classes import tokenize_labels
from stages.predict.questions import ask
from stages.tokenize.batches import BatchTokenizer

TOOLS: list[Tool] = [{"type": "function", "function": {"name": "find", "description": "Look.", "parameters": {"a": 1}}}]
MARKS = ["<|sep|>", "<|role|>", "<|header|>", "<|end|>", "<|eom|>", "<|final|>", "<|call|>", "<|result|>"]
SCHEMAS = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}<|sep|>"
ARGUMENTS = "{{ c.function.name }} {{ c.function.arguments | tojson }}"
CALLS = "{% for c in m.tool_calls or [] %}{CALL}{% endfor %}"


def template(assistant: str, prompt: str = "<|header|>assistant<|role|>") -> str:
    """Turns that `assistant` writes, of a message m, after a prompt; others end with <|sep|>."""
    return (
        SCHEMAS + "{% for m in messages %}{% if m.role == 'assistant' %}" + prompt + assistant
        + "{% else %}<|header|>{{ m.role }}<|role|>{{ m.content }}<|sep|>{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}" + prompt + "{% endif %}"
    )  # fmt: skip


SEPARATED = template("{{ m.content }}<|sep|>" + CALLS.replace("{CALL}", "calls<|role|>" + ARGUMENTS + "<|sep|>"))
TURNS = template(
    "{% if m.content or not m.tool_calls %}{{ m.content }}<|sep|>{{ '<|header|>assistant<|role|>' if m.tool_calls }}{% endif %}"
    "{% if m.tool_calls %}" + CALLS.replace("{CALL}", ARGUMENTS) + "<|sep|>{% endif %}"
)
ONE_BY_ONE = template(
    "{{ m.content }}{% if not m.tool_calls %}<|sep|>{% endif %}" + CALLS.replace("{CALL}", ARGUMENTS + "<|sep|>")
)
CALL_FIRST = template(
    CALLS.replace("{CALL}", ARGUMENTS + "<|sep|><|header|>assistant<|role|>") + "{{ m.content }}<|sep|>",
)
TOGETHER = template("{{ m.content }}" + CALLS.replace("{CALL}", ARGUMENTS) + "<|sep|>")
MORE_TO_COME = template("{{ m.content }}" + CALLS.replace("{CALL}", ARGUMENTS) + "{{ '<|eom|>' if m.tool_calls else '<|sep|>' }}")
CHANNELS = template(
    "{% if m.reasoning_content %}<|role|>aside<|final|>{{ m.reasoning_content }}<|end|><|header|>assistant{% endif %}"
    "{% if m.tool_calls %}<|role|>" + CALLS.replace("{CALL}", ARGUMENTS) + "<|call|>"
    "{% else %}<|role|>final<|final|>{{ m.content }}<|sep|>{% endif %}",
    prompt="<|header|>assistant",
)  # fmt: skip


def call(content: str = "", number: int = 1, **more: Any) -> Message:
    made: Any = {"type": "function", "function": {"name": "find", "arguments": '{"a": "tea"}'}}
    return {"role": "assistant", "content": content, "tool_calls": [{"id": f"call_{at}", **made} for at in range(number)], **more}


def exchange(called: Message) -> list[Message]:
    results: list[Message] = [
        {"role": "tool", "content": "shelf 2", "tool_call_id": one["id"]} for one in called["tool_calls"]
    ]  # fmt: skip
    return [ASKED, called, *results, {"role": "assistant", "content": "Shelf two."}]


ASKED: Message = {"role": "user", "content": "Find tea."}
PLAIN: list[Message] = [ASKED, {"role": "assistant", "content": "On shelf two."}]
THINKING: list[Message] = [ASKED, {"role": "assistant", "content": "On shelf two.", "reasoning_content": "Tea is there."}]


@pytest.fixture
def tokenizer(tiny_model_folder: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    tokenizer.eos_token = "<|sep|>"
    return tokenizer


def give(tokenizer: Any, text: str, stops: Sequence[str] = ()) -> Any:
    tokenizer.chat_template = text
    note_stops(tokenizer, tokenizer.convert_tokens_to_ids(list(stops)))
    return tokenizer


def learned(tokenizer: Any, messages: list[Message], tools: list[Tool] | None = None) -> list[str]:
    """Each reply as it is learned, which a generation would write whole."""
    runs: list[list[int]] = []
    for example in tokenize_conversation(tokenizer, messages, tools):
        for before, label in zip([IGNORE_INDEX, *example.labels], example.labels, strict=False):
            if label != IGNORE_INDEX:
                runs += [[]] if before == IGNORE_INDEX else []
                runs[-1].append(label)
    stops = stop_token_ids(tokenizer)
    assert all(stops.isdisjoint(run[:-1]) and run[-1] in stops for run in runs)
    return [tokenizer.decode(run) for run in runs]


REFUSED = {
    "content, stop, call": (SEPARATED, call("I look.")),
    "stop, call": (SEPARATED, call()),
    "content and call as turns": (TURNS, call("I look.")),
    "calls one by one": (ONE_BY_ONE, call(number=2)),
    "content after the call, as a turn": (CALL_FIRST, call("I look.")),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("tools", [TOOLS, None])
def test_a_call_that_a_stop_would_cut_off_is_refused_by_name(tokenizer: Any, name: str, tools: list[Tool] | None) -> None:
    text, called = REFUSED[name]
    with pytest.raises(StopMisfit, match=r"writes <\|sep\|>, which ends a generation, before the end of what calls") as misfit:
        tokenize_conversation(give(tokenizer, text), exchange(called), tools)
    assert misfit.value.keys == ["tool_calls"]


@pytest.mark.parametrize("text", [SEPARATED, TURNS, ONE_BY_ONE, CALL_FIRST])
def test_who_has_no_such_call_to_learn_is_not_refused(tokenizer: Any, text: str) -> None:
    check_template(give(tokenizer, text))
    assert learned(tokenizer, PLAIN) == learned(tokenizer, PLAIN, TOOLS) == ["On shelf two.<|sep|>"]
    context = exchange({**call("I look.", number=2), "weight": 0})
    assert learned(tokenizer, context, TOOLS) == ["Shelf two.<|sep|>"]


@pytest.mark.parametrize("text", [SEPARATED, TURNS, ONE_BY_ONE, CALL_FIRST])
def test_what_comes_after_such_a_call_is_asked_all_the_same(tokenizer: Any, text: str) -> None:
    asked = exchange(call("I look.", number=2))[:-1]
    prompt = tokenize_prompt(give(tokenizer, text), asked, TOOLS)
    assert ask(tokenizer, asked, TOOLS, longest=9, context=1000) == (prompt, 9)
    labels = tokenize_labels(tokenizer, asked, TOOLS, ["one", "two"])
    assert labels == {label: tokenizer(f"{label}<|sep|>")["input_ids"] for label in ("one", "two")}


@pytest.mark.parametrize(
    ("text", "called", "expected"),
    [
        (TURNS, call(), ["<|sep|>"]),
        (ONE_BY_ONE, call("I look. "), ["<|sep|>"]),
        (TOGETHER, call("I look. ", 2), ["<|sep|>"]),
        (MORE_TO_COME, call("I look. ", 2), ["<|eom|>"]),
        (CHANNELS, call(), ["<|call|>"]),
        (CHANNELS, call(reasoning_content="Hm."), ["<|call|>"]),
    ],
)
def test_a_call_that_ends_at_its_stop_is_learned_whole(tokenizer: Any, text: str, called: Message, expected: list[str]) -> None:
    first, last = learned(give(tokenizer, text, ["<|sep|>", "<|eom|>", "<|call|>"]), exchange(called), TOOLS)
    arguments = 'find {"a": "tea"}' * len(called["tool_calls"])
    assert first.endswith(arguments + expected[0])
    assert called["content"].strip() in first
    assert called.get("reasoning_content", "") in first
    assert last.endswith("Shelf two.<|sep|>")


def test_thoughts_in_a_channel_of_their_own_are_refused_where_its_end_is_a_stop_alone(tokenizer: Any) -> None:
    aside = "<|role|>aside<|final|>Tea is there.<|end|><|header|>assistant"
    final = "<|role|>final<|final|>On shelf two.<|sep|>"
    assert learned(give(tokenizer, CHANNELS, ["<|sep|>", "<|call|>"]), THINKING) == [aside + final]
    give(tokenizer, CHANNELS, ["<|sep|>", "<|call|>", "<|end|>"])
    assert learned(tokenizer, PLAIN) == [final]
    for text, stop in ((CHANNELS, "end"), (CHANNELS.replace("<|end|>", "<|sep|>"), "sep")):
        with pytest.raises(StopMisfit, match=rf"writes <\|{stop}\|>, .* between thoughts and reply, so") as misfit:
            tokenize_conversation(give(tokenizer, text, ["<|sep|>", "<|end|>"]), THINKING)
        assert misfit.value.keys == ["reasoning_content"]


@pytest.mark.parametrize(
    ("text", "called", "keys"),
    [
        (CHANNELS, call(reasoning_content="Hm."), ["reasoning_content"]),
        (CHANNELS.replace("<|end|>", "<|sep|>"), call(reasoning_content="Hm."), ["reasoning_content"]),
        (CHANNELS.replace("<|call|>", "<|end|><|call|>"), call(reasoning_content="Hm."), ["reasoning_content"]),
        (
            CHANNELS.replace("<|role|>{% for", "<|end|><|role|>{% for"),
            call(reasoning_content="Hm."),
            ["reasoning_content", "tool_calls"],
        ),
        (
            SEPARATED.replace("{{ m.content", "{{ m.reasoning_content }}{{ m.content"),
            call(reasoning_content="Hm."),
            ["tool_calls"],
        ),
    ],
)  # fmt: skip
def test_of_calls_with_thoughts_it_is_said_which_of_the_two_must_go(
    tokenizer: Any, text: str, called: Message, keys: list[str]
) -> None:
    with pytest.raises(StopMisfit) as misfit:
        tokenize_conversation(give(tokenizer, text, ["<|sep|>", "<|call|>", "<|end|>"]), exchange(called), TOOLS)
    assert misfit.value.keys == keys


@pytest.mark.parametrize("known", [True, False])
def test_a_stop_before_each_reply_is_known_from_the_template_alone(tokenizer: Any, known: bool) -> None:
    give(tokenizer, template("aside<|end|>{{ m.content }}<|sep|>"), ["<|sep|>", *["<|end|>"] * known])
    if known:
        with pytest.raises(
            ReprotuneError, match=r"<\|end\|>, which ends a generation, before the .* in base_model.chat_template"
        ):
            check_template(tokenizer)
    else:
        assert learned(tokenizer, PLAIN) == ["aside<|end|>On shelf two.<|sep|>"]


def test_a_text_that_holds_an_ordinary_token_which_is_a_stop_is_left_out_alone_and_among_others(tokenizer: Any) -> None:
    tokenizer.chat_template = CHATML
    tokenizer.eos_token = "<|im_end|>"
    (line_break,) = tokenizer("\n")["input_ids"]
    assert learned(tokenizer, [ASKED, {"role": "assistant", "content": "One.\nTwo."}]) == ["One.\nTwo.<|im_end|>"]
    note_stops(tokenizer, [line_break])
    odd: list[Message] = [{"role": "user", "content": "One.\nTwo?"}, {"role": "assistant", "content": "One.\nTwo."}]
    with pytest.raises(TemplateMisfit, match=r"the reply holds '\\n', .*generation_config.json") as misfit:
        tokenize_conversation(tokenizer, odd)
    assert not isinstance(misfit.value, FormMisfit)
    asked: list[Message] = [odd[0], PLAIN[1]]
    first, second, third = BatchTokenizer(tokenizer).tokenize([PLAIN, odd, asked])
    assert isinstance(second, TemplateMisfit)
    assert [first, third] == [tokenize_conversation(tokenizer, messages) for messages in (PLAIN, asked)]
