"""What kind of file it is: format, compression and delimiter, told from its first bytes."""

import csv
import io
import json
import re
from pathlib import Path
from typing import NamedTuple

from stages.collect.documents import is_row, key_for_messages
from stages.collect.files import COMPRESSIONS, open_raw, refuse_binary
from stages.collect.nested import parse_json, parse_literal
from stages.lib.core.errors import ReprotuneError
from tools.preview.encoding import Encoding, decode_head, tell_encoding, tell_nuls

HEAD = 2**22  # bytes from which encoding, format and delimiter are told

COMPRESSED = {b"\xfd7zXZ": "compressed with xz; unpack it", b"BZh": "compressed with bzip2; unpack it"}
OFFICE = {".xlsx": "an Excel workbook; save it as CSV (UTF-8)", ".docx": "a Word document; save its table as CSV (UTF-8)"}
# "[12.03.24, 14:05:33] Anna: hi", "2024/3/12 14:05 - 张三: 你好"
CHAT_EXPORT = re.compile(r"\W{0,3}\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s.{0,12}?\d{1,2}[:.]\d{2}.{0,12}?[\])-]?\s.{1,40}?(:\s|：)")
EXCEL_NOTE = re.compile(r'"?sep=(\\t|[^\w\r\n])"?[;,|\t]*[\r\n]', re.IGNORECASE)
OBJECT_LINE = re.compile(r"""\{\s*(["'].*)?\}|\[\s*(\{\s*)?["'].*\]""")  # a row of JSONL, also one that is no valid JSON
NOT_A_NUMBER = re.compile(r"[:\[,]\s*(NaN|-?Infinity)\s*[,}\]]")
QUOTE_AFTER_SPACE = r'(^|{0}) +"[^"\r\n]*"[ \t]*({0}|\r?$)'
TRANSCRIPT = re.compile(r"[^\W\d][\w .'-]{0,30}(:\s|：)")


class FileKind(NamedTuple):
    """`encoding`: None where there is none, as in Parquet. `delimiter`: None where there is none, or one column alone.

    `skipinitialspace`: quotes stand after a space.
    """

    format: str
    compression: str | None = None
    encoding: Encoding | None = None
    delimiter: str | None = None
    skipinitialspace: bool = False


def tell_kind(path: Path, format: str | None, encoding: str | None) -> FileKind:
    """What the file's first bytes tell, its suffix where they leave it open; `format`, `encoding`: as stated.

    Raises:
        ReprotuneError: it can't be a file of conversations.
    """
    check_magic_bytes(path)
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            return FileKind("parquet")
    with open_raw(path) as raw:
        head = raw.read(HEAD)
        whole = not raw.read(1)
    told = tell_encoding(path, head, encoding)
    text = decode_head(path, head, told.codec, whole)
    told = told._replace(notes=told.notes + tell_nuls(text))
    compression = COMPRESSIONS.get(path.suffix.lower())
    suffix = Path(path.stem if compression else path.name).suffix.lower().lstrip(".").replace("ndjson", "jsonl")
    format = format or tell_json(text, whole, suffix) or (suffix if suffix in ("json", "jsonl") else None)
    if format not in (None, "csv", "tsv"):
        found = NOT_A_NUMBER.search(text)
        notes = [f"It holds {found[1]}, which is no JSON, and is read as nothing."] if found else []
        return FileKind(format, compression, told._replace(notes=told.notes + notes))
    refuse_excel_note(path, text)
    delimiter = tell_delimiter(text)
    if format is None and suffix not in ("csv", "tsv"):
        refuse_plain_text(path, text, delimiter)
    own = "\t" if suffix == "tsv" else ","
    spaced = re.compile(QUOTE_AFTER_SPACE.format(re.escape(delimiter or own)), re.MULTILINE)
    skip = bool(spaced.search(text))
    notes = ["Quotes stand after a space; with `skipinitialspace` they are no part of the text."] if skip else []
    told = told._replace(notes=told.notes + notes)
    return FileKind(format or ("tsv" if (delimiter or own) == "\t" else "csv"), compression, told, delimiter, skip)


