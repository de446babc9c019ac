"""What to set where the template does not know what conversations hold, and only that."""

from typing import Any

import pytest

from stages.lib.chat_template import FormMisfit, StopMisfit, SystemMisfit
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
def test_the_params_that_are_named_are_those_of_what_the_conversations_hold(row: Any, tools: bool, thoughts: bool) -> None:
    said = choices_for([talk(REPLIED, id="plain"), row])
    assert ("clean.tool_messages" in said) == tools
    assert ("clean.thoughts" in said) == thoughts
    assert "base_model.chat_template" in said


def test_how_many_have_them_is_said_and_which_is_the_first() -> None:
    rows = [talk(REPLIED), talk(CALLED, RETURNED, REPLIED, id="b"), talk(REPLIED, id="c", tools=[TOOL])]
    said = refuse_form(FormMisfit("it loses the call"), "b", rows, "train")
    assert "b is the first of 2 conversations with tools or thoughts, and it loses the call; set clean.tool_messages" in said
    system = [*rows, {"id": "d", "messages": [{"role": "system", "content": "Be brief."}, ASKED, REPLIED]}]
    said = refuse_form(SystemMisfit("it refuses a system message"), "d", system, "train")  # type: ignore[arg-type]
    assert said.endswith("d is the first of 1 conversations with a system message, and it refuses a system message")


@pytest.mark.parametrize(
    ("keys", "tools", "thoughts"),
    [(["tool_calls"], True, False), (["reasoning_content"], False, True), (["reasoning_content", "tool_calls"], True, True)],
)
def test_only_what_would_be_cut_off_is_to_be_dropped(keys: list[str], tools: bool, thoughts: bool) -> None:
    rows = [talk(CALLED, RETURNED, REPLIED), talk({**REPLIED, "reasoning_content": "Hm."}, id="b")]
    said = refuse_form(StopMisfit("it would stop there", keys), "b", rows, "train")
    assert ": b: it would stop there; set clean." in said
    assert ("clean.tool_messages to drop" in said) == tools
    assert ("clean.thoughts to drop" in said) == thoughts
    assert "or base_model.chat_template to one that writes it at a reply's end alone" in said
    said = refuse_form(StopMisfit("nothing ends it", keys, "one that ends it"), "b", rows, "train")
    assert said.endswith(", or base_model.chat_template to one that ends it")
