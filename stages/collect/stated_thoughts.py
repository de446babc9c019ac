"""What a model thought, from a key of its own beside the reply."""

TEXT_KEYS = ("content", "text", "thinking")
PART_KEYS = ("content", "summary")  # the second as OpenAI's Responses API has it


def stated_thoughts(value: object) -> str | None:
    """A text, one in an object (LobeChat's), or several in parts; None where it is something else, such as settings.

    >>> stated_thoughts({"content": "2+2 is 4.", "duration": 12})
    '2+2 is 4.'
    >>> stated_thoughts({"summary": [{"type": "summary_text", "text": "2+2"}, {"type": "summary_text", "text": "is 4."}]})
    '2+2\\nis 4.'
    >>> stated_thoughts({"effort": "high", "summary": "auto"})
    """
    parts = value if isinstance(value, list) else None
    if isinstance(value, dict):
        parts = next((value[key] for key in PART_KEYS if isinstance(value.get(key), list)), None)
    if parts is None:
        return _text_of(value)
    texts = [text for text in map(_text_of, parts) if text is not None]
    return "\n".join(texts) if texts and len(texts) == len(parts) else None


def _text_of(value: object) -> str | None:
    if isinstance(value, dict):
        return next((value[key] for key in TEXT_KEYS if isinstance(value.get(key), str)), None)
    return value if isinstance(value, str) else None
