"""The record that travels from the raw row to the metric, and its JSONL files.

    {"id": "support/41", "label": "billing", "language": "en", "group": null,
     "messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}

Messages are OpenAI's chat format. Files are UTF-8, LF, keys sorted, rows sorted by id: the same rows are the same bytes.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

import orjson

from stages.lib.errors import ReprotuneError

ROLES = ("system", "user", "assistant", "tool")


class Message(TypedDict):
    role: str
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


def messages_key(messages: Iterable[Message]) -> str:
    """SHA-256 (hex) of the normalised messages with their roles."""
    parts = [[message["role"], normalize(message["content"])] for message in messages]
    return hashlib.sha256(orjson.dumps(parts)).hexdigest()


def write_lines(path: Path, lines: Iterable[bytes]) -> None:
    """Write rows that are serialised already, each with its line feed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(lines)


def write_jsonl(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON object a line, keys sorted; rows in the order given."""
    write_lines(path, map(to_line, rows))


def to_line(row: object) -> bytes:
    """The row as one line of JSON, keys sorted. A copy: what orjson returns holds on to a buffer of 4 KiB."""
    return bytes(memoryview(orjson.dumps(row, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)))


def read_lines(path: Path) -> Iterator[bytes]:
    """The rows as they are serialised, one after the other.

    Raises:
        ReprotuneError: the file is missing.
    """
    try:
        with path.open("rb") as file:
            yield from file
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it") from None


def read_jsonl(path: Path) -> list[dict]:
    """Read what `write_jsonl` wrote.

    Raises:
        ReprotuneError: the file is missing.
    """
    return [orjson.loads(line) for line in read_lines(path)]


def write_conversations(path: Path, conversations: Iterable[Conversation]) -> None:
    write_jsonl(path, sorted(conversations, key=lambda conversation: conversation["id"]))


def read_conversations(path: Path) -> list[Conversation]:
    return read_jsonl(path)  # type: ignore[return-value]
