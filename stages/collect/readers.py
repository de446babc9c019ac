"""A source of any format -> rows: a place and a dict each, in the order of the file, nothing interpreted."""

import csv
import hashlib
import json
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from stages.collect import files as raw_file
from stages.collect.chat_trees import without_trees
from stages.collect.corpora import read_chatterbot, read_chitchat
from stages.collect.documents import key_for_messages, rows_of_document
from stages.collect.files import LongLine, check_utf8, mib, read_document, read_lines, read_utf8_lines
from stages.collect.langchain import plain_messages
from stages.collect.nested import parse_documents, parse_json, parse_literal
from stages.collect.paths import check_path, find_files
from stages.collect.repeated_keys import MOST_LINES, find_repeated
from stages.collect.rows import Row, Rows, UnreadableRow, digest_of
from stages.collect.sources import CsvSource, FileSource, JsonSource, Source
from stages.collect.tables import keys_of_hub, keys_of_parquet, read_hub, read_parquet
from stages.lib.core.errors import ReprotuneError

DELIMITERS = {"csv": ",", "tsv": "\t"}


def read_rows(source: Source, only: Collection[str] | None = None) -> Rows:
    """The source's rows. `only`: the keys that are needed, where the others would cost time.

    Raises:
        ReprotuneError: the source as a whole can't be read; what is wrong with one row is an UnreadableRow.
    """
    for one in one_a_file(source):
        yield from map(_in_lists, _read_file(one, only))


def _in_lists(row: Row | UnreadableRow) -> Row | UnreadableRow:
    """The row with messages that a program keeps in another shape as a list of messages."""
    return row._replace(values=without_trees(plain_messages(row.values))) if isinstance(row, Row) else row  # type: ignore[arg-type]


def one_a_file(source: Source) -> list[Source]:
    """The source; where its path is a folder, a source for each file in it, in the order of their names."""
    if not isinstance(source, FileSource):
        return [source]
    files = find_files(source.path, source.files, source.outside)
    return [source.model_copy(update={"path": str(path), "files": None}) for path in files]


def _read_file(source: Source, only: Collection[str] | None) -> Rows:
    readers: dict[str, Callable[..., Rows]] = {
        "chatterbot": read_chatterbot,
        "chitchat": read_chitchat,
        "csv": _read_csv,
        "tsv": _read_csv,
        "json": _read_json,
        "jsonl": _read_jsonl,
        "parquet": read_parquet,
        "hub": read_hub,
    }
    return readers[source.format](source, only)


def read_keys(source: Source) -> list[str] | None:
    """The columns' names of a file in their order; None where each row has keys of its own (JSON)."""
    readers: dict[str, Callable[..., list[str]]] = {
        "csv": _keys_of_csv,
        "tsv": _keys_of_csv,
        "parquet": keys_of_parquet,
        "hub": keys_of_hub,
    }
    return readers[source.format](source) if source.format in readers else None


# CSV and TSV


def _open_csv(source: CsvSource) -> tuple[str, list[str], Iterator[tuple[int, list[str]]]]:
    """(path, header, numbered records after it)."""
    path = check_path(source.path, source.outside)
    records = _csv_records(path, source)
    header = next(records, (1, []))[1]
    if double := sorted({name for name in header if name and header.count(name) > 1}):
        raise ReprotuneError(f"{path}:1: {', '.join(map(repr, double))} stands twice in the header; rename one of them")
    return str(path), header, records


def _keys_of_csv(source: CsvSource) -> list[str]:
    return _open_csv(source)[1]


def _csv_records(path: Path, source: CsvSource) -> Iterator[tuple[int, list[str]]]:
    """(line that it begins at, cells) of each record; blank lines are none."""
    size, start = 0, 1

    def lines_of_a_record() -> Iterator[str]:
        nonlocal size
        for line in read_lines(path, source.encoding, line_end=""):
            size += len(line)
            if isinstance(line, LongLine) or size > raw_file.ROW_LIMIT:
                raise ReprotuneError(f"{path}:{start}: a row of over {mib(raw_file.ROW_LIMIT)}; is a quote left open?")
            yield line

    csv.field_size_limit(sys.maxsize)
    delimiter, skip = source.delimiter or DELIMITERS[source.format], source.skipinitialspace
    reader = csv.reader(lines_of_a_record(), delimiter=delimiter, skipinitialspace=skip, strict=True)
    while True:
        size, start = 0, reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # from here on nobody knows where a row begins, so this stops under `drop` too
            hints = {"end of data": "; is a quote left open?", "expected after": "; a quote within a quoted cell must be doubled"}
            hint = next((hint for sign, hint in hints.items() if sign in str(error)), "")
            raise ReprotuneError(f"{path}:{start}: not readable as CSV: {error}{hint}") from None
        if cells:
            yield start, cells


