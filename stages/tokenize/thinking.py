"""Which variables let a template think that leaves thoughts out: `enable_thinking` here, `thinking` there, or two together."""

import copy
import json
import re
from collections.abc import Iterator
from itertools import combinations, product
from typing import TYPE_CHECKING

from jinja2 import TemplateError, meta
from transformers.utils.chat_template_utils import _compile_jinja_template as compile_template

from stages.lib.chat_template.rendering import FormMisfit, form_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ABOUT_THOUGHTS = re.compile(r"think|thought|reason", re.IGNORECASE)
SET_AT_TOP = re.compile(r"(?:\{%- set (\w+) = (?:[^%\"]|\"(?:[^\"\\]|\\.)*\")*?-?%\}\n?)*")  # by base_model, for params.yaml
AT_MOST = 2  # at once


def what_lets_it_think(tokenizer: "PreTrainedTokenizerBase", uses_tools: bool) -> dict[str, bool]:
    """What to set at the template's top so that it writes thoughts out; nothing where no yes or no does."""
    template = str(tokenizer.get_chat_template())
    top = SET_AT_TOP.match(template)
    begin = top.end() if top else 0
    for settings in _possible(template, begin):
        lines = "".join(f"{{%- set {name} = {json.dumps(value)} %}}" for name, value in settings.items())
        other = copy.copy(tokenizer)
        other.chat_template = template[:begin] + lines + template[begin:]
        try:
            form_of(other, uses_tools, has_thoughts=True)
        except FormMisfit:
            continue
        return settings
    return {}


def _possible(template: str, begin: int) -> Iterator[dict[str, bool]]:
    """The fewest first."""
    try:
        syntax = compile_template(template).environment.parse(template[begin:])
    except TemplateError:
        return
    names = sorted(filter(ABOUT_THOUGHTS.search, meta.find_undeclared_variables(syntax)))
    for number in range(1, AT_MOST + 1):
        for some in combinations(names, number):
            for values in product((True, False), repeat=number):
                yield dict(zip(some, values, strict=True))
