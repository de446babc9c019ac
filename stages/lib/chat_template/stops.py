"""What ends a reply: the token that the template writes after it when another turn follows.

Not what it writes at the very end of the text alone (an end of sequence, the next reply's header), since between turns the
model never sees that. Which token of several it is, the model itself may say: the tokens that end its generation. Some models
have no other end than the next turn's header, whose first token is then the last label.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from stages.lib.chat_template.continuation import continue_prompt
from stages.lib.chat_template.forms import probe_of, to_form
from stages.lib.chat_template.rendering import (
    GENERATION_STOPS,
    FormMisfit,
    TemplateMisfit,
    apply,
    form_of,
    render,
    special_tokens,
    specials_pattern,
)
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASKED: Message = {"role": "user", "content": "probe_question"}
REPLY: Message = {"role": "assistant", "content": "probe_reply"}
THEN: Message = {"role": "user", "content": "probe_more"}

GENERATION = "generation_config.json"
ADD_STOP = "write {{ eos_token }} after the assistant's text in base_model.chat_template"

NOT_NAMED = f"which {GENERATION} does not name in eos_token_id"


class Ending(NamedTuple):
    """How the template goes on after a prompt: `lead` before the reply's text, and `stop`, the special token that ends it.

    `appended`: what a conversation's end lacks up to and with the stop, since the template writes it with the next turn only.
    `dropped`: what it writes at a conversation's end in place of that.
    """

    lead: str
    stop: str
    appended: str = ""
    dropped: str = ""

    def end(self, rendered: str) -> str:
        """The rendered conversation, its last reply ended as when another turn follows."""
        return rendered.removesuffix(self.dropped) + self.appended


ENDINGS: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Ending | str] = {}  # or why there is none
APPENDED_TO_CALLS: dict[tuple[str, tuple[str, ...], tuple[int, ...]], str] = {}


def note_stops(tokenizer: "PreTrainedTokenizerBase", ids: Iterable[int]) -> None:
    """Remember the tokens that end the model's generation, as its generation config says."""
    setattr(tokenizer, GENERATION_STOPS, sorted(set(ids)))


def known_stops(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """By the generation config and the tokenizer."""
    eos = tokenizer.eos_token_id
    return {*getattr(tokenizer, GENERATION_STOPS, ()), *([eos] if isinstance(eos, int) else [])}


def stop_token_ids(tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """All tokens that end a reply when a model generates.

    Raises:
        ReprotuneError: the template ends none.
    """
    return {stop_token_id(tokenizer), *known_stops(tokenizer)}


def stop_token_id(tokenizer: "PreTrainedTokenizerBase", folder: Path | None = None) -> int:
    """The token that ends an assistant turn: the last label of any reply.

    `folder`: of a model whose files are the user's own, to change.

    Raises:
        ReprotuneError: there is none.
    """
    try:
        return special_tokens(tokenizer)[ending_of(tokenizer, special_tokens(tokenizer)).stop]
    except TemplateMisfit as misfit:
        missing = re.search(r"'(\w+)' is undefined", str(misfit))
        is_called = missing and re.search(rf"\b{missing[1]}\s*\(", str(tokenizer.get_chat_template()))
        set_it = "set it in base_model.template_variables, or " if missing and not is_called else ""
        way_out = "" if "base_model." in str(misfit) else f"; {set_it}give another one in base_model.chat_template"
        if folder and NOT_NAMED in str(misfit):
            way_out += f", or name it in eos_token_id of {folder / GENERATION}"
        raise ReprotuneError(f"base_model: the chat template does not fit: {misfit}{way_out}") from None


def check_template(tokenizer: "PreTrainedTokenizerBase", folder: Path | None = None) -> None:
    """`folder`: as for `stop_token_id`.

    Raises:
        ReprotuneError: it can train no reply at all, whatever the conversation.
    """
    stop_token_id(tokenizer, folder)


def ending_of(tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int]) -> Ending:
    """
    Raises:
        TemplateMisfit: no reply can be learned with this template.
    """
    known = known_stops(tokenizer)
    stops = tuple(token for token, id in specials.items() if id in known)
    key = (str(tokenizer.get_chat_template()), tuple(specials), stops)
    if key not in ENDINGS:
        try:
            ENDINGS[key] = _check_lead(_find_ending(tokenizer, specials, stops), specials, stops)
        except FormMisfit:
            raise
        except TemplateMisfit as misfit:
            ENDINGS[key] = str(misfit)
    found = ENDINGS[key]
    if isinstance(found, str):
        raise TemplateMisfit(found)
    return found


def _find_ending(tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int], known: Sequence[str]) -> Ending:
    prompt = render(tokenizer, [ASKED], None, add_generation_prompt=True)
    bare = render(tokenizer, [ASKED], None, add_generation_prompt=False)
    whole = continue_prompt(
        prompt, render(tokenizer, [ASKED, REPLY], None, add_generation_prompt=False), [ASKED, REPLY], specials
    )
    check_prefix(prompt, whole)
    lead, _, at_end = whole[len(prompt) :].partition(REPLY["content"])
    try:
        between = render(tokenizer, [ASKED, REPLY, THEN], None, add_generation_prompt=True)
        between = between.rpartition(REPLY["content"])[2].partition(THEN["content"])[0]
    except TemplateMisfit:
        between = at_end  # a template of one turn
    if prompt == bare and re.search(r"\w", lead) and between.startswith(at_end):
        raise TemplateMisfit(
            f"the template writes no generation prompt, so that the model would have to write {lead!r} itself; append "
            f"{{% if add_generation_prompt %}}{{{{ {lead!r} }}}}{{% endif %}} to it in base_model.chat_template"
        )
    special = specials_pattern(specials)
    header = shared_end(prompt, at_end) if bare == prompt else ""
    if stop := _choose(special.findall(_shared_beginning(special, at_end, between)), known):
        return Ending(lead, stop)
    if stop := _choose(special.findall(at_end.removesuffix(header)), known):
        marks = list(special.finditer(between))
        if len(marks) > 1 and marks[0][0] in known:  # OLMo 3 writes one token between turns, and another one at the end
            return Ending(lead, marks[0][0], between[: marks[0].end()], dropped=at_end)
        return Ending(lead, stop)
    if (following := special.search(between)) and following[0] in known:
        return Ending(lead, following[0], between[: following.end()])
    if following:
        raise TemplateMisfit(
            f"the template ends a reply with nothing but the next turn's {following[0]}, {NOT_NAMED}, so that the model would "
            f"never stop; {ADD_STOP}"
        )
    raise TemplateMisfit(f"the template ends a reply without a special token, so that the model would never stop; {ADD_STOP}")


