"""What a source in params.yaml may say, and how each format is read: file -> raw conversations, nothing judged."""

import csv
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import orjson
import yaml
from pydantic import Field, model_validator

from stages.lib.conversations import ROLES, Message
from stages.lib.errors import ReprotuneError, raise_first
from stages.lib.params import Section

CHATTERBOT_FOLDERS = {
    "bn": "bengali", "zh": "chinese", "nl": "dutch", "en": "english", "fr": "french", "de": "german", "he": "hebrew",
    "hi": "hindi", "hi-Latn": "hinglish", "id": "indonesian", "it": "italian", "ja": "japanese", "ko": "korean",
    "mr": "marathi", "or": "oriya", "fa": "persian", "pt": "portuguese", "ru": "russian", "es": "spanish",
    "sv": "swedish", "ta": "tamil", "te": "telugu", "th": "thai", "zh-Hant": "traditionalchinese", "tr": "turkish",
    "uk": "ukrainian", "ur": "urdu", "yo": "yoruba",
}  # fmt: skip
LINE_END = re.compile(r"\r\n|\r|\n")


class ChatterbotSource(Section):
    """The packaged `chatterbot-corpus` in one of its languages; its topics become labels."""

    format: Literal["chatterbot"]
    path: str
    language: str

    @model_validator(mode="after")
    def language_exists(self) -> "ChatterbotSource":
        if self.language not in CHATTERBOT_FOLDERS:
            raise ValueError(f"language {self.language!r}; chatterbot-corpus has {', '.join(CHATTERBOT_FOLDERS)}")
        return self


class ChitchatSource(Section):
    """The packaged `chitchat-dataset`: human conversations in English; its prompts become labels."""

    format: Literal["chitchat"]
    path: str


class FileSource(Section):
    """A file of the user's. `roles` maps the file's own role names; `label` and `language` hold for rows without one."""

    path: str
    roles: dict[str, Literal["system", "user", "assistant"]] = {}
    label: str | None = None
    language: str | None = None


class CsvColumns(Section):
    """Which column holds what: a row a pair (`user`, `assistant`) or a row a message (`conversation`, `role`, `content`)."""

    user: str | None = None
    assistant: str | None = None
    conversation: str | None = None
    role: str | None = None
    content: str | None = None
    system: str | None = None
    id: str | None = None
    label: str | None = None
    language: str | None = None
    group: str | None = None

    @model_validator(mode="after")
    def one_layout(self) -> "CsvColumns":
        pair = {self.user, self.assistant}
        message = {self.conversation, self.role, self.content}
        if (None in pair) == (None in message) or (pair | message) - {None} not in (pair, message):
            raise ValueError("map either user and assistant, or conversation, role and content")
        if self.conversation and self.id:
            raise ValueError("where a row is a message, the conversation column is the id; leave id out")
        return self


class CsvSource(FileSource):
    format: Literal["csv"]
    columns: CsvColumns


class JsonlSource(FileSource):
    """One object a line: `messages` (role, content), and if present `id`, `label`, `language`, `group`."""

    format: Literal["jsonl"]


Source = Annotated[
    ChatterbotSource | ChitchatSource | CsvSource | JsonlSource,
    Field(discriminator="format"),
]


class RawConversation(NamedTuple):
    """`place`: file and line, for the ledger. `key`: the source's own id, if it has one."""

    place: str
    key: str | None
    label: str | None
    language: str | None
    group: str | None
    messages: list[Message]


def read_source(source: Source) -> Iterator[RawConversation]:
    """Read a source in file order.

    Raises:
        ReprotuneError: the file is missing, unreadable or lacks what was mapped; the first bad rows are listed.
    """
    readers: dict[str, Callable[..., Iterator[RawConversation]]] = {
        "chatterbot": read_chatterbot,
        "chitchat": read_chitchat,
        "csv": read_csv,
        "jsonl": read_jsonl_messages,
    }
    return readers[source.format](source)


def read_chatterbot(source: ChatterbotSource) -> Iterator[RawConversation]:
    folder = _package_folder("chatterbot_corpus") / "data" / CHATTERBOT_FOLDERS[source.language]
    for path in sorted(folder.glob("*.yml")):
        # BaseLoader leaves every scalar as text: "No" stays a reply, "1984" an answer.
        document = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        for number, turns in enumerate(document["conversations"], start=1):
            messages = [_message(("user", "assistant")[position % 2], turn) for position, turn in enumerate(turns)]
            yield RawConversation(f"{path.name}: conversation {number}", None, path.stem, source.language, None, messages)


def read_chitchat(_source: ChitchatSource) -> Iterator[RawConversation]:
    document = orjson.loads((_package_folder("chitchat_dataset") / "dataset.json").read_bytes())
    for key, conversation in document.items():
        utterances = [utterance for turn in conversation["messages"] for utterance in turn]
        # Who speaks first is the user. The rest is one other person: no conversation has three senders.
        first = utterances[0]["sender"] if utterances else None
        messages = [_message("user" if u["sender"] == first else "assistant", u["text"]) for u in utterances]
        yield RawConversation(f"dataset.json: {key}", key, conversation.get("prompt"), "en", None, messages)


