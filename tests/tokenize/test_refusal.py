"""What to set where the template does not know what conversations hold, and only that."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import CHATML
from transformers import AutoTokenizer

from stages.lib.chat_template import FormMisfit, StopMisfit, SystemMisfit, tokenize_conversation
from stages.tokenize.refusal import choices_for, refuse_form

ASKED: dict[str, Any] = {"role": "user", "content": "Which shelf?"}
CALLED: dict[str, Any] = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "find", "arguments": "{}"}}],
}
RETURNED: dict[str, Any] = {"role": "tool", "content": "2"}
REPLIED: dict[str, Any] = {"role": "assistant", "content": "The second."}
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "find", "parameters": {}}}


def talk(*messages: dict[str, Any], id: str = "a", **more: Any) -> Any:
    return {"id": id, "messages": [ASKED, *messages], **more}


SCHEMAS = "{% for tool in tools or [] %}{{ tool | tojson }}{% endfor %}"
CALLS = "{% for call in message.tool_calls or [] %}{{ call.function | tojson }}{% endfor %}"
THOUGHTS = "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}"
NO_THOUGHTS = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>') | last }}")
TOOLS = SCHEMAS + NO_THOUGHTS.replace("<|im_end|>", CALLS + "<|im_end|>")


@pytest.fixture
def chatml(tiny_model_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_model_folder)


def give(tokenizer: Any, text: str) -> Any:
    tokenizer.chat_template = text
    return tokenizer


@pytest.mark.parametrize(
    ("row", "tools", "thoughts"),
    [
        (talk(REPLIED, tools=[TOOL]), True, False),
        (talk(CALLED), True, False),
        (talk(RETURNED, REPLIED), True, False),
        (talk({**REPLIED, "reasoning_content": "Hm."}), False, True),
        (talk(CALLED, RETURNED, {**REPLIED, "reasoning_content": "Hm."}), True, True),
        (talk(REPLIED), False, False),
    ],
)
def test_the_params_that_are_named_are_those_of_what_the_conversations_hold(
    chatml: Any, row: Any, tools: bool, thoughts: bool
) -> None:
    said = choices_for([talk(REPLIED, id="plain"), row], give(chatml, NO_THOUGHTS))
    assert ("clean.tool_messages" in said) == tools
    assert ("clean.thoughts" in said) == thoughts
    assert "base_model.template_variables" not in said
    assert "base_model.chat_template" in said


@pytest.mark.parametrize(("template", "tools", "thoughts"), [(CHATML, True, False), (TOOLS, False, True)])
def test_what_the_template_knows_is_not_to_be_dropped(chatml: Any, template: str, tools: bool, thoughts: bool) -> None:
    row = talk(CALLED, RETURNED, {**REPLIED, "reasoning_content": "Hm."})
    with pytest.raises(FormMisfit) as misfit:
        tokenize_conversation(give(chatml, template), row["messages"], [TOOL])
    said = refuse_form(misfit.value, "a", [row], "train", chatml)
    assert ("clean.tool_messages" in said) == tools
    assert ("clean.thoughts" in said) == thoughts


SWITCHED = "{% if not NAME is defined %}{% set NAME = SHUT %}{% endif %}"


@pytest.mark.parametrize(
    "at_top", ["", "{%- set other = true %}", "{%- set enable_thinking = false %}{%- set thinking = false %}"]
)
@pytest.mark.parametrize("names", [{"enable_thinking": True}, {"thinking": True}, {"skip_think": False, "think_aloud": True}])
@pytest.mark.parametrize("uses_tools", [False, True])
def test_the_variables_are_named_that_let_the_template_think_and_do_as_they_are_typed(
    chatml: Any, at_top: str, names: dict[str, bool], uses_tools: bool
) -> None:
    begin = "".join(SWITCHED.replace("NAME", name).replace("SHUT", str(not value).lower()) for name, value in names.items())
    shown = " and ".join(name if value else f"not {name}" for name, value in names.items())
    text = TOOLS.replace(
        "{{ message.content.split('</think>') | last }}",
        f"{{% if {shown} %}}{THOUGHTS}{{% else %}}{{{{ message.content.split('</think>') | last }}}}{{% endif %}}",
    )
    thinking = {**REPLIED, "reasoning_content": "Hm."}
    row = talk(CALLED, RETURNED, thinking, tools=[TOOL]) if uses_tools else talk(thinking)
    with pytest.raises(FormMisfit) as misfit:
        tokenize_conversation(give(chatml, at_top + begin + text), row["messages"], row.get("tools"))
    said = refuse_form(misfit.value, "a", [row], "train", chatml)
    typed = re.search(r"base_model\.template_variables to (\{.*?\}), with which the template writes them", said)
    assert typed
    assert yaml.safe_load(typed[1]) == names
    lines = "".join(f"{{%- set {name} = {str(value).lower()} %}}" for name, value in names.items())
    tokenize_conversation(give(chatml, lines + begin + text), row["messages"], row.get("tools"))


def test_how_many_have_them_is_said_and_which_is_the_first(chatml: Any) -> None:
    rows = [talk(REPLIED), talk(CALLED, RETURNED, REPLIED, id="b"), talk(REPLIED, id="c", tools=[TOOL])]
    said = refuse_form(FormMisfit("it loses the call"), "b", rows, "train", chatml)
    assert "b is the first of 2 conversations with tools or thoughts, and it loses the call; set clean.tool_messages" in said
    system = [*rows, {"id": "d", "messages": [{"role": "system", "content": "Be brief."}, ASKED, REPLIED]}]
    said = refuse_form(SystemMisfit("it refuses a system message"), "d", system, "train", chatml)  # type: ignore[arg-type]
    assert said.endswith("d is the first of 1 conversations with a system message, and it refuses a system message")


@pytest.mark.parametrize(
    ("keys", "tools", "thoughts"),
    [(["tool_calls"], True, False), (["reasoning_content"], False, True), (["reasoning_content", "tool_calls"], True, True)],
)
def test_only_what_would_be_cut_off_is_to_be_dropped(chatml: Any, keys: list[str], tools: bool, thoughts: bool) -> None:
    rows = [talk(CALLED, RETURNED, REPLIED), talk({**REPLIED, "reasoning_content": "Hm."}, id="b")]
    said = refuse_form(StopMisfit("it would stop there", keys), "b", rows, "train", chatml)
    assert ": b: it would stop there; set clean." in said
    assert ("clean.tool_messages to drop" in said) == tools
    assert ("clean.thoughts to drop" in said) == thoughts
    assert "or base_model.chat_template to one that writes it at a reply's end alone" in said
    said = refuse_form(StopMisfit("nothing ends it", keys, "one that ends it"), "b", rows, "train", chatml)
    assert said.endswith(", or base_model.chat_template to one that ends it")
