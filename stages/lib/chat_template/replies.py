"""What a model's reply is: the text after its thoughts, if it has some, without the marks that the template puts around both."""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from stages.lib.chat_template.continuation import continue_prompt
from stages.lib.chat_template.forms import CLOSED, probe_of
from stages.lib.chat_template.rendering import TemplateMisfit, render, special_tokens, specials_pattern
from stages.lib.chat_template.stops import ending_of, shared_end

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Said(NamedTuple):
    """`text`: the reply, which is what is read, compared and scored. Empty if the model is still thinking when it is cut off.

    Special tokens inside it are the model's fault: they stay to be seen.
    """

    text: str
    thoughts: str


class Marks(NamedTuple):
    """Around thoughts and reply: `before` thoughts, `after` them, `reply` at the end of both, with thoughts or without."""

    before: str
    after: str
    reply: str


USUAL = Marks("<think>", "", CLOSED)
MARKS: dict[tuple[str, tuple[str, ...]], Marks] = {}


def what_is_said(tokenizer: "PreTrainedTokenizerBase", ids: Sequence[int]) -> Said:
    """`ids`: what the model wrote, without the token that stopped it."""
    ids = list(ids)
    written = str(tokenizer.decode(ids))
    specials = special_tokens(tokenizer)
    before, after, mark = marks_of(tokenizer, specials)
    thoughts, found, text = written.rpartition(mark)
    thinking = not found and written.lstrip().startswith(before) and (before or mark)
    if not found and not thinking:
        return Said(_without_marks(written.removeprefix(_lead_of(tokenizer, specials)), specials), "")
    if thinking:
        thoughts, text = written, ""
    thoughts = thoughts.lstrip().removeprefix(before).rstrip().removesuffix(after)
    return Said(_without_marks(text, specials), specials_pattern(specials).sub("", thoughts).strip())


def _lead_of(tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int]) -> str:
    """What the template puts before any reply, after the generation prompt."""
    try:
        return ending_of(tokenizer, specials).lead
    except TemplateMisfit:
        return ""


def _without_marks(text: str, specials: Iterable[str]) -> str:
    """Without the special tokens around it, which are the template's."""
    mark = rf"(?:\s*(?:{specials_pattern(specials).pattern}))+"
    return re.sub(rf"^{mark}|{mark}\s*$", "", text).strip()


def marks_of(tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int]) -> Marks:
    """By a reply without thoughts and one with: found once a template. `<think>` where it knows none."""
    key = (str(tokenizer.get_chat_template()), tuple(specials))
    if key not in MARKS:
        try:
            MARKS[key] = _find_marks(tokenizer, ending_of(tokenizer, specials).lead, specials)
        except TemplateMisfit:
            MARKS[key] = USUAL
    return MARKS[key]


def _find_marks(tokenizer: "PreTrainedTokenizerBase", lead: str, specials: Iterable[str]) -> Marks:
    """`lead`: what the template puts before a reply without thoughts.

    Raises:
        TemplateMisfit: the template knows no thoughts.
    """
    messages, _ = probe_of(uses_tools=False, has_thoughts=True)
    asked, reply = messages
    prompt = render(tokenizer, [asked], None, add_generation_prompt=True)
    whole = continue_prompt(prompt, render(tokenizer, messages, None, add_generation_prompt=False), messages, specials)
    before, _, rest = whole[len(prompt) :].partition(reply["reasoning_content"])
    after = rest.partition(reply["content"])[0]
    mark = shared_end(lead, after).strip() or after.strip()
    if not mark:
        return USUAL
    return Marks(before.strip(), after.strip().removesuffix(mark).strip(), mark)