def _read_csv(source: CsvSource, _only: object) -> Rows:
    path, header, records = _open_csv(source)
    delimiter = source.delimiter or DELIMITERS[source.format]
    name = {",": "commas", "\t": "tabs", ";": "semicolons"}.get(delimiter, repr(delimiter))
    for number, cells in records:
        place = f"{path}:{number}"
        if len(cells) != len(header):
            reason = f"{len(cells)} cells; the header has {len(header)} (quote cells that hold {name})"
        elif source.encoding and not _is_encodable("".join(cells)):
            reason = f"holds bytes that are not {source.encoding}"
        else:
            yield Row(place, dict(zip(header, cells, strict=True)))
            continue
        yield UnreadableRow(place, reason, digest_of([cell.encode("utf-8", "surrogatepass").hex() for cell in cells]))


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# JSON


def _read_jsonl(source: JsonSource, _only: object) -> Rows:
    path = check_path(source.path, source.outside)
    for number, line in enumerate(read_utf8_lines(path, source.encoding), start=1):
        place = f"{path}:{number}"
        if isinstance(line, LongLine):
            yield UnreadableRow(place, f"a line of over {mib(raw_file.ROW_LIMIT)}", line.digest)
            continue
        line = line.strip()  # noqa: PLW2901
        if not line:
            continue
        values: object
        try:
            values = parse_json(line)
        except json.JSONDecodeError as error:
            check_utf8(path, line, source.encoding)
            values = parse_literal(line)
            if values is None:
                hint = " (if an object takes several lines, set `format: json`)" if line in (b"{", b"[") else ""
                reason = f"not a JSON object: {error.msg} at character {error.colno}{hint}"
                yield UnreadableRow(place, reason, hashlib.sha256(line).hexdigest()[:16])
                continue
        repeated = find_repeated(line, values) if number <= MOST_LINES else None
        yield UnreadableRow(place, repeated, digest_of([values])) if repeated else _row(place, values)


def _read_json(source: JsonSource, _only: object) -> Rows:
    path = check_path(source.path, source.outside)
    content = read_document(path, source.encoding)
    if not content.strip():
        return
    document = _parse_document(content, path)
    if repeated := find_repeated(content, document):
        raise ReprotuneError(f"{path}: {repeated}")
    document = plain_messages(document)
    is_conversation = isinstance(document, dict) and without_trees(document) is not document
    rows = [document] if is_conversation else rows_of_document(document, path, source.columns, source.array)
    for number, values in enumerate(rows, start=1):
        yield _row(f"{path}: row {number}", values)


def read_object_document(source: JsonSource) -> dict | None:
    """The document as it is, if it is an object."""
    path = check_path(source.path, source.outside)
    content = read_document(path, source.encoding)
    if content[:1] in ("[", b"[") or not content.strip():  # no object, and parsing it takes time
        return None
    document = _parse_document(content, path)
    return document if isinstance(document, dict) else None


def _parse_document(content: str | bytes, path: Path) -> object:
    """The document; of several in a row a list."""
    try:
        return parse_json(content)
    except json.JSONDecodeError as error:
        try:
            return parse_documents(content)
        except json.JSONDecodeError:
            literal = parse_literal(content)
        if literal is not None:
            return literal
        place = f"{path}:{error.lineno}: not a JSON document: {error.msg} at character {error.colno}"
    raise ReprotuneError(f"{place} (if each line is an object, set `format: jsonl`)" if _has_a_row(content) else place)


def _has_a_row(content: str | bytes) -> bool:
    """Whether the first line is an object by itself."""
    try:
        return isinstance(parse_json(content.split("\n" if isinstance(content, str) else b"\n", 1)[0]), dict)  # type: ignore[arg-type]
    except json.JSONDecodeError:
        return False


def _row(place: str, values: object) -> Row | UnreadableRow:
    if isinstance(values, list) and (key := key_for_messages(values)):
        values = {key: values}
    if isinstance(values, dict):
        return Row(place, values)
    kind = {list: "an array", str: "a text", type(None): "null"}.get(type(values), "a number or a truth value")
    hint = " (if the file is one JSON array, set `format: json`)" if isinstance(values, list) else ""
    return UnreadableRow(place, f"{kind}; expected a JSON object, or a list of messages{hint}", digest_of([values]))
