"""The record that travels from the raw row to the metric, and its JSONL files.

    {"id": "support/41", "label": "billing", "language": "en", "group": null,
     "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Messages are OpenAI's chat format. Files are UTF-8, LF, keys sorted, rows sorted by id: the same rows are the same bytes.
"""

import unicodedata
from pathlib import Path
from typing import Literal, TypedDict

from stages.lib.core.files import read_jsonl

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


class Message(TypedDict):
    role: Role
    content: str


class Conversation(TypedDict):
    """`label`: topic or class, a stratum of the split. `language`: BCP 47 code, `und` if unknown.

    `group`: rows that share one stay in the same split (a customer, a ticket).
    """

    id: str
    label: str | None
    language: str
    group: str | None
    messages: list[Message]


def normalize(text: str) -> str:
    """The text with case, width and white space set aside: what two texts share when a reader calls them the same."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def read_conversations(path: Path) -> list[Conversation]:
    return read_jsonl(path)


def conversations_of(split: Split) -> Path:
    return Path("data/split") / f"{split}.jsonl"
