"""What a message says under its content: text, thoughts, calls of tools and their results, whatever parts it is made of."""

import re
from decimal import Decimal
from typing import NamedTuple

from stages.collect.rows import plain_text
from stages.collect.tool_use import json_text, make_call, make_result
from stages.collect.values import from_json, shorten, show
from stages.collect.vercel import find_invocation
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message, ToolCall

# Runs of one sentence, as Telegram exports it; parts of any other type are paragraphs.
INLINE = frozenset([
    "plain", "bold", "italic", "underline", "strikethrough", "link", "text_link", "mention", "mention_name", "hashtag", "cashtag",
    "bot_command", "email", "phone", "code", "pre", "blockquote", "spoiler", "custom_emoji", "bank_card", "unknown",
])  # fmt: skip
TEXT_KEYS = ("text", "value", "content", "refusal")
THOUGHT_KEYS = ("thinking", "reasoning", "thought")
THOUGHTS = frozenset([*THOUGHT_KEYS, "thoughts", "think"])  # in a type
CALL_KEYS = ("toolUse", "functionCall", "function_call")
CALL_TYPES = ("tool_use", "tool-call", "tool_call", "function_call")
RESULT_TYPES = ("tool_result", "tool-result", "tool_call_response", "tool-return")  # these two: OpenTelemetry's, Pydantic AI's
KINDS = ("type", "part_kind")  # of a part; the second is Pydantic AI's
RESULT_KEYS = ("toolResult", "functionResponse", "function_response")
SAY_NOTHING = ("step-start", "source", "source-url")  # types of parts, Vercel's: the model is called; a page that a text cites
MEDIA = frozenset(["image", "audio", "video", "picture", "photo", "voice", "sticker", "file", "document", "media"])  # in a type
MEDIA_KEYS = frozenset(["image", "image_url", "audio", "input_audio", "video", "video_url", "file", "document", "inlineData"])
THOUGHTS_FIRST = re.compile(r"\s*(?:<(think|thinking)>)?(.*?)</(think|thinking)>\s*(.*)", re.DOTALL)


class Content(NamedTuple):
    text: str = ""
    thoughts: str = ""
    calls: tuple[ToolCall, ...] = ()
    results: tuple[Message, ...] = ()


def read_content(value: object) -> Content | None:
    """None where there is none.

    >>> read_content([{"type": "text", "text": "a"}, {"text": "b"}]).text
    'a\\nb'
    >>> read_content(["See ", {"type": "bold", "text": "shelf 1"}, "."]).text
    'See shelf 1.'
    """
    if isinstance(value, str):
        return Content(value)
    if isinstance(value, (int, float, Decimal)):  # true and false too; NaN, which pandas writes for nothing, is none
        return Content(plain_text(value)) if value == value else None  # noqa: PLR0124
    if isinstance(value, dict) and value:
        value = [value]
    if not isinstance(value, list):
        return None
    value = _without_silent(value)
    parts = list(map(_read_part, value))
    texts = [part.text for part in parts if part.text or not (part.thoughts or part.calls or part.results)]
    inline = any(isinstance(part, dict) and _kind_of(part) in INLINE for part in value)
    return Content(
        ("" if inline else "\n").join(texts),
        "\n".join(part.thoughts for part in parts if part.thoughts),
        tuple(call for part in parts for call in part.calls),
        tuple(result for part in parts for result in part.results),
    )


def part_thoughts(text: str) -> tuple[str, str]:
    """(the thoughts that a reply begins with between <think> and </think>, what follows them).

    A reply that goes on from an opened <think>, which its prompt held, has its end alone.

    >>> part_thoughts("<think>\\n2+2 is 4.\\n</think>\\n\\n4."), part_thoughts("a <think> b </think>")
    (('2+2 is 4.', '4.'), ('', 'a <think> b </think>'))
    """
    found = THOUGHTS_FIRST.fullmatch(text) if "</think" in text else None
    if not found or found[1] not in (None, found[3]) or (found[1] is None and "<think" in text):
        return "", text
    return found[2].strip(), found[4]


def _kind_of(part: dict[str, object]) -> str:
    return next((kind for key in KINDS if isinstance(kind := part.get(key), str)), "")


def _without_silent(parts: list[object]) -> list[object]:
    return [part for part in parts if not (isinstance(part, dict) and _kind_of(part) in SAY_NOTHING)]


def _words_of(kind: str) -> list[str]:
    return re.split("[_-]", kind.lower())


def _read_part(part: object) -> Content:
    if isinstance(part, str):
        return Content(part)
    if not isinstance(part, dict):
        raise ReprotuneError(f"a part of type {show(part)}; only text can be read")
    kind = _kind_of(part)
    present = {key: value for key, value in part.items() if value not in (None, "", [], {})}
    if not MEDIA.isdisjoint(_words_of(kind)) or not MEDIA_KEYS.isdisjoint(present):
        raise ReprotuneError(f"a part of type {shorten(kind or show(part))}; only text can be read")
    if "system" in _words_of(kind):
        raise ReprotuneError(f"a part of type {shorten(kind)}; put it into a message of its own, of the role system")
    read = _read_tool_part(kind, present) or _read_thoughts(kind, present) or _read_text(part)
    if read is None:
        raise ReprotuneError(f"a part of type {shorten(kind or show(part))}; only text can be read")
    return read