def read_csv(source: CsvSource) -> Iterator[RawConversation]:
    path = _existing_file(source.path)
    csv.field_size_limit(sys.maxsize)
    columns = source.columns
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            header = reader.fieldnames or []
            mapped = [name for name in columns.model_dump().values() if name]
            if absent := [name for name in mapped if name not in header]:
                raise ReprotuneError(
                    f"{path}:1: no column {', '.join(map(repr, absent))}; found {', '.join(map(repr, header)) or 'nothing'}"
                    " (map the columns in the source's `columns`)"
                )
            rows = _numbered_rows(path, reader)
            yield from _read_messages(source, rows) if columns.conversation else _read_pairs(source, rows)
        except UnicodeDecodeError as error:
            raise _not_utf8(path, error) from None


def _numbered_rows(path: Path, reader: csv.DictReader) -> list[tuple[str, dict[str, str]]]:
    """Rows with the line that they begin at; a row with more or fewer cells than the header is a problem."""
    rows, problems = [], []
    for row in _rows_until_error(path, reader):
        cells = [cell for cell in [*row.values(), *row.get(None, [])] if isinstance(cell, str)]
        place = f"{path}:{reader.line_num - sum(len(LINE_END.findall(cell)) for cell in cells)}"
        if None in row or None in row.values():
            problems.append(
                f"{place}: {len(cells)} cells; the header has {len(reader.fieldnames or [])} (quote cells that hold commas)"
            )
        else:
            rows.append((place, row))
    raise_first(problems)
    return rows


def _rows_until_error(path: Path, reader: csv.DictReader) -> Iterator[dict]:
    last = reader.line_num
    try:
        for row in reader:
            last = reader.line_num
            yield row
    except csv.Error as error:
        hint = "; is a quote left open?" if "end of data" in str(error) else ""
        raise ReprotuneError(f"{path}:{last + 1}: not readable as CSV: {error}{hint}") from None


def _cell(row: dict[str, str], column: str | None) -> str | None:
    """The cell's text; None where the column is not mapped or the cell is blank."""
    return (row[column].strip() or None) if column else None


def _read_pairs(source: CsvSource, rows: list[tuple[str, dict[str, str]]]) -> Iterator[RawConversation]:
    columns = source.columns
    for place, row in rows:
        messages = [_message("system", text)] if (text := _cell(row, columns.system)) else []
        messages += [_message("user", row[columns.user]), _message("assistant", row[columns.assistant])]
        yield RawConversation(
            place,
            _cell(row, columns.id),
            _cell(row, columns.label) or source.label,
            _cell(row, columns.language) or source.language,
            _cell(row, columns.group),
            messages,
        )


def _read_messages(source: CsvSource, rows: list[tuple[str, dict[str, str]]]) -> Iterator[RawConversation]:
    """Rows of one conversation keep their order in the file; they need not stand together."""
    columns = source.columns
    conversations: dict[str, RawConversation] = {}
    problems = []
    for place, row in rows:
        key = _cell(row, columns.conversation)
        try:
            if key is None:
                raise ReprotuneError(f"no conversation key in column {columns.conversation!r}")
            message = _message(_role(row[columns.role], source), row[columns.content])
        except ReprotuneError as error:
            problems.append(f"{place}: {error}")
            continue
        if key not in conversations:
            system = _cell(row, columns.system)
            conversations[key] = RawConversation(
                place,
                key,
                _cell(row, columns.label) or source.label,
                _cell(row, columns.language) or source.language,
                _cell(row, columns.group),
                [_message("system", system)] if system else [],
            )
        conversations[key].messages.append(message)
    raise_first(problems)
    yield from conversations.values()


def read_jsonl_messages(source: JsonlSource) -> Iterator[RawConversation]:
    path = _existing_file(source.path)
    problems = []
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":  # a byte-order mark is no part of the first line
            file.seek(0)
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield _conversation(f"{path}:{number}", line.strip(), source)
            except ReprotuneError as error:
                problems.append(f"{path}:{number}: {error}")
    raise_first(problems)


def _conversation(place: str, line: bytes, source: JsonlSource) -> RawConversation:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise ReprotuneError(f"not a JSON object: {error.msg} at character {error.colno}") from None
    if not isinstance(row, dict) or not isinstance(row.get("messages"), list):
        raise ReprotuneError('expected an object with a list "messages"')
    messages = []
    for position, message in enumerate(row["messages"]):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            found = json.dumps(message, ensure_ascii=False)[:60]
            raise ReprotuneError(f'messages[{position}] is {found}; expected "role" and a text "content"')
        messages.append(_message(_role(message.get("role"), source), message["content"]))
    key, group = (str(row[name]) if row.get(name) is not None else None for name in ("id", "group"))
    label, language = row.get("label"), row.get("language")
    return RawConversation(
        place,
        key,
        source.label if label is None else str(label),
        source.language if language is None else str(language),
        group,
        messages,
    )


def _role(name: object, source: FileSource) -> str:
    role = source.roles.get(str(name).strip(), str(name).strip())
    if role not in ROLES:
        raise ReprotuneError(f"role {name!r}; expected {', '.join(ROLES)} (map it in the source's `roles`)")
    return role


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ReprotuneError(f"package {package} is not installed; run `make env`")
    return Path(spec.submodule_search_locations[0])


def _existing_file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise ReprotuneError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file'} (the source's `path`)")
    return path


def _not_utf8(path: Path, error: UnicodeDecodeError) -> ReprotuneError:
    return ReprotuneError(f"{path}: not UTF-8 (byte {error.object[error.start]:#04x}); save it as UTF-8")
