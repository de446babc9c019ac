"""ChatGPT's export keeps a conversation as a tree, a node for each message and each time that one was asked again -> a list.

Of a reply that was asked for again, that stays which was shown last.
"""

import re
from collections.abc import Iterator, Mapping

from stages.collect.values import from_json

CURRENT = "current_node"
HIDDEN = "is_visually_hidden_from_conversation"  # the system's prompt, the user's settings: nobody saw them there
SETTINGS = ("user_editable_context", "model_editable_context", "reasoning_recap")  # types of content that are no words of a talk
# Parts of what was spoken: the words, and the recording.
TRANSCRIBED, SPOKEN = "audio_transcription", ("audio_asset_pointer", "real_time_user_audio_video_asset_pointer")
CITED = re.compile("\ue200(?:file)?cite[^\ue201]*\ue201")  # what is shown as a link to a source
TEXTS = ("text", "result", "content")  # where a content without parts has it
EVERYBODY = "all"  # who a message is for; anybody else is a tool


def is_tree(value: object) -> bool:
    """Whether it maps names to nodes that know their parents.

    >>> is_tree({"a": {"parent": None, "children": ["b"]}, "b": {"parent": "a", "children": []}}), is_tree({"a": 1})
    (True, False)
    """
    nodes = list(value.values()) if isinstance(value, dict) else []
    return bool(nodes) and all(isinstance(node, dict) and {"parent", "children"} <= node.keys() for node in nodes)


def without_trees(values: dict[str, object]) -> dict[str, object]:
    """The row with a list of messages where it has a tree of them; anything else as it is.

    >>> root, asked = {"parent": None, "children": ["b"]}, {"author": {"role": "user"}, "content": {"parts": ["hi"]}}
    >>> without_trees({"mapping": {"a": root, "b": {"parent": "a", "children": [], "message": asked}}, "current_node": "b"})
    {'mapping': [{'role': 'user', 'content': 'hi'}], 'current_node': 'b'}
    """
    trees = {key: value for key, value in values.items() if isinstance(value, dict) and is_tree(value) and _holds_messages(value)}
    found = {key: _listed(tree, values.get(CURRENT)) for key, tree in trees.items()}
    return values | found if found else values


def _holds_messages(tree: Mapping[str, dict[str, object]]) -> bool:
    messages = [node.get("message") for node in tree.values()]
    known = [isinstance(one, dict) and isinstance(one.get("author"), dict) and "content" in one for one in messages if one]
    return bool(known) and all(known)


def _listed(nodes: Mapping[str, dict[str, object]], current: object) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    thoughts: list[str] = []
    for node in _line_to(nodes, current if isinstance(current, str) and current in nodes else _newest(nodes)):
        message = node.get("message")
        read = _read(message) if isinstance(message, dict) else None
        if read is None:
            continue
        if isinstance(thought := read.get("reasoning_content"), str) and len(read) == 2:
            thoughts.append(thought)
            continue
        if thoughts and read["role"] == "assistant":
            read["reasoning_content"], thoughts = "\n".join(thoughts), []
        messages.append(read)
    return messages


def _newest(nodes: Mapping[str, dict[str, object]]) -> str:
    """The end of the line that goes by the last child at each fork."""
    at = next((name for name, node in nodes.items() if node["parent"] not in nodes), next(iter(nodes)))
    seen = {at}
    while isinstance(below := nodes[at]["children"], list) and (known := [one for one in below if one in nodes]):
        at = known[-1]
        if at in seen:
            break
        seen.add(at)
    return at


def _line_to(nodes: Mapping[str, dict[str, object]], end: str) -> Iterator[dict[str, object]]:
    """From the first node down."""
    line: dict[str, dict[str, object]] = {}
    at: object = end
    while isinstance(at, str) and at in nodes and at not in line:
        line[at] = nodes[at]
        at = nodes[at]["parent"]
    return reversed(line.values())


def _read(message: Mapping[str, object]) -> dict[str, object] | None:
    """As OpenAI's API writes it; thoughts have no content. None where nobody says anything."""
    author, content, metadata = (
        value if isinstance(value := message.get(key), dict) else {} for key in ("author", "content", "metadata")
    )
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
    recipient = message.get("recipient")
    if role == "assistant" and isinstance(recipient, str) and recipient != EVERYBODY:
        arguments = from_json(text)
        if not isinstance(arguments, dict):  # Python's code, say; templates take an object
            arguments = {"code" if kind == "code" else "input": text}
        read |= {"content": "", "tool_calls": [{"type": "function", "function": {"name": recipient, "arguments": arguments}}]}
    elif role == "tool" and author.get("name"):
        read["name"] = author["name"]
    read |= {"weight": 0} if message.get("weight") == 0 else {}
    kept = {"attachments": metadata.get("attachments"), "finish_reason": _end_of(metadata)}
    return read | {key: value for key, value in kept.items() if value}


def _text_of(content: Mapping[str, object]) -> object:
    """A text; its parts where one of them is no text."""
    parts = content.get("parts")
    if not isinstance(parts, list):
        return next((content[key] for key in TEXTS if isinstance(content.get(key), str)), "")
    kinds = [part.get("content_type") if isinstance(part, dict) else None for part in parts]
    read = [
        part.get("text") if kind == TRANSCRIBED else {"type": kind, **part} if kind else part
        for part, kind in zip(parts, kinds, strict=True)
        if kind not in SPOKEN or TRANSCRIBED not in kinds
    ]
    texts = [CITED.sub("", part) for part in read if isinstance(part, str)]
    return "\n".join(filter(None, texts)) if len(texts) == len(read) else read


def _end_of(metadata: Mapping[str, object]) -> object:
    """Why the reply ended, where that is known."""
    details = metadata.get("finish_details")
    return details.get("type") if isinstance(details, dict) else None
