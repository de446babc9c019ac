"""A message as ChatGPT and DeepSeek export it -> as OpenAI's API writes it."""

import re
from collections.abc import Mapping

from stages.collect.cut_short import UNFINISHED
from stages.collect.values import from_json

HIDDEN = "is_visually_hidden_from_conversation"  # the system's prompt, the user's settings: nobody saw them there
SETTINGS = ("user_editable_context", "model_editable_context", "reasoning_recap")  # types of content that are no words of a talk
# Parts of what was spoken: the words, and the recording.
TRANSCRIBED, SPOKEN = "audio_transcription", ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
# What is shown as a link to a source, as newer and as older models write it, and other things that are no words: a picture, say.
CITED = re.compile(
    "\ue200(?!url\ue202|entity\ue202)[^\ue200\ue201]*\ue201|[\ue203-\ue206]|【\\d+(?::\\d+)?†[^【】]*】"
    r"|:contentReference\[oaicite:\d+\]\{index=\d+\}|\[(?:citation|reference):\d+\]"
)
# What links to one by words, which are shown.
LINKED = re.compile('\ue200(?:url\ue202|entity\ue202\\["[^"\ue200]*", ?")([^\ue200-\ue202"]*)[^\ue200\ue201]*\ue201')
TEXTS = ("text", "result", "content", "output_str")  # where a content without parts has it
FRAGMENTS = "fragments"  # of a message of DeepSeek's
NOTE = "TIP"  # beside a reply: that a machine wrote it
THOUGHT, SAID = "THINK", {"REQUEST": "user", "RESPONSE": "assistant", "TEMPLATE_RESPONSE": "assistant"}  # their types
EVERYBODY = "all"  # who a message is for; anybody else is a tool


def is_exported(message: object) -> bool:
    return isinstance(message, dict) and (
        _is_chatgpts(message) or isinstance(message.get(FRAGMENTS), list) or _is_older_deepseeks(message)
    )


def read_exported(message: Mapping[str, object], turn: str = "assistant") -> dict[str, object] | None:
    """Thoughts by themselves have no content. None where nobody says anything.

    `turn`: the role of who is to speak, where the message does not say it.

    >>> read_exported({"author": {"role": "user"}, "content": {"content_type": "text", "parts": ["hi"]}})
    {'role': 'user', 'content': 'hi'}
    >>> read_exported({"fragments": [{"type": "THINK", "content": "A greeting."}, {"type": "RESPONSE", "content": "hello"}]})
    {'role': 'assistant', 'content': 'hello', 'reasoning_content': 'A greeting.'}
    """
    if _is_chatgpts(message):
        return _read_chatgpts(message)
    return _read_older_deepseeks(message, turn) if _is_older_deepseeks(message) else _read_deepseeks(message)


def _is_chatgpts(message: Mapping[str, object]) -> bool:
    return isinstance(message.get("author"), dict) and "content" in message


def _read_chatgpts(message: Mapping[str, object]) -> dict[str, object] | None:
    author, content, metadata = (
        value if isinstance(value := message.get(key), dict) else {} for key in ("author", "content", "metadata")
    )
    if isinstance(said := message["content"], (str, list)):  # as other programs keep it
        content = {"parts": [said] if isinstance(said, str) else said}
    kind, role = content.get("content_type"), author.get("role")
    if metadata.get(HIDDEN) or kind in SETTINGS:
        return None
    if kind == "thoughts":
        thoughts = content.get("thoughts")
        said = [str(one.get("content") or one.get("summary") or "") for one in thoughts or [] if isinstance(one, dict)]
        return {"role": role, "reasoning_content": "\n".join(filter(None, said))} if any(said) else None
    text = _text_of(content)
    if text in ("", []):
        return None
    read: dict[str, object] = {"role": role, "content": text}
    recipient = message.get("recipient", EVERYBODY)
    if role == "assistant" and message.get("channel") == "analysis" and recipient == EVERYBODY and isinstance(text, str):
        return {"role": role, "reasoning_content": text}
    if role == "assistant" and isinstance(recipient, str) and recipient != EVERYBODY:
        arguments = from_json(text)
        if not isinstance(arguments, dict):  # Python's code, say; templates take an object
            arguments = {"code" if kind == "code" else "input": text}
        read |= {"content": "", "tool_calls": [{"type": "function", "function": {"name": recipient, "arguments": arguments}}]}
    elif role == "tool" and author.get("name"):
        read["name"] = author["name"]
    read |= {"weight": 0} if message.get("weight") == 0 else {}
    ended = "interrupted" if message.get("status") in UNFINISHED else _end_of(metadata)
    kept = {"attachments": metadata.get("attachments"), "finish_reason": ended}
    return read | {key: value for key, value in kept.items() if value}


