"""Conversations -> token ids and labels, with any tokenizer's chat template.

Labels come from rendering prefixes, never from the template's own mask, which many templates lack:

    prompt      = template(messages before the reply, with the generation prompt)
    prompt+reply = template(messages up to and with the reply)

What the second adds to the first, up to and with the end-of-turn token, is labelled. So the training prefix is token for
token the inference prompt, and the model learns to stop.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.chat_template.continuation import continue_prompt
from stages.lib.chat_template.forms import CALLED, CLOSED, THE_THOUGHTS, find_lost
from stages.lib.chat_template.rendering import (
    FormMisfit,
    StopMisfit,
    TemplateMisfit,
    check_roles,
    check_specials,
    encode,
    render,
    special_tokens,
    specials_pattern,
)
from stages.lib.chat_template.stops import NOT_NAMED, Ending, appended_to_calls, check_prefix, ending_of, known_stops
from stages.lib.records.conversation import Message, Tool, is_trained, uses_tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OF_CALLS = re.compile(
    "the template (?:refuses it|loses (?:the reply beside a call|the call of|a tool's result))"
    "|the rendered conversation does not begin with its generation prompt"
)
WHERE = {"reasoning_content": "between thoughts and reply", "tool_calls": "before the end of what calls a tool"}


def tokenize_conversation(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None
) -> list[Example]:
    """The examples that train the assistant messages of a conversation, but for those of weight 0, which are context.

    One example, where each prompt continues what went before, as in most templates. A template that renders earlier turns
    otherwise than the last one (reasoning models drop earlier thoughts) gets one example for each turn it breaks at.

    Raises:
        TemplateMisfit: the template refuses the messages, loses a text, a call or a result, changes the prompt once the reply is
            there, ends a reply without a special token, or with what ends a generation and goes on; or a message holds a special
            token as text, or what is read as one.
    """
    specials = special_tokens(tokenizer)
    check_specials(specials, messages, tools)
    examples: list[Example] = []
    for position, message in enumerate(messages):
        if not is_trained(message):
            continue
        if position == 0:
            raise TemplateMisfit("it begins with the assistant, so that there is no prompt")
        try:
            prompt_ids, reply_ids = _tokenize_turn(tokenizer, messages[: position + 1], tools, specials)
        except FormMisfit:
            raise
        except TemplateMisfit as misfit:
            raise TemplateMisfit(f"{misfit}{_way_out(str(misfit), messages[: position + 1])}") from None
        earlier = examples[-1].input_ids if examples else []
        if examples and prompt_ids[: len(earlier)] == earlier:
            labels = examples.pop().labels
        else:
            earlier, labels = [], []
        ignored = [IGNORE_INDEX] * (len(prompt_ids) - len(earlier))
        examples.append(Example(prompt_ids + reply_ids, labels + ignored + reply_ids))
    return examples


def _tokenize_turn(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, specials: dict[str, int]
) -> tuple[list[int], list[int]]:
    """(prompt ids, reply ids) of the last message, the reply with its end-of-turn token and nothing after it."""
    check_roles(tokenizer, messages[:-1], tools)
    check_roles(tokenizer, messages, tools)
    ending = ending_of(tokenizer, specials)
    prompt = render(tokenizer, messages[:-1], tools, add_generation_prompt=True)
    whole = continue_prompt(prompt, render(tokenizer, messages, tools, add_generation_prompt=False), messages, specials)
    check_prefix(prompt, whole)
    reply = whole[len(prompt) :]
    lost = find_lost(prompt, messages[:-1], tools, last_thoughts=False) or find_lost(reply, messages[-1:], None)
    if lost := lost or (THE_THOUGHTS if _thinks_afterwards(reply, messages[-1]) else None):
        raise TemplateMisfit(f"the template loses {lost}")
    if "tool_calls" in messages[-1]:
        reply, stop = _up_to_stop_of_call(tokenizer, reply, messages[-1], ending, specials)
    else:
        reply, stop = _up_to_stop(reply, messages[-1], ending), ending.stop
    prompt_ids, ids = encode(tokenizer, prompt), encode(tokenizer, prompt + reply)
    if ids[: len(prompt_ids)] != prompt_ids:  # a token straddles the border: cut there, as inference does
        ids = prompt_ids + encode(tokenizer, reply)
    if ids[-1] != specials[stop]:
        raise TemplateMisfit(f"the tokenizer does not read {stop} at the end of a reply as the token that it is")
    _check_read(tokenizer, specials, prompt, prompt_ids)
    ids = ids[len(prompt_ids) :]
    _check_read(tokenizer, specials, reply, ids, is_learned=True)
    early = next(filter({specials[ending.stop], *known_stops(tokenizer)}.__contains__, ids[:-1]), None)
    if early is None and find_lost(reply, messages[-1:], None):
        early = ids[-1]  # what it loses comes after it
    if early is not None:
        raise _ends_early(tokenizer, messages, tools, specials, early)
    return prompt_ids, ids


def _way_out(why: str, messages: Sequence[Message]) -> str:
    """What leaves out of a conversation what its template can't take; nothing where the reason says so, or lies elsewhere."""
    if why.endswith(THE_THOUGHTS):
        return "; clean.thoughts: drop leaves them out"
    if why.endswith(f"loses {CALLED['assistant']}") and any(CLOSED in message["content"] for message in messages):
        return f", since it takes what stands before {CLOSED} for thoughts; take the tag out of the text"
    if OF_CALLS.match(why) and any(map(uses_tool, messages)):
        return "; clean.tool_messages: as_user leaves calls out, and keeps what is said and returned"
    return ""