def _read_tool_part(kind: str, part: dict[str, object]) -> Content | None:
    """Anthropic's, Bedrock's, Gemini's and Vercel's."""
    if (both := find_invocation(part)) and isinstance(both.name, str):
        result = (make_result(result_text(both.result), both.name, both.id),) if both.returned else ()
        return Content(calls=(make_call(both.name, both.arguments, both.id),), results=result)
    call = next((part[key] for key in CALL_KEYS if key in part), part if kind in CALL_TYPES else None)
    if isinstance(call, dict):
        name = _name_of(call)
        arguments = next((call[key] for key in ("input", "args", "arguments") if key in call), None)
        if not isinstance(name, str):
            raise ReprotuneError(f"a tool call is {show(call)}; expected a function's name and its arguments")
        return Content(calls=(make_call(name, arguments, _id_of(call)),))
    came = next((part[key] for key in RESULT_KEYS if key in part), part if kind in RESULT_TYPES else None)
    if isinstance(came, dict):
        content = next((came[key] for key in ("content", "response", "result", "output") if key in came), "")
        name = _name_of(came)
        return Content(results=(make_result(result_text(content), name, _id_of(came)),))
    return None


def _name_of(value: dict[str, object]) -> object:
    return next((value[key] for key in ("name", "toolName", "tool_name") if value.get(key)), None)


def _id_of(value: dict[str, object]) -> object:
    return next(
        (value[key] for key in ("id", "tool_use_id", "toolUseId", "toolCallId", "tool_call_id", "call_id") if value.get(key)),
        None,
    )


def holds_results(content: object) -> bool:
    """Whether it is parts, all of them results that say whose they are."""
    parts = content if isinstance(content, list) else [content]
    return bool(parts) and all(isinstance(part, dict) and _kind_of(part) in RESULT_TYPES for part in parts)


def steps_of(content: object) -> list[object]:
    """A reply's parts, cut behind each of its results: what follows them was said knowing them. Any other content whole.

    >>> steps_of([{"type": "tool_use", "name": "f"}, {"type": "tool_result", "content": "1"}, {"type": "text", "text": "One."}])
    [[{'type': 'tool_use', 'name': 'f'}, {'type': 'tool_result', 'content': '1'}], [{'type': 'text', 'text': 'One.'}]]
    """
    if not isinstance(content, list):
        return [content]
    steps: list[object] = []
    step: list[object] = []
    for part in _without_silent(content):
        if step and _is_result(step[-1]) and not _is_result(part):
            steps.append(step)
            step = []
        step.append(part)
    return [*steps, step]


def _is_result(part: object) -> bool:
    return isinstance(part, dict) and bool(_read_part(part).results)


def result_text(content: object) -> str:
    """What a tool returned: a text, texts in parts, or anything else as JSON."""
    if isinstance(content, str):
        return content
    if isinstance(content, list) and content and all(isinstance(part, dict) for part in content):
        if all(set(part) == {"json"} for part in content):
            return "\n".join(json_text(part["json"]) for part in content)
        if all(any(isinstance(part.get(key), str) for key in ("text", "value")) for part in content):
            return "\n".join(_read_part(part).text for part in content)
    return "" if content is None else json_text(content)


def _read_thoughts(kind: str, part: dict[str, object]) -> Content | None:
    deeper = part.get("reasoningContent")
    if isinstance(deeper, dict) and isinstance(text := deeper.get("reasoningText"), dict):  # Bedrock's
        part, kind = text, "reasoning"
    if THOUGHTS.isdisjoint(_words_of(kind)) and part.get("thought") is not True:  # Gemini's text that is a thought
        return None
    thoughts = next((part[key] for key in (*THOUGHT_KEYS, "text", "content") if isinstance(part.get(key), (str, list))), None)
    if isinstance(thoughts, list):  # Mistral's texts
        return Content(thoughts="\n".join(_read_part(one).text for one in thoughts))
    return Content(thoughts=str(thoughts)) if thoughts is not None else None


def _read_text(part: dict[str, object]) -> Content | None:
    for key in TEXT_KEYS:
        value = part.get(key)
        if isinstance(value, dict):  # {"text": {"value": ..., "annotations": []}}; FastGPT's and Freshchat's have content
            value = next((value[key] for key in ("value", "content") if isinstance(value.get(key), str)), value)
        if key == "content" and "type" not in part:  # Feishu's is JSON
            inner = from_json(value)
            value = inner["text"] if isinstance(inner, dict) and inner.keys() == {"text"} else value
        if isinstance(value, str):
            return Content(value)
    return None