def _read_deepseeks(message: Mapping[str, object]) -> dict[str, object] | None:
    listed = message.get(FRAGMENTS)
    found = [one for one in listed if isinstance(one, dict) and one.get("content")] if isinstance(listed, list) else []
    fragments = [(str(one.get("type")), str(one["content"])) for one in found if one.get("type") != NOTE]
    if not fragments:
        return None
    thoughts = [text for kind, text in fragments if kind == THOUGHT]
    strange = [{"type": kind} for kind, _ in fragments if kind not in (*SAID, THOUGHT)]
    texts = [CITED.sub("", text) for kind, text in fragments if kind in SAID]
    role = next((SAID[kind] for kind, _ in fragments if kind in SAID), "assistant")
    read: dict[str, object] = {"role": role, "content": strange or "\n\n".join(texts)}
    ended = "" if texts else "interrupted"  # in its thoughts
    kept = {"reasoning_content": "\n\n".join(thoughts), "attachments": message.get("files"), "finish_reason": ended}
    return read | {key: value for key, value in kept.items() if value}


def _is_older_deepseeks(message: Mapping[str, object]) -> bool:
    return isinstance(message.get("content"), str) and "reasoning_content" in message and "role" not in message


def _read_older_deepseeks(message: Mapping[str, object], turn: str) -> dict[str, object] | None:
    """Nothing tells the role but the turn, and that only the assistant thinks."""
    thoughts, text = message["reasoning_content"], CITED.sub("", str(message["content"]))
    if not text and not thoughts:
        return None
    read: dict[str, object] = {"role": "assistant" if thoughts else turn, "content": text}
    kept = {"reasoning_content": thoughts, "attachments": message.get("files"), "finish_reason": "" if text else "interrupted"}
    return read | {key: value for key, value in kept.items() if value}


def _text_of(content: Mapping[str, object]) -> object:
    """A text; its parts where one of them is no text, or the whole where it has a kind and none."""
    parts = content.get("parts")
    if not isinstance(parts, list):
        kind = content.get("content_type")
        strange = [{"type": kind, **content}] if kind and not any(key in content for key in (*TEXTS, "parts")) else ""
        return next((content[key] for key in TEXTS if isinstance(content.get(key), str)), strange)
    parts = [part for part in parts if part is not None]
    kinds = [part.get("content_type") if isinstance(part, dict) else None for part in parts]
    read = [
        part.get("text") if kind == TRANSCRIBED else {"type": kind, **part} if kind else part
        for part, kind in zip(parts, kinds, strict=True)
        if kind not in SPOKEN or TRANSCRIBED not in kinds
    ]
    texts = [CITED.sub("", LINKED.sub(r"\1", part)) for part in read if isinstance(part, str)]
    return "\n".join(filter(None, texts)) if len(texts) == len(read) else read


def _end_of(metadata: Mapping[str, object]) -> object:
    """Why the reply ended, where that is known."""
    details = metadata.get("finish_details")
    return details.get("type") if isinstance(details, dict) else None
