"""Templates that write what is past otherwise than what comes last: the prompt stays, the reply follows its header."""

from typing import Any

import pytest
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import TemplateMisfit, check_template, tokenize_conversation, tokenize_prompt
from stages.lib.chat_template.continuation import continue_prompt
from stages.lib.records.conversation import Message, Tool
from stages.tokenize.batches import BatchTokenizer

TOOLS: list[Tool] = [{"type": "function", "function": {"name": "find", "description": "Look.", "parameters": {"a": 1}}}]
ASKED: Message = {"role": "user", "content": "Tea?"}
REPLY: Message = {"role": "assistant", "content": "Shelf two."}
CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "find", "arguments": '{"a": "tea"}'}}],
}
RESULT: Message = {"role": "tool", "content": '{"shelf": "2"}', "name": "find"}
TWICE: list[Message] = [ASKED, REPLY, ASKED, {"role": "assistant", "content": "Tea? Again?"}]
EXCHANGE: list[Message] = [ASKED, CALL, RESULT, REPLY]

HEADER = "<|im_start|>assistant\n"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
PROMPT = "{% if add_generation_prompt %}" + HEADER + "{% endif %}"


def template(turn: str, prompt: str = PROMPT, schemas: str = "{% if tools %}{{ tools | tojson }}{% endif %}") -> str:
    return schemas + "{% for m in messages %}" + turn + "{% endfor %}" + prompt


CALLS = "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}"
WITH_CALLS = TURN.replace("<|im_end|>", CALLS + "<|im_end|>")
ANOTHER_BREAK = template(TURN, PROMPT.replace("assistant\n", "assistant\n\n"))
NO_BREAK = template(TURN, PROMPT.replace("assistant\n", "assistant"))
TRAILING_TEXT = template("\n    " + TURN, "\n  " + PROMPT + "\n")
RESULT_CLOSED_LAST = template(
    "{% if m.role == 'tool' %}<|im_start|>tool\n{{ m.content }}{{ '\n' if not loop.last }}<|im_end|>{% else %}"
    + WITH_CALLS + "{% endif %}"
)  # fmt: skip
RESULT_AS_JSON = template(
    "{% set past = loop.length - loop.index > 1 %}" + WITH_CALLS.replace(
        "{{ m.content }}", "{{ '<early>' if past else '<late>' }}{{ m.content | tojson if m.role == 'tool' else m.content }}"
    )
).replace("'<late>'", "'<late>' if m.role != 'assistant'")  # fmt: skip
SCHEMAS_IN_LAST_QUESTION = template(
    "{% if loop.last and m.role == 'user' %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>{% endif %}" + WITH_CALLS,
    schemas="{% if messages[-1].role != 'user' %}{{ tools | tojson }}{% endif %}",
)


@pytest.fixture
def chatml(tiny_model_folder) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def learned(tokenizer: Any, text: str, messages: list[Message], tools: list[Tool] | None = None) -> list[str]:
    """Each reply as it is learned, after the very tokens with which it is asked for, alone and among others."""
    tokenizer.chat_template = text
    check_template(tokenizer)
    examples = tokenize_conversation(tokenizer, messages, tools)
    assert list(BatchTokenizer(tokenizer).tokenize([messages], [tools])) == [examples]
    places = iter(at for at, message in enumerate(messages) if message["role"] == "assistant")
    replies = []
    for ids, labels in examples:
        assert all(label in (id, IGNORE_INDEX) for id, label in zip(ids, labels, strict=True))
        for start in (at for at in range(1, len(ids)) if labels[at] != IGNORE_INDEX and labels[at - 1] == IGNORE_INDEX):
            end = next((at for at in range(start, len(ids)) if labels[at] == IGNORE_INDEX), len(ids))
            assert ids[:start] == tokenize_prompt(tokenizer, messages[: next(places)], tools)
            replies.append(tokenizer.decode(ids[start:end]))
    assert not list(places)
    return replies


@pytest.mark.parametrize("text", [ANOTHER_BREAK, NO_BREAK, TRAILING_TEXT], ids=["more space", "less space", "indented"])
def test_a_prompt_in_another_spacing_is_what_the_reply_follows(chatml, text):
    space = "\n" if text == NO_BREAK else ""
    assert learned(chatml, text, TWICE) == [f"{space}Shelf two.<|im_end|>", f"{space}Tea? Again?<|im_end|>"]


