"""A thought that the generation prompt opens or has closed: the reply goes on from there, whatever the template writes of it."""

from typing import Any

import pytest
from conftest import CHATML, REPO
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.chat_template import FormMisfit, TemplateMisfit, tokenize_conversation, tokenize_prompt
from stages.lib.records.conversation import Message
from stages.tokenize.batches import BatchTokenizer

QWEN3 = (REPO / "tests/templates/qwen3.jinja").read_text(encoding="utf-8")
THINKING: list[Message] = [
    {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4.", "reasoning_content": "2 and 2."},
]  # fmt: skip
PLAIN: list[Message] = [THINKING[0], {"role": "assistant", "content": "4."}]
MARKS = ["<|START_THINKING|><|END_THINKING|>", "<|channel>thought\n<channel|>"]


@pytest.fixture
def chatml(tiny_model_folder) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def prompting(text: str, template: str = CHATML) -> str:
    """The template with this at the end of its generation prompt."""
    assert "assistant\n{% endif" in template
    return template.replace("assistant\n{% endif", f"assistant\n{text}{{% endif")


def learned(tokenizer: Any, template: str, messages: list[Message]) -> str:
    """The labels of the only example, whose beginning is the prompt of prediction."""
    tokenizer.chat_template = template
    (example,) = tokenize_conversation(tokenizer, messages)
    prompt = tokenize_prompt(tokenizer, messages[:-1])
    assert example.input_ids[: len(prompt)] == prompt
    assert example.labels[: len(prompt)] == [IGNORE_INDEX] * len(prompt)
    return tokenizer.decode([id for id in example.labels if id != IGNORE_INDEX])


@pytest.mark.parametrize("empties", [*MARKS, "</think>", "<think></think>"])
def test_a_reply_follows_whatever_marks_close_the_thought(chatml, empties):
    assert learned(chatml, prompting(empties), PLAIN) == "4.<|im_end|>"


CALLS = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}" + CHATML.replace(
    "{{ message.content }}",
    "EMPTY{{ message.content }}{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}",
)
CALL: Message = {
    "role": "assistant", "content": "", "tool_calls": [
        {"type": "function", "function": {"name": "find", "arguments": '{"name": "tea"}'}}
    ],
}  # fmt: skip


@pytest.mark.parametrize("writes", ["", "<think></think>", "</think>"])
@pytest.mark.parametrize("ends", ["<think>", "<think>\n", "<think></think>", "</think>"])
def test_a_call_that_has_no_text_follows_too(chatml, ends, writes):
    text = prompting(ends, CALLS.replace("EMPTY", f"{{{{ {writes!r} if message.role == 'assistant' }}}}"))
    reply = learned(chatml, "{% set tools = tools or [] %}" + text, [THINKING[0], CALL])
    closes = "" if "/" in ends else "</think>"
    assert "".join(reply.split()) == f'{closes}{{"name":"find","arguments":{{"name":"tea"}}}}<|im_end|>'


@pytest.mark.parametrize("said", [CALL, PLAIN[1]], ids=["call", "reply"])
def test_thoughts_that_a_template_writes_after_what_they_lead_to_are_refused(chatml, said):
    """Gemma 4 writes a call before the message's text, in which thoughts stand that it has no other place for."""
    text = CALLS.replace("EMPTY{{ message.content }}", "").replace(
        "{% endfor %}<|im_end|>", "{% endfor %}{{ message.content }}<think>{{ message.reasoning_content }}</think><|im_end|>"
    )
    chatml.chat_template = "{% set tools = tools or [] %}" + text
    with pytest.raises(TemplateMisfit, match="loses the thoughts"):
        tokenize_conversation(chatml, [THINKING[0], {**said, "reasoning_content": "2 and 2."}])


@pytest.mark.parametrize("empties", ["<think></think>", "<think>\n\n</think>\n\n", "</think>"])
@pytest.mark.parametrize("writes", ["<think></think>", "<think>\n\n</think>\n\n", "</think>"])
def test_a_thought_that_the_prompt_closed_is_not_closed_again_by_the_reply(chatml, empties, writes):
    """DeepSeek V3.2 and Nemotron 3 write an empty one into replies, in other marks or another spacing than the prompt's."""
    text = prompting(empties).replace(
        "{{ message.content }}", f"{{{{ {writes!r} if message.role == 'assistant' }}}}{{{{ message.content }}}}"
    )
    about_tags: list[Message] = [THINKING[0], {"role": "assistant", "content": "What of <think> and </think>?"}]
    assert learned(chatml, text, about_tags).lstrip() == "What of <think> and </think>?<|im_end|>"


KEY_OR_EMPTY = CHATML.replace(
    "{{ message.content }}",
    "{{ '<think>' + message.reasoning_content + '</think>' if message.reasoning_content else "
    "'<think></think>' if message.role == 'assistant' }}{{ message.content }}",
)


