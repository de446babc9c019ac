"""Arguments and results of tools: masked inside the JSON that they are, of which nothing else changes."""

import json
import re
from collections.abc import Sequence

from stages.clean.steps import Step, clean_text

TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[{}\[\]]', re.DOTALL)
IS_KEY = re.compile(r"\s*:")
SURROGATE = re.compile("[\ud800-\udfff]")


def clean_structured(text: str, steps: Sequence[Step]) -> tuple[str, set[str]]:
    """The text after the steps, and the names of those that changed it. In JSON only those that mask, on texts and whole numbers;
    all else stays as it is written: spaces, escapes, the digits of other numbers.

    >>> from stages.clean.steps import mask
    >>> clean_structured('{"to": "ann@firm.io", "price": 1.10}', [mask("email")])
    ('{"to": "[EMAIL]", "price": 1.10}', {'email'})
    """
    if text.lstrip()[:1] not in ("{", "["):
        return clean_text(text, steps)
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return clean_text(text, steps)
    masks = [step for step in steps if step.masks]
    changed_by: set[str] = set()
    pieces: list[str] = []
    keys: list[set[str]] = []  # of the objects that are open
    end = 0
    for token in TOKEN.finditer(text):
        said, stands = token[0], token[0]
        if said in ("{", "["):
            keys.append(set())
        elif said in ("}", "]"):
            keys.pop()
        else:
            is_key = said[0] == '"' and IS_KEY.match(text, token.end()) is not None
            stands = _clean_scalar(said, masks, changed_by, keys[-1] if is_key else None)
        pieces += (text[end : token.start()], stands)
        end = token.end()
    return "".join([*pieces, text[end:]]), changed_by


def _clean_scalar(said: str, steps: Sequence[Step], changed_by: set[str], keys: set[str] | None) -> str:
    """A text or a number as JSON, masked. `keys`: those before it, if it is one: two addresses, say, look alike then."""
    value = json.loads(said) if said[0] == '"' else said
    cleaned, names = clean_text(value, steps) if said[0] == '"' or said.lstrip("-").isdigit() else (value, set())
    if keys is not None:
        while names and cleaned in keys:
            cleaned += "_"
        keys.add(cleaned)
    if not names:
        return said
    changed_by |= names
    written = json.dumps(cleaned, ensure_ascii=False)
    return json.dumps(cleaned) if SURROGATE.search(written) else written
