"""The record that travels from the raw row to the metric, and its JSONL files.

    {"id": "support/41", "label": "billing", "language": "en", "group": null,
     "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Messages are OpenAI's chat format. Files are UTF-8, LF, keys sorted, rows sorted by id: the same rows are the same bytes.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import orjson
from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from stages.lib.core.files import read_jsonl, read_lines, to_line

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


AS_WRITTEN = ConfigDict(strict=True, extra="forbid")  # for what validates a file that people may have edited


@with_config(AS_WRITTEN)
class Function(TypedDict):
    """`arguments`: JSON text, as OpenAI's are: an object's keys keep their order, and its numbers all their digits."""

    name: str
    arguments: str


@with_config(AS_WRITTEN)
class ToolCall(TypedDict):
    id: NotRequired[str]
    type: Literal["function"]
    function: Function


@with_config(AS_WRITTEN)
class Message(TypedDict):
    """`name`, `tool_call_id`: of a tool's result, whose it is. `reasoning_content`: thoughts before a reply.

    `weight` 0: an assistant message that is context, and no text to learn from.
    """

    role: Role
    content: str
    name: NotRequired[str]
    tool_calls: NotRequired[list[ToolCall]]
    tool_call_id: NotRequired[str]
    reasoning_content: NotRequired[str]
    weight: NotRequired[Literal[0]]


Tool = dict[str, Any]  # a function's JSON schema, as OpenAI wraps it: {"type": "function", "function": {"name": ..., ...}}


@with_config(AS_WRITTEN)
class Conversation(TypedDict):
    """`label`: topic or class, a stratum of the split. `language`: BCP 47 code, `und` if unknown.

    `group`: rows that share one stay in the same split (a customer, a ticket). `rejected`: conversations that were not preferred
    to this one, each whole; never trained on. `tools`: what the assistant could call.
    """

    id: str
    label: str | None
    language: str
    group: str | None
    messages: Annotated[list[Message], Field(min_length=1)]
    rejected: NotRequired[list[list[Message]]]
    tools: NotRequired[list[Tool]]


def is_trained(message: Message) -> bool:
    """Whether the message is one to learn to write."""
    return message["role"] == "assistant" and message.get("weight") != 0


def trained_positions(messages: Sequence[Message]) -> list[int]:
    """Where the messages stand that are to be learned; the last one is the reference that replies are compared with."""
    return [position for position, message in enumerate(messages) if is_trained(message)]


def uses_tool(message: Message) -> bool:
    """Whether it is a call of a tool, or what one returned."""
    return message["role"] == "tool" or "tool_calls" in message


def reply_text(message: Message) -> str:
    """What a message says, its calls of tools written out: their texts count as its own."""
    if "tool_calls" not in message:
        return message["content"]
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls", [])]
    return "\n".join(filter(None, [message["content"], *calls]))


def normalize(text: str) -> str:
    """The text with case, width and white space set aside: what two texts share when a reader calls them the same."""
    if text.isascii():  # most of it, and none of its characters has another form
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def read_conversations(path: Path) -> list[Conversation]:
    return read_jsonl(path)


class ConversationFile:
    """A file's conversations, read anew each time that one goes through them: one at a time in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Conversation]:
        return map(orjson.loads, read_lines(self.path))

    def __len__(self) -> int:
        return sum(1 for _ in read_lines(self.path))


def conversation_line(conversation: Conversation) -> bytes:
    """As `to_line`, but that tools keep the order of their keys: a chat template writes them out as they stand."""
    if "tools" not in conversation:
        return to_line(conversation)
    return to_line({**conversation, "tools": orjson.Fragment(orjson.dumps(conversation["tools"]))})


def conversations_of(split: Split) -> Path:
    return Path("data/split") / f"{split}.jsonl"