def _ends_early(
    tokenizer: "PreTrainedTokenizerBase",
    messages: Sequence[Message],
    tools: list[Tool] | None,
    specials: dict[str, int],
    stop: int,
) -> TemplateMisfit:
    """Why the last message can't be learned, which goes on after a token that ends a generation."""
    if stop not in specials.values():
        return TemplateMisfit(
            f"the reply holds {tokenizer.decode([stop])!r}, which ends a generation, since generation_config.json names it in "
            "eos_token_id, so that the model would stop there"
        )
    written = f"the chat template writes {tokenizer.decode([stop])}, which ends a generation,"
    if not (keys := _ending_early(tokenizer, messages, tools, specials)):
        return TemplateMisfit(f"{written} before the end of this reply; give another one in base_model.chat_template")
    where = " and ".join(WHERE[key] for key in keys)
    return StopMisfit(f"{written} {where}, so that the model would stop there", keys)


def _ending_early(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, specials: dict[str, int]
) -> list[str]:
    """Whether the last message's calls, its thoughts or both are what holds a stop: each of two is tried without the other."""
    *before, last = messages
    keys = [key for key in WHERE if last.get(key)]
    if len(keys) < 2:
        return keys
    alone = []
    for key, other in (keys, reversed(keys)):
        message = cast("Message", {name: value for name, value in last.items() if name != other})
        if other == "tool_calls" and not last["content"].strip():
            message["content"] = "probe_reply"
        try:
            _tokenize_turn(tokenizer, [*before, message], tools, specials)
        except StopMisfit:
            alone.append(key)
        except TemplateMisfit:
            continue
    return alone or ["tool_calls"]


def _thinks_afterwards(rendered: str, reply: Message) -> bool:
    """Whether the thoughts stand behind what they are to lead to."""
    calls = reply.get("tool_calls", [])
    said = calls[0]["function"]["name"] if calls else reply["content"].strip()
    thoughts = reply.get("reasoning_content", "").strip()
    return bool(thoughts and said) and rendered.find(thoughts) > rendered.rfind(said)


def _check_read(
    tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int], text: str, ids: list[int], is_learned: bool = False
) -> None:
    """
    Raises:
        TemplateMisfit: the tokens have a special one that the text does not spell: of another case or width, which the tokenizer
            takes for the same, or, in what is learned, the one for all that it has no token for.
    """
    marks = {id: mark for mark, id in specials.items()}
    for id, number in Counter(id for id in ids if id in marks).items():
        token = marks[id]
        if number <= text.count(token):
            continue
        if id != tokenizer.unk_token_id:
            raise TemplateMisfit(f"a text holds what the tokenizer reads as the special token {token}")
        if is_learned:
            raise TemplateMisfit(f"the tokenizer has no token for a part of the reply, which would be learned as {token}")


def _up_to_stop(rendered: str, reply: Message, ending: Ending) -> str:
    """
    Raises:
        TemplateMisfit: this reply ends otherwise than others.
    """
    rendered = ending.end(rendered)
    after = len(ending.lead) if rendered.startswith(ending.lead) else 0
    for text in (reply.get("reasoning_content", ""), reply["content"]):
        if (found := rendered.find(text.strip(), after)) >= 0:
            after = found + len(text.strip())
    if (at := rendered.find(ending.stop, after)) < 0:
        raise TemplateMisfit(f"the template does not end this reply with {ending.stop} as it does others")
    return rendered[: at + len(ending.stop)]


def _up_to_stop_of_call(
    tokenizer: "PreTrainedTokenizerBase", rendered: str, reply: Message, ending: Ending, specials: dict[str, int]
) -> tuple[str, str]:
    """The reply up to and with what ends its calls, and that token.

    Raises:
        StopMisfit: no token that ends a generation does.
    """
    after = rendered.rfind(reply["tool_calls"][-1]["function"]["name"])
    found = [match for match in specials_pattern(specials).finditer(rendered) if match.start() >= after]
    known = known_stops(tokenizer)
    stops = [match for match in found if match[0] == ending.stop or specials[match[0]] in known]
    if chosen := next(iter(stops), None):
        return rendered[: chosen.end()], chosen[0]
    if appended := appended_to_calls(tokenizer, specials):
        last = list(specials_pattern(specials).finditer(appended))[-1]
        return rendered + appended, last[0]
    mark = f"{found[-1][0]}, {NOT_NAMED}" if found else "no special token"
    raise StopMisfit(
        f"the chat template ends a call of a tool with {mark}, so that the model would never stop there",
        ["tool_calls"],
        "one that ends a call with what ends a reply",
    )
