"""What is done to each text, in which order, and what switches it on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stages.clean.markup import strip_html
from stages.clean.mojibake import fix_gbk_mojibake, fix_unicode
from stages.clean.params import CleanParams
from stages.clean.simplified import to_simplified
from stages.clean.spacing import fix_whitespace, remove_control_characters
from stages.clean.urls import mask_urls
from stages.clean.words import remove_stop_words, segment_words
from stages.lib.personal_data.kinds import PERSONAL_DATA, Kind

MOST_PASSES = 4


class Step(NamedTuple):
    """`name`: under which the ledger names it in `repaired_by`. `masks`: whether it hides what must not be seen anywhere."""

    name: str
    function: Callable[[str], str]
    is_on: Callable[[CleanParams], bool]
    masks: bool = False


def mask(kind: Kind) -> Step:
    return Step(kind, PERSONAL_DATA[kind], lambda params: kind in params.personal_data, masks=True)


STEPS = (
    Step("unicode", fix_unicode, lambda params: params.unicode),  # first: mojibake holds C1 controls, needed to undo it
    Step("gbk_mojibake", fix_gbk_mojibake, lambda params: params.gbk_mojibake),
    Step("html", strip_html, lambda params: params.html),
    Step("control_characters", remove_control_characters, lambda params: params.control_characters),
    Step("traditional_to_simplified", to_simplified, lambda params: params.traditional_to_simplified),
    Step("urls", mask_urls, lambda params: params.urls == "mask", masks=True),
    *map(mask, PERSONAL_DATA),
    Step("segment_words", segment_words, lambda params: params.segment_words),
    Step("remove_stop_words", remove_stop_words, lambda params: params.remove_stop_words),
    Step("whitespace", fix_whitespace, lambda params: params.whitespace),
)


def steps_switched_on(params: CleanParams) -> list[Step]:
    return [step for step in STEPS if step.is_on(params)]


def clean_text(text: str, steps: Sequence[Step]) -> tuple[str, set[str]]:
    """The text after the steps, and the names of those that changed it.

    The steps are repeated until none finds anything: what one takes out can bring to light what another mends.
    """
    changed_by: set[str] = set()
    for _ in range(MOST_PASSES):
        before = text
        for step in steps:
            if (stepped := step.function(text)) != text:
                changed_by.add(step.name)
                text = stepped
        if text == before:
            break
    return text, changed_by
