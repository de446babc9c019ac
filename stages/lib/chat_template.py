"""Conversations -> token ids and labels, with any tokenizer's chat template.

Labels come from rendering prefixes, never from the template's own mask, which many templates lack:

    prompt      = template(messages before the reply, with the generation prompt)
    prompt+reply = template(messages up to and with the reply)

What the second adds to the first, up to and with the end-of-turn token, is labelled. So the training prefix is token for
token the inference prompt, and the model learns to stop.
"""

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from jinja2 import TemplateError

from stages.lib.records.conversation import Message, Tool, is_trained
from stages.lib.records.tokenized import IGNORE_INDEX, Example
from stages.lib.template_forms import Form, find_lost, is_plain, possible_forms, probe_of, special_texts, to_form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMS: dict[tuple[str, bool, bool], Form | str] = {}  # template, whether tools and thoughts matter -> the form, or why none fits
PROBE = re.compile(r" of probe_\w+")  # names that no user has given
OPENED = "<think>"


class TemplateMisfit(Exception):
    """The template cannot render this conversation for training; the message says why."""


class FormMisfit(TemplateMisfit):
    """The template knows no tools, or drops thoughts, of whichever conversation."""


def render_prompt(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None) -> str:
    """The text that the model continues: the messages and the generation prompt.

    Raises:
        TemplateMisfit: the template refuses the messages (roles it does not know, say).
    """
    return _render(tokenizer, messages, tools, add_generation_prompt=True)


def tokenize_prompt(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None
) -> list[int]:
    """`render_prompt` as token ids, with the template's own special tokens and no others (one BOS, not two)."""
    return _encode(tokenizer, render_prompt(tokenizer, messages, tools))


def tokenize_conversation(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None
) -> list[Example]:
    """The examples that train the assistant messages of a conversation, but for those of weight 0, which are context.

    One example, where each prompt continues what went before, as in most templates. A template that renders earlier turns
    otherwise than the last one (reasoning models drop earlier thoughts) gets one example for each turn it breaks at.

    Raises:
        TemplateMisfit: the template refuses the messages, loses a call or a result, changes the prompt once the reply is there,
            or ends a reply without a special token; or a message holds a special token as text.
    """
    specials = special_tokens(tokenizer)
    for position, message in enumerate(messages):
        if found := next((special for special in specials if any(special in text for text in special_texts(message))), None):
            raise TemplateMisfit(f"messages[{position}] holds the special token {found}")
    schemas = json.dumps(tools or [], ensure_ascii=False)
    if found := next((special for special in specials if special in schemas), None):
        raise TemplateMisfit(f"tools hold the special token {found}")
    examples: list[Example] = []
    for position, message in enumerate(messages):
        if not is_trained(message):
            continue
        if position == 0:
            raise TemplateMisfit("it begins with the assistant, so that there is no prompt")
        prompt_ids, reply_ids = _tokenize_turn(tokenizer, messages[: position + 1], tools, set(specials.values()))
        earlier = examples[-1].input_ids if examples else []
        if examples and prompt_ids[: len(earlier)] == earlier:
            labels = examples.pop().labels
        else:
            earlier, labels = [], []
        ignored = [IGNORE_INDEX] * (len(prompt_ids) - len(earlier))
        examples.append(Example(prompt_ids + reply_ids, labels + ignored + reply_ids))
    return examples


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Text -> id of the tokens that mark structure; plain text must not spell one."""
    added = {token.content: id for id, token in tokenizer.added_tokens_decoder.items() if token.special}
    return added | dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))


def stop_token_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The token that ends an assistant turn: the last label of any reply."""
    probe: list[Message] = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    return tokenize_conversation(tokenizer, probe)[-1].labels[-1]