PLAIN_HEADERS = (
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}{{ eos_token if m.role == 'assistant' }}\n\n{% endfor %}"
)


def test_headers_that_are_plain_text_are_found_too(chatml):
    text = PLAIN_HEADERS + "{% if add_generation_prompt %}### assistant:\n\n{% endif %}"
    talk: list[Message] = [*TWICE, {"role": "user", "content": "Milk?"}, {"role": "assistant", "content": "Next to it."}]
    assert learned(chatml, text, talk) == ["Shelf two.<|im_end|>", "Tea? Again?<|im_end|>", "Next to it.<|im_end|>"]


@pytest.mark.parametrize("asked", ["t", "n", "assistant", "im_end", "|", "assistant\n", "."])
def test_a_question_that_a_header_spells_too_is_told_from_it(chatml, asked):
    talk: list[Message] = [{"role": "user", "content": asked}, {"role": "assistant", "content": "No tent is an assistant."}]
    assert learned(chatml, ANOTHER_BREAK, talk) == ["No tent is an assistant.<|im_end|>"]
    assert learned(chatml, ANOTHER_BREAK, [*talk, *talk]) == ["No tent is an assistant.<|im_end|>"] * 2


@pytest.mark.parametrize("text", [RESULT_CLOSED_LAST, RESULT_AS_JSON], ids=["closed otherwise", "as JSON, marked otherwise"])
def test_a_result_that_is_written_otherwise_once_it_is_past_stands_in_the_prompt_as_it_is_asked(chatml, text):
    call, reply = learned(chatml, text, EXCHANGE, TOOLS)
    assert call == '{"name": "find", "arguments": {"a": "tea"}}<|im_end|>'
    assert reply == "Shelf two.<|im_end|>"


def test_schemas_that_move_to_the_last_question_are_in_each_prompt(chatml):
    assert learned(chatml, SCHEMAS_IN_LAST_QUESTION, TWICE, TOOLS) == ["Shelf two.<|im_end|>", "Tea? Again?<|im_end|>"]


@pytest.mark.parametrize("opens", ["", "<think>"])
def test_thoughts_that_go_once_a_reply_follows_are_in_the_prompt_of_a_call_alone(chatml, opens):
    """gpt-oss: what led to a call is there until the reply is."""
    shown = "m.reasoning_content and (loop.last or messages[-1].role == 'tool')"
    text = template(
        WITH_CALLS.replace(
            "{{ m.content }}", f"{{% if {shown} %}}<think>{{{{ m.reasoning_content }}}}</think>{{% endif %}}{{{{ m.content }}}}"
        ),
        PROMPT.replace(HEADER, HEADER + opens),
    )
    thinking = [ASKED, {**CALL, "reasoning_content": "Look."}, RESULT, {**REPLY, "reasoning_content": "Found."}]
    call, reply = learned(chatml, text, thinking, TOOLS)
    assert call == "<think>".removeprefix(opens) + 'Look.</think>{"name": "find", "arguments": {"a": "tea"}}<|im_end|>'
    assert reply == "<think>".removeprefix(opens) + "Found.</think>Shelf two.<|im_end|>"
    assert "<think>Look.</think>" in chatml.decode(tokenize_prompt(chatml, thinking[:-1], TOOLS))


def test_a_reply_under_another_header_than_the_prompts_is_refused(chatml):
    chatml.chat_template = template(TURN, PROMPT.replace("assistant", "helper"))
    with pytest.raises(TemplateMisfit, match="does not begin with its generation prompt"):
        tokenize_conversation(chatml, [ASKED, REPLY])


def test_a_header_without_a_mark_is_not_looked_for_where_a_text_may_hold_it():
    talk: list[Message] = [ASKED, {"role": "assistant", "content": "Say:\nTea?\n\nReply:\nNo."}]
    whole = "Tea?\nReply:\nSay:\nTea?\n\nReply:\nNo."
    assert continue_prompt("Tea?\n\nReply:\n", whole, talk, ["</s>"]) == whole
    assert continue_prompt("Tea?\n\nReply:\n", "Tea?\nReply:\nNo.", talk, ["</s>"]) == "Tea?\n\nReply:\nNo."
