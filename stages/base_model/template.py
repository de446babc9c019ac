"""What is written at the chat template's top, so that training, prediction, chat and any tool that loads models/tokenizer render
the same: variables that are set, a date that stands still, system messages that become part of a question."""

import json
import math
import re
from datetime import datetime
from typing import TYPE_CHECKING

from stages.lib.base_model.source import BaseModelParams, TemplateValue
from stages.lib.chat_template.rendering import TemplateMisfit, render
from stages.lib.chat_template.stops import ASKED, REPLY
from stages.lib.core.errors import ReprotuneError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CLOCK = "strftime_now"
DIRECTIVES = [f"%{flag}{letter}" for flag in ("", "-") for letter in "aAbBcdDeFfGhHIjmMpRSTuUVwWxXyYzZ"]
BY_CHANCE = re.compile(r"\|\s*random\b|\blipsum\s*\(")

FROZEN_CLOCK = """\
{%- macro strftime_now(format) -%}
    {%- set shown = namespace(text=format) -%}
    {%- for directive, value in DIRECTIVES.items() -%}
        {%- set shown.text = shown.text.replace(directive, value) -%}
    {%- endfor -%}
    {{- shown.text -}}
{%- endmacro -%}
"""

# One that no question follows ends the question before it, or is one by itself. Contents may be lists of parts.
IN_QUESTION = """\
{%- set folded = namespace(messages=[], system='') -%}
{%- for message in messages + [{'role': 'end'}] -%}
    {%- set as_parts = message.content is defined and message.content is not string -%}
    {%- if message.role == 'system' -%}
        {%- set text = message.content | map(attribute='text') | join if as_parts else message.content -%}
        {%- set folded.system = [folded.system, text] | select | join('\\n\\n') -%}
        {%- set folded.own = [{'type': 'text', 'text': folded.system}] if as_parts else folded.system -%}
    {%- elif not folded.system -%}
        {%- set folded.messages = folded.messages + [message] -%}
    {%- elif message.role == 'user' -%}
        {%- set before = folded.system + '\\n\\n' -%}
        {%- set content = ([{'type': 'text', 'text': before}] if as_parts else before) + message.content -%}
        {%- set folded.messages = folded.messages + [dict(message, content=content)] -%}
        {%- set folded.system = '' -%}
    {%- elif folded.messages and folded.messages[-1].role == 'user' -%}
        {%- set content = folded.messages[-1].content -%}
        {%- set after = '\\n\\n' + folded.system -%}
        {%- set content = content + (after if content is string else [{'type': 'text', 'text': after}]) -%}
        {%- set folded.messages = folded.messages[:-1] + [dict(folded.messages[-1], content=content), message] -%}
        {%- set folded.system = '' -%}
    {%- else -%}
        {%- set folded.messages = folded.messages + [{'role': 'user', 'content': folded.own}, message] -%}
        {%- set folded.system = '' -%}
    {%- endif -%}
{%- endfor -%}
{%- set messages = folded.messages[:-1] -%}
"""

# transformers hands over None for what there is not. Some templates ask whether it is defined, or go through it without asking.
NOT_DEFINED = "{%- set NAME = NAME or nothing_of_the_kind -%}\n"
MAY_BE_NONE = ("tools", "documents")


def make_template(template: str, params: BaseModelParams) -> str:
    """
    Raises:
        ReprotuneError: the template writes something else each time.
    """
    if found := BY_CHANCE.search(template):
        raise ReprotuneError(
            f"base_model: the chat template has `{found[0].strip()}`, so that it writes another text each time; give one without "
            "it in base_model.chat_template"
        )
    variables = "".join(
        f"{{%- set {name} = {_jinja_literal(value)} %}}" for name, value in sorted(params.template_variables.items())
    )
    clock = freeze_clock(params.template_date) if CLOCK in template else ""
    return variables + clock + (IN_QUESTION if params.system_messages == "in_question" else "") + template


def fit_to_none(tokenizer: "PreTrainedTokenizerBase", template: str) -> str:
    """The template, as it is where it renders a conversation without tools as if there were none; else with a line before it that
    makes them undefined where there are none, if that is what it asks for: it then renders what it refused, or less than it did.
    """
    defined = "".join(NOT_DEFINED.replace("NAME", name) for name in MAY_BE_NONE if re.search(rf"\b{name}\b", template))
    if not defined:
        return template
    as_it_is, with_lines = (_size_of_probe(tokenizer, text) for text in (template, defined + template))
    return defined + template if with_lines < as_it_is else template


def _size_of_probe(tokenizer: "PreTrainedTokenizerBase", template: str) -> float:
    """Characters of a rendered question and reply; infinity where the template can't render them."""
    tokenizer.chat_template = template
    try:
        return len(render(tokenizer, [ASKED, REPLY], None, add_generation_prompt=False))
    except TemplateMisfit:
        return math.inf


def freeze_clock(day: str) -> str:
    """A macro in the place of transformers' function: the midnight at which `day`, as ISO 8601 writes it, begins."""
    midnight = datetime.fromisoformat(day)
    values = {"%%": "\0", **{directive: midnight.strftime(directive) for directive in DIRECTIVES}, "\0": "%"}
    return FROZEN_CLOCK.replace("DIRECTIVES", json.dumps(values))


def _jinja_literal(value: TemplateValue) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