def check_magic_bytes(path: Path) -> None:
    """Raise for what can't be a file of conversations."""
    if not path.exists():
        raise ReprotuneError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise ReprotuneError(f"{path}: is empty")
    if head.startswith(b"PK\x03\x04"):
        what = OFFICE.get(path.suffix.lower(), "a zip archive; unpack it and name a file in it")
        raise ReprotuneError(f"{path}: is {what}")
    refuse_binary(path, head)
    for magic, what in COMPRESSED.items():
        if head.startswith(magic):
            raise ReprotuneError(f"{path}: is {what}")


def tell_json(text: str, whole: bool, suffix: str = "") -> str | None:
    """`jsonl` if its lines are rows, objects or lists, `json` if it begins like a document, else None (a table).

    One on one line may be either: a document, unless it is a row of a standard format, or the suffix is `jsonl`.
    """
    text = text.lstrip()
    if not text.startswith(("[", "{")):
        return None
    # At line feeds alone, as the reader does: str.splitlines would part texts that hold U+2028 or U+0085.
    first, *others = [line for line in text.split("\n")[:20] if line.strip()]
    row = read_object(first)
    if others:  # the first line of a document is no object by itself
        alike = sum(bool(OBJECT_LINE.fullmatch(line.strip())) for line in (first, *others))
        rows = row is not None or 2 * alike > len(others) + 1
    elif suffix == "jsonl":
        rows = first.startswith("{") or (row is not None and is_row(row, None))
    else:
        rows = row is not None and (not whole or is_row(row, None))
    if rows:
        return "jsonl"
    return "json" if re.match(r"""(\[\s*[\[{"'\]]|\{\s*["'}])""", text) else None


def read_object(line: str) -> dict | None:
    """The row on a line; a list of messages as an object with them."""
    try:
        value = parse_json(line)
    except json.JSONDecodeError:
        value = parse_literal(line)
    if isinstance(value, list) and not any(isinstance(one, dict) and list_in(one) for one in value):
        key = key_for_messages(value)
        return {key: value} if key else None
    return value if isinstance(value, dict) else None


def list_in(value: dict) -> bool:
    """Whether an object holds a list of objects: then it is a row of its own, and no message."""
    return any(isinstance(inner, list) and inner and isinstance(inner[0], dict) for inner in value.values())


def tell_delimiter(text: str) -> str | None:
    """The one that parts most records into as many cells as the header has, at least two; None if none does."""
    best: tuple[float, int, str] | None = None
    for delimiter in ",;\t|":
        sizes = []
        try:
            for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
                sizes += [len(cells)] if cells else []
                if len(sizes) == 200:
                    break
        except csv.Error:
            pass  # what was read until there tells
        if sizes and sizes[0] > 1:
            found = (sum(size == sizes[0] for size in sizes) / len(sizes), sizes[0], delimiter)
            best = max(best, found) if best else found
    return best[2] if best else None


def refuse_excel_note(path: Path, text: str) -> None:
    """Raise where the first line names the delimiter to Excel: to every other reader that line is the header."""
    if found := EXCEL_NOTE.match(text):
        raise ReprotuneError(
            f"{path}:1: found {found[0].strip()!r}, which only Excel understands; expected the header. Delete this line, "
            "and look again"
        )


def refuse_plain_text(path: Path, text: str, delimiter: str | None) -> None:
    """Raise for an exported chat and a transcript, which may hold commas, and for what has no columns."""
    lines = [line for line in text.splitlines()[:200] if line.strip()]
    for pattern, what in ((CHAT_EXPORT, "an exported chat (of WhatsApp, say)"), (TRANSCRIPT, "a transcript in plain text")):
        if 2 * sum(bool(pattern.match(line)) for line in lines) > len(lines):
            raise ReprotuneError(
                f"{path}: looks like {what}, which can't be read; make it a CSV with the columns conversation, role and content"
            )
    if delimiter is None:
        raise ReprotuneError(
            f"{path}: plain text without columns, which can't be read; expected CSV, TSV, JSON, JSONL or Parquet"
        )
