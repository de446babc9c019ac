"""Arguments and results of tools: masked inside the JSON that they are, which stays JSON."""

import json
import re
from collections.abc import Sequence

from stages.clean.steps import Step, clean_text

SURROGATE = re.compile("[\ud800-\udfff]")


def clean_structured(text: str, steps: Sequence[Step]) -> tuple[str, set[str]]:
    """The text after the steps, and the names of those that changed it. In JSON only those that mask, on texts and numbers.

    >>> from stages.clean.steps import mask
    >>> clean_structured('{"to": "ann@firm.io", "copies": 2}', [mask("email")])
    ('{"to": "[EMAIL]", "copies": 2}', {'email'})
    """
    try:
        value = json.loads(text) if text.lstrip()[:1] in ("{", "[") else None
        if value is None:
            return clean_text(text, steps)
        changed_by: set[str] = set()
        cleaned = _clean(value, [step for step in steps if step.masks], changed_by)
        return _as_json(cleaned) if changed_by else text, changed_by
    except (ValueError, RecursionError):
        return clean_text(text, steps)


def _as_json(value: object) -> str:
    """Half of a surrogate pair, as of a text that was cut within an emoji, can stand in JSON as an escape alone."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if SURROGATE.search(text) else text


def _clean(value: object, steps: Sequence[Step], changed_by: set[str]) -> object:
    if isinstance(value, dict):
        made: dict[str, object] = {}
        for key, inner in value.items():
            masked = str(_clean(key, steps, changed_by))
            while masked in made:  # two addresses, say, which look alike now
                masked += "_"
            made[masked] = _clean(inner, steps, changed_by)
        return made
    if isinstance(value, list):
        return [_clean(inner, steps, changed_by) for inner in value]
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        cleaned, names = clean_text(str(value), steps)
        changed_by |= names
        return cleaned if names else value
    return value