def _tokenize_turn(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, special_ids: set[int]
) -> tuple[list[int], list[int]]:
    """(prompt ids, reply ids) of the last message, the reply with its end-of-turn token and nothing after it."""
    prompt = render_prompt(tokenizer, messages[:-1], tools)
    rendered = _after_opened_thought(prompt, _render(tokenizer, messages, tools, add_generation_prompt=False), messages[-1])
    if not rendered.startswith(prompt):
        raise TemplateMisfit("the rendered conversation does not begin with its generation prompt")
    if lost := find_lost(rendered, messages, tools):
        raise TemplateMisfit(f"the template loses {lost}")
    prompt_ids, ids = _encode(tokenizer, prompt), _encode(tokenizer, rendered)
    if ids[: len(prompt_ids)] != prompt_ids:  # a token straddles the border: cut there, as inference does
        ids = prompt_ids + _encode(tokenizer, rendered[len(prompt) :])
    reply_ids = ids[len(prompt_ids) :]
    end = max((position + 1 for position, id in enumerate(reply_ids) if id in special_ids), default=0)
    if not end or str(tokenizer.decode(reply_ids[end:])).strip():  # a line break may follow the stop token, text may not
        raise TemplateMisfit("the template ends a reply without a special token, so that the model would never stop")
    return prompt_ids, reply_ids[:end]


def _after_opened_thought(prompt: str, rendered: str, reply: Message) -> str:
    """The rendered conversation as its prompt goes on, where the prompt opens a thought that the template leaves out of replies.

    A reply without thoughts closes it at once.
    """
    before = prompt.rstrip().removesuffix(OPENED)
    rest = rendered[len(before) :]
    if len(before) == len(prompt.rstrip()) or not rendered.startswith(before) or rest.startswith(OPENED):
        return rendered
    thoughts = reply.get("reasoning_content", "")
    return f"{prompt}{thoughts}\n</think>\n\n{rest}"


def form_of(tokenizer: "PreTrainedTokenizerBase", uses_tools: bool, has_thoughts: bool) -> Form:
    """The form of messages in which the template shows all of them: found once a template, by rendering a probe in each.

    Raises:
        FormMisfit: there is none.
    """
    key = (str(tokenizer.get_chat_template()), uses_tools, has_thoughts)
    if key not in FORMS:
        messages, tools = probe_of(uses_tools, has_thoughts)
        reasons = []
        for form in possible_forms(uses_tools, has_thoughts):
            try:
                prompt = _apply(tokenizer, to_form(messages[:-1], form), tools, add_generation_prompt=True)
                text = _apply(tokenizer, to_form(messages, form), tools, add_generation_prompt=False)
            except TemplateMisfit as misfit:
                reasons.append(str(misfit))
                continue
            lost = find_lost(_after_opened_thought(prompt, text, messages[-1]), messages, tools, last_thoughts=has_thoughts)
            if lost is None:
                FORMS[key] = form
                break
            reasons.append(f"the chat template loses {PROBE.sub('s of tools', lost)}")
        else:
            FORMS[key] = reasons[0]
    found = FORMS[key]
    if isinstance(found, str):
        raise FormMisfit(found)
    return found


def _render(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, add_generation_prompt: bool
) -> str:
    if is_plain(messages, tools):
        return _apply(tokenizer, list(messages), None, add_generation_prompt)
    uses_tools = bool(tools) or any(message["role"] == "tool" or "tool_calls" in message for message in messages)
    form = form_of(tokenizer, uses_tools, any("reasoning_content" in message for message in messages))
    return _apply(tokenizer, to_form(messages, form), tools or None, add_generation_prompt)


def _apply(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[object], tools: list[Tool] | None, add_generation_prompt: bool
) -> str:
    try:
        chat = cast("list[dict[str, str]]", messages)
        given = cast("Any", tools)
        text = tokenizer.apply_chat_template(chat, tools=given, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, TypeError, ValueError, LookupError) as error:  # what a template does to values may raise any of them
        raise TemplateMisfit(f"the template refuses it: {error}") from None
    return str(text)


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