@pytest.mark.parametrize("empties", [*MARKS, "</think>", "<think></think>", "<seed:think>No budget.</seed:think>"])
@pytest.mark.parametrize("template", [CHATML, KEY_OR_EMPTY], ids=["knows none", "in a key of their own"])
def test_thoughts_are_refused_by_name_where_the_prompt_is_for_replies_without_them(chatml, template, empties):
    """Else they would be learned after the end of thinking, or their conversations be left out one by one."""
    chatml.chat_template = prompting(empties, template)
    for messages in (THINKING, [*THINKING, *PLAIN]):
        with pytest.raises(FormMisfit, match="the chat template loses the thoughts"):
            tokenize_conversation(chatml, messages)


def test_a_reasoning_model_that_is_told_not_to_think_refuses_thoughts_by_name(chatml):
    chatml.chat_template = "{%- set enable_thinking = false %}" + QWEN3
    with pytest.raises(FormMisfit, match="the chat template loses the thoughts"):
        tokenize_conversation(chatml, THINKING)


@pytest.mark.parametrize("opens", ["<think>", "<think>\n", "<think>\n\n"])
@pytest.mark.parametrize("space", ["", "\n", "\n\n"])
@pytest.mark.parametrize("thoughts", ["", "2 and 2."])
def test_a_thought_that_the_prompt_opens_goes_on_whatever_space_the_template_writes_in_replies(chatml, opens, space, thoughts):
    text = prompting(opens).replace(
        "{{ message.content }}",
        f"{{{{ '<think>{space}' + (message.reasoning_content or '') + '{space}</think>' if message.role == 'assistant' }}}}"
        "{{ message.content }}",
    )
    reply = learned(chatml, text, THINKING if thoughts else PLAIN)
    assert "".join(reply.split()) == f"{thoughts}</think>4.<|im_end|>".replace(" ", "")


@pytest.mark.parametrize(("opens", "closes"), [("<|START_THINKING|>", "<|END_THINKING|>"), ("<|channel>thought\n", "<channel|>")])
def test_an_opened_thought_whose_tags_are_marks_is_closed_by_its_own(chatml, opens, closes):
    assert learned(chatml, prompting(opens), PLAIN) == f"{closes}4.<|im_end|>"


def test_a_tag_that_a_user_asks_about_opens_no_thought(chatml):
    asked: list[Message] = [{"role": "user", "content": "What is <think> for?"}, {"role": "assistant", "content": "It opens."}]
    assert learned(chatml, prompting("</think>"), asked) == "It opens.<|im_end|>"
    assert "<think> for?<|im_end|>\n<|im_start|>assistant\n</think>" in chatml.decode(tokenize_prompt(chatml, asked[:1]))


AT_THE_TAG = "{{ message.content.split('</think>') | last }}"
READS_THOUGHTS = (
    "{% if '</think>' in message.content %}<think>{{ (message.content.split('</think>') | first).split('<think>') | last }}"
    "</think>{{ message.content.split('</think>') | last }}{% else %}{{ message.content }}{% endif %}"
)


@pytest.mark.parametrize("writes", [AT_THE_TAG, READS_THOUGHTS], ids=["drops", "reads"])
@pytest.mark.parametrize("opens", ["", "<think>"])
@pytest.mark.parametrize("at", [1, 3], ids=["reply", "past"])
def test_a_reply_that_speaks_of_the_tags_never_loses_its_beginning(chatml, writes, opens, at):
    """Such templates take it for thoughts; Qwen 3 even drops what stands before the opening tag."""
    text = CHATML.replace("{{ message.content }}", writes)
    chatml.chat_template = prompting(opens, text) if opens else text
    about: Message = {"role": "assistant", "content": "Write <think> and </think> around it."}
    talk = [PLAIN[0], about] if at == 1 else [PLAIN[0], {**about, "weight": 0}, *PLAIN]
    [outcome] = BatchTokenizer(chatml).tokenize([talk])
    assert isinstance(outcome, TemplateMisfit)
    with pytest.raises(TemplateMisfit, match=r"loses the reply, since it takes what stands before </think> for thoughts; take"):
        tokenize_conversation(chatml, talk)
    assert tokenize_conversation(chatml, PLAIN)


@pytest.mark.parametrize("said", ["<think>", "<think>\nAnd on it goes"])
@pytest.mark.parametrize("opens", ["<think>", "<think>\n"])
def test_a_tag_that_a_reply_begins_with_and_never_closes_is_not_the_prompts(chatml, said, opens):
    chatml.chat_template = prompting(opens)
    talk: list[Message] = [PLAIN[0], {"role": "assistant", "content": said}]
    with pytest.raises(TemplateMisfit, match="loses the reply"):
        tokenize_conversation(chatml, talk)
    assert isinstance(next(iter(BatchTokenizer(chatml).tokenize([talk]))), TemplateMisfit)
