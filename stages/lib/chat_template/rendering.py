"""Messages -> text, in the form that the chat template reads, with nothing lost."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from jinja2 import TemplateError

from stages.lib.chat_template.forms import (
    CLOSED,
    PRINTED,
    THE_THOUGHTS,
    THOUGHT,
    Form,
    find_lost,
    is_plain,
    possible_forms,
    probe_of,
    special_texts,
    to_form,
)
from stages.lib.chat_template.thoughts import CLOSING, OPENING, after_opened_thought, find_thought
from stages.lib.records.conversation import Message, Role, Tool

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FORMS: dict[tuple[str, bool, bool], Form | str] = {}  # template, whether tools and thoughts matter -> the form, or why none fits
LOSSES: dict[tuple[str, tuple[Role, ...]], str | None] = {}  # template, roles -> what is wrong with such a conversation
CHATS: dict[str, str] = {}  # template -> questions and replies
MARK = re.compile(rf"(?!(?:{OPENING.pattern}|{CLOSING.pattern})$)[<\[{{].*[>\]}}]")  # of structure, not of thoughts
PROBE = re.compile(r" of probe_\w+")  # names that no user has given
GENERATION_STOPS = "generation_stop_ids"  # attribute of a tokenizer that came with a generation config
BEGINNING: tuple[Role, ...] = ("system", "user", "assistant")
LOSES = "the chat template loses"
FOLD = "base_model.system_messages: in_question puts it before the question that follows"


class TemplateMisfit(Exception):
    """The template cannot render this conversation for training; the message says why."""


class FormMisfit(TemplateMisfit):
    """The template knows no tools, drops thoughts, or loses texts, of whichever conversation."""


class SystemMisfit(FormMisfit):
    """The template refuses a system message, or leaves it out."""


class StopMisfit(FormMisfit):
    """The template ends a generation inside a reply with calls or thoughts, or none behind it.

    `keys`: which of the two a message must not have; `wanted`: which template would do.
    """

    def __init__(self, why: str, keys: Sequence[str], wanted: str = "one that writes it at a reply's end alone"):
        super().__init__(why)
        self.keys = keys
        self.wanted = wanted


def render_prompt(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None) -> str:
    """The text that the model continues: the messages and the generation prompt.

    Raises:
        TemplateMisfit: the template refuses the messages (roles it does not know, say).
    """
    check_roles(tokenizer, messages, tools)
    return render(tokenizer, messages, tools, add_generation_prompt=True)


def tokenize_prompt(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None
) -> list[int]:
    """`render_prompt` as token ids, with the template's own special tokens and no others (one BOS, not two)."""
    return encode(tokenizer, render_prompt(tokenizer, messages, tools))


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[str, int]:
    """Text -> id of the tokens that mark structure or end a generation; plain text must not spell one."""
    stops, written = getattr(tokenizer, GENERATION_STOPS, ()), _plain_chat(tokenizer)
    added = {
        token.content: id
        for id, token in tokenizer.added_tokens_decoder.items()
        if token.special or id in stops or (token.content in written and MARK.fullmatch(token.content))
    }
    return added | dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))


def specials_pattern(specials: Iterable[str]) -> re.Pattern[str]:
    """The longest first, of those that begin alike. Without any it matches nothing."""
    return re.compile("|".join(map(re.escape, sorted(filter(None, specials), key=len, reverse=True))) or "(?!)")