def _check_lead(ending: Ending, specials: dict[str, int], known: Sequence[str]) -> Ending:
    """
    Raises:
        TemplateMisfit: a generation would end before each reply's text.
    """
    for token in specials_pattern(specials).findall(ending.lead):
        if token == ending.stop or token in known:
            raise TemplateMisfit(f"the template writes {token}, which ends a generation, before the text of each reply")
    return ending


def check_prefix(prompt: str, whole: str) -> None:
    """
    Raises:
        TemplateMisfit: the conversation does not begin with the prompt of its last reply.
    """
    if whole.startswith(prompt):
        return
    same = len(shared_end(prompt[::-1], whole[::-1]))
    raise TemplateMisfit(
        f"the rendered conversation does not begin with its generation prompt: it goes on with {whole[same : same + 20]!r} where "
        f"the prompt has {prompt[same : same + 20]!r}; base_model.template_variables or a base_model.chat_template can make "
        "them alike"
    )


def appended_to_calls(tokenizer: "PreTrainedTokenizerBase", specials: dict[str, int]) -> str:
    """What a call at the conversation's end lacks up to and with the stop, which the template writes with the result only."""
    key = (str(tokenizer.get_chat_template()), tuple(specials), tuple(sorted(known_stops(tokenizer))))
    if key not in APPENDED_TO_CALLS:
        messages, tools = probe_of(uses_tools=True, has_thoughts=False)
        given = to_form(messages, form_of(tokenizer, uses_tools=True, has_thoughts=False))
        call, result = (apply(tokenizer, given[:end], tools, add_generation_prompt=False) for end in (2, 3))
        following = specials_pattern(specials).search(rest := result[len(call) :])
        known = following and specials[following[0]] in known_stops(tokenizer) and result.startswith(call)
        APPENDED_TO_CALLS[key] = rest[: following.end()] if following and known else ""
    return APPENDED_TO_CALLS[key]


def _choose(found: Sequence[str], known: Sequence[str]) -> str | None:
    """The first that the model names as a stop, else the first."""
    return next((token for token in found if token in known), next(iter(found), None))


def _shared_beginning(special: re.Pattern[str], one: str, other: str) -> str:
    """What two texts begin with alike, up to and with the last special token in it."""
    end = 0
    for a, b in zip(special.finditer(one), special.finditer(other), strict=False):
        if one[: a.end()] != other[: b.end()]:
            break
        end = a.end()
    return one[:end]


def shared_end(one: str, other: str) -> str:
    """
    >>> shared_end("an end", "the end")
    ' end'
    """
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(reversed(one), reversed(other), strict=False))
    return "".join(a for a, _ in alike)[::-1]
