"""The record that travels from the raw row to the metric, and its JSONL files.

    {"id": "support/41", "label": "billing", "language": "en", "group": null,
     "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Messages are OpenAI's chat format. Files are UTF-8, LF, keys sorted, rows sorted by id: the same rows are the same bytes.
"""

import unicodedata
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic takes typing's from Python 3.12 on

from stages.lib.core.files import read_jsonl

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


AS_WRITTEN = ConfigDict(strict=True, extra="forbid")  # for what validates a file that people may have edited


@with_config(AS_WRITTEN)
class Message(TypedDict):
    role: Role
    content: str


@with_config(AS_WRITTEN)
class Conversation(TypedDict):
    """`label`: topic or class, a stratum of the split. `language`: BCP 47 code, `und` if unknown.

    `group`: rows that share one stay in the same split (a customer, a ticket).
    """

    id: str
    label: str | None
    language: str
    group: str | None
    messages: Annotated[list[Message], Field(min_length=1)]


def normalize(text: str) -> str:
    """The text with case, width and white space set aside: what two texts share when a reader calls them the same."""
    if text.isascii():  # most of it, and none of its characters has another form
        return " ".join(text.lower().split())
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def read_conversations(path: Path) -> list[Conversation]:
    return read_jsonl(path)


def conversations_of(split: Split) -> Path:
    return Path("data/split") / f"{split}.jsonl"
