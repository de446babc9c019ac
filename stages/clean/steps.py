"""What is done to each text, in which order, and what switches it on."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from stages.clean.markup import strip_html
from stages.clean.mojibake import fix_gbk_mojibake, fix_unicode
from stages.clean.named_entities import mask_named_entities
from stages.clean.params import CleanParams
from stages.clean.simplified import to_simplified
from stages.clean.spacing import fix_whitespace, remove_control_characters
from stages.clean.urls import mask_urls
from stages.clean.words import remove_stop_words, segment_words
from stages.lib.personal_data.kinds import PERSONAL_DATA, Kind
from stages.lib.personal_data.search import DIGIT

MOST_PASSES = 4


class Step(NamedTuple):
    """`name`: under which the ledger names it in `repaired_by`. `masks`: whether it hides what must not be seen anywhere.
    `of_digits`: whether it finds nothing in a text without one."""

    name: str
    function: Callable[[str], str]
    is_on: Callable[[CleanParams], bool]
    masks: bool = False
    of_digits: bool = False


def mask(kind: Kind) -> Step:
    of_digits = kind not in ("secret", "email")
    return Step(kind, PERSONAL_DATA[kind], lambda params: kind in params.personal_data, masks=True, of_digits=of_digits)


STEPS = (
    Step("unicode", fix_unicode, lambda params: params.unicode),  # first: mojibake holds C1 controls, needed to undo it
    Step("gbk_mojibake", fix_gbk_mojibake, lambda params: params.gbk_mojibake),
    Step("html", strip_html, lambda params: params.html),
    Step("control_characters", remove_control_characters, lambda params: params.control_characters),
    Step("traditional_to_simplified", to_simplified, lambda params: params.traditional_to_simplified),
    Step("urls", mask_urls, lambda params: params.urls == "mask", masks=True),
    *map(mask, PERSONAL_DATA),
    # Here presidio, whose function depends on the params.
    Step("segment_words", segment_words, lambda params: params.segment_words),
    Step("remove_stop_words", remove_stop_words, lambda params: params.remove_stop_words),
    Step("whitespace", fix_whitespace, lambda params: params.whitespace),
)


BEFORE_WORDS = {step.name for step in STEPS} - {"segment_words", "remove_stop_words", "whitespace"}


def steps_switched_on(params: CleanParams) -> list[Step]:
    steps = [step for step in STEPS if step.is_on(params)]
    if params.presidio is None:
        return steps
    after = 1 + max([place for place, step in enumerate(steps) if step.name in BEFORE_WORDS], default=-1)
    function = partial(mask_named_entities, presidio=params.presidio)
    return [*steps[:after], Step("presidio", function, lambda params: params.presidio is not None, masks=True), *steps[after:]]


def clean_text(text: str, steps: Sequence[Step]) -> tuple[str, set[str]]:
    """The text after the steps, and the names of those that changed it.

    The steps are repeated until none finds anything: what one takes out can bring to light what another mends.
    """
    changed_by: set[str] = set()
    for _ in range(MOST_PASSES):
        before = text
        has_digits = bool(DIGIT.search(text))
        for name, function, _, _, of_digits in steps:
            if of_digits and not has_digits:
                continue
            if (stepped := function(text)) != text:
                changed_by.add(name)
                text = stepped
                has_digits = bool(DIGIT.search(text))
        if text == before:
            break
    return text, changed_by