def _plain_chat(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Questions and replies as the template writes them; empty where it can't. Some tokenizers call none of its marks special."""
    key = str(tokenizer.get_chat_template()) if tokenizer.chat_template else ""
    if key not in CHATS:
        messages: list[Message] = [{"role": role, "content": "probe"} for role in ("user", "assistant", "user")]
        try:
            CHATS[key] = render(tokenizer, messages, None, add_generation_prompt=True) if key else ""
        except TemplateMisfit:
            CHATS[key] = ""
    return CHATS[key]


def check_specials(specials: dict[str, int], messages: Sequence[Message], tools: list[Tool] | None) -> None:
    """
    Raises:
        TemplateMisfit: a text spells a special token.
    """
    for position, message in enumerate(messages):
        if found := next((special for special in specials if any(special in text for text in special_texts(message))), None):
            raise TemplateMisfit(f"messages[{position}] holds the special token {found}")
    schemas = json.dumps(tools or [], ensure_ascii=False)
    if found := next((special for special in specials if special in schemas), None):
        raise TemplateMisfit(f"tools hold the special token {found}")


def check_roles(tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None = None) -> None:
    """That a conversation of these roles shows each of its texts: tried once a template, with texts that nothing else holds.

    Raises:
        SystemMisfit: no system message would show.
        TemplateMisfit: one of these messages would not.
    """
    roles = tuple(message["role"] for message in messages)
    if not is_plain(messages, tools):
        roles = BEGINNING if "system" in roles else ()
    if not (wrong := find_wrong(tokenizer, roles)):
        return
    if "system" in roles and not find_wrong(tokenizer, tuple(role for role in roles if role != "system")):
        wrong = f"{wrong.replace('refuses it', 'refuses a system message')}; {FOLD}"
        if roles[0] == "system" and find_wrong(tokenizer, BEGINNING):
            raise SystemMisfit(wrong)
    raise TemplateMisfit(wrong)


def find_wrong(tokenizer: "PreTrainedTokenizerBase", roles: tuple[Role, ...]) -> str | None:
    """Why a conversation of these roles cannot be rendered; None if it can."""
    key = (str(tokenizer.get_chat_template()), roles)
    if key not in LOSSES:
        messages: list[Message] = [{"role": role, "content": f"probe_{position}_text"} for position, role in enumerate(roles)]
        try:
            text = render(tokenizer, messages, None, add_generation_prompt=roles[-1:] != ("assistant",)) if roles else ""
        except FormMisfit:
            raise
        except TemplateMisfit as misfit:
            LOSSES[key] = str(misfit)
        else:
            LOSSES[key] = f"the template loses {lost}" if (lost := find_lost(text, messages, None)) else None
    return LOSSES[key]


def form_of(tokenizer: "PreTrainedTokenizerBase", uses_tools: bool, has_thoughts: bool) -> Form:
    """The form of messages in which the template shows all of them: found once a template, by rendering a probe in each.

    Raises:
        FormMisfit: there is none.
    """
    key = (str(tokenizer.get_chat_template()), uses_tools, has_thoughts)
    if key not in FORMS:
        reasons = []
        for form in possible_forms(uses_tools, has_thoughts):
            try:
                lost = _lost_in_form(tokenizer, form, uses_tools, has_thoughts)
                reason = f"{LOSES} {PROBE.sub('s of tools', lost or '')}"
            except TemplateMisfit as misfit:
                lost = reason = str(misfit)
            if lost is None:
                FORMS[key] = form
                break
            reasons += [reason] if not form.calls_in_metadata else []  # few templates know that one: what others lose tells more
        else:
            FORMS[key] = next((reason for reason in reasons if reason.startswith(LOSES)), reasons[0])
    found = FORMS[key]
    if isinstance(found, str):
        raise FormMisfit(found)
    return found


def _lost_in_form(tokenizer: "PreTrainedTokenizerBase", form: Form, uses_tools: bool, has_thoughts: bool) -> str | None:
    """What the template leaves out of a probe in this form, in words; None if it shows all of it.

    Raises:
        TemplateMisfit: it refuses the form.
    """
    messages, tools = probe_of(uses_tools, has_thoughts)
    prompt = apply(tokenizer, to_form(messages[:-1], form), tools, add_generation_prompt=True)
    text = apply(tokenizer, to_form(messages, form), tools, add_generation_prompt=False)
    text = after_opened_thought(prompt, text, messages[-1])
    if lost := find_lost(text, messages, tools, last_thoughts=has_thoughts):
        return lost
    if PRINTED.search(text):
        return "the texts (it writes them out as lists of parts)"
    thought = find_thought(prompt) if has_thoughts else None
    closes_first = form.thoughts_in_text and CLOSED in text[len(prompt) :].partition(THOUGHT)[0]
    if closes_first or (thought and thought.is_closed):
        return THE_THOUGHTS  # they would come after the end of thinking
    called = apply(tokenizer, to_form(messages[:2], form), tools, add_generation_prompt=False) if uses_tools else text
    return find_lost(called, messages[:2], tools, last_thoughts=False)  # without the result, which may name the call too


def render(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, add_generation_prompt: bool
) -> str:
    uses_tools = bool(tools) or any(message["role"] == "tool" or "tool_calls" in message for message in messages)
    form = form_of(tokenizer, uses_tools, any("reasoning_content" in message for message in messages))
    return apply(tokenizer, to_form(messages, form), tools or None, add_generation_prompt)


def apply(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[object], tools: list[Tool] | None, add_generation_prompt: bool
) -> str:
    try:
        chat = cast("list[dict[str, str]]", messages)
        given = cast("Any", tools)
        text = tokenizer.apply_chat_template(chat, tools=given, tokenize=False, add_generation_prompt=add_generation_prompt)
    except (TemplateError, TypeError, ValueError, LookupError) as error:  # what a template does to values may raise any of them
        raise TemplateMisfit(f"the template refuses it: {error}") from None
    return str(text)


def encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
