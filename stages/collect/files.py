"""A raw file's bytes and lines: decompressed, within limits, in an encoding that is stated or certain."""

import codecs
import gzip
import hashlib
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from stages.collect.encodings import suggest_encoding, utf16_without_mark
from stages.collect.sources import is_wide
from stages.lib.core.errors import ReprotuneError

MIB = 2**20
ROW_LIMIT = 64 * MIB  # a line, a CSV record, a row of Parquet; characters where the file is decoded first
DOCUMENT_LIMIT = 512 * MIB  # a JSON document, which is loaded whole
MOST_EXPANSION = 200  # times its size that a compressed file may hold ...
FREE_EXPANSION = 64 * MIB  # ... once it holds more than this
PIECE = MIB

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BINARY = {  # what holds no text, whatever its name says
    re.compile(rb"%PDF"): "a PDF; copy its conversations into a CSV, a row for each message",
    re.compile(rb"\x89PNG|\xff\xd8\xff|GIF8"): "an image; expected a table or JSON",
    re.compile(rb"\xd0\xcf\x11\xe0"): "an old Office file; save it as CSV (UTF-8)",
    re.compile(rb"\s*<(!doctype html|html|table|\?xml)", re.IGNORECASE): "a page or table in HTML or XML; save it as CSV (UTF-8)",
    re.compile(rb"SQLite format 3"): "an SQLite database; export the table as CSV",
    re.compile(rb"Rar!|7z\xbc\xaf"): "an archive; unpack it and name a file in it",
}
MAGIC_BYTES = {
    re.compile(rb"\x1f\x8b"): "gzip",
    re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"): "zstd",  # the second begins a frame to be skipped
    re.compile(rb"PK\x03\x04"): "a zip archive, as .xlsx is one",
    re.compile(rb"PAR1\x15"): "Parquet",
    re.compile(rb"\xfd7zXZ\x00"): "xz",
    re.compile(rb"BZh[1-9]1AY&SY"): "bzip2",
}
BYTE_ORDER_MARKS = {
    b"\xef\xbb\xbf": "utf-8",
    b"\xff\xfe\x00\x00": "utf-32-le",  # before UTF-16's, which it begins with
    b"\x00\x00\xfe\xff": "utf-32-be",
    b"\xff\xfe": "utf-16-le",
    b"\xfe\xff": "utf-16-be",
}


class LongLine(NamedTuple):
    """Stands for a line over ROW_LIMIT, which is not kept; `digest`: the first 16 hex digits of its SHA-256."""

    digest: str


def mib(size: int) -> str:
    return f"{size / MIB:,.3g} MiB"


def refuse_binary(path: Path, head: bytes) -> None:
    """Raise if the first bytes are those of a file without text."""
    if what := next((what for magic, what in BINARY.items() if magic.match(head)), None):
        raise ReprotuneError(f"{path}: is {what}")


class _Decompressed(io.RawIOBase):
    """What a compressed file holds, up to its limit."""

    def __init__(self, path: Path, compression: str) -> None:
        self.path, self.compression = path, compression
        self.left = max(FREE_EXPANSION, MOST_EXPANSION * path.stat().st_size)
        if compression == "gzip":
            self.source = gzip.GzipFile(path)
        else:
            import pyarrow

            self.source = pyarrow.input_stream(str(path), compression="zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        try:
            data = self.source.read(len(buffer))
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise ReprotuneError(
                f"{self.path}: damaged or cut short, not readable as {self.compression}: {error}; fetch it anew"
            ) from None
        self.left -= len(data)
        if self.left < 0:
            raise ReprotuneError(
                f"{self.path}: holds over {MOST_EXPANSION} times its size and over {mib(FREE_EXPANSION)}; unpack it by "
                "hand if it is meant"
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.source.close()
        super().close()


def open_raw(path: Path) -> io.BufferedReader:
    """The file's bytes, decompressed as its suffix says.

    Raises:
        ReprotuneError: suffix and content differ, or, while reading: the archive is damaged or expands beyond the limit.
    """
    with path.open("rb") as file:
        head = file.read(16)
    expected = COMPRESSIONS.get(path.suffix.lower())
    found = next((name for magic, name in MAGIC_BYTES.items() if magic.match(head)), None)
    if found is None:
        refuse_binary(path, head)
    if found != expected:
        remedy = {"Parquet": "set `format: parquet`"} | {name: f"end its name in {end}" for end, name in COMPRESSIONS.items()}
        raise ReprotuneError(
            f"{path}: its content is {found or f'not {expected}'}; expected {expected or 'text'} "
            f"({remedy.get(str(found), 'rename or unpack it, or export it as CSV, JSON or Parquet')})"
        )
    return io.BufferedReader(_Decompressed(path, expected) if expected else path.open("rb", buffering=0), PIECE)


def read_document(path: Path, encoding: str | None) -> bytes | str:
    """A whole file, not decoded where it should be UTF-8.

    Raises:
        ReprotuneError: it is larger than DOCUMENT_LIMIT, or in another encoding.
    """
    with open_raw(path) as raw:
        codec = _skip_mark(path, raw, encoding)
        content = raw.read(DOCUMENT_LIMIT + 1)
    if len(content) > DOCUMENT_LIMIT:
        raise ReprotuneError(f"{path}: over {mib(DOCUMENT_LIMIT)}, and JSON is loaded whole; as JSONL it is read row by row")
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        raise _undecodable(path, codec, encoding is not None) from None
    return content if codec == "utf-8" else text


def read_lines(path: Path, encoding: str | None, line_end: str) -> Iterator[str | LongLine]:
    """The file's lines as text, with their ends; `line_end`: what `open` calls newline.

    Where the encoding is stated, a byte that has no meaning in it becomes a lone surrogate, for the caller to find.

    Raises:
        ReprotuneError: the file is in another encoding.
    """
    with open_raw(path) as raw:
        codec = _skip_mark(path, raw, encoding)
        # In UTF-16 and UTF-32 an escaped byte would shift all that follows.
        errors = "surrogateescape" if encoding and not is_wide(encoding) else "strict"
        try:
            yield from _bounded_lines(io.TextIOWrapper(raw, encoding=codec, errors=errors, newline=line_end))
        except UnicodeDecodeError:
            raise _undecodable(path, codec, encoding is not None) from None


def read_utf8_lines(path: Path, encoding: str | None) -> Iterator[bytes | LongLine]:
    """The file's lines in UTF-8. Where no encoding is stated they are the file's own bytes: `check_utf8` them if in doubt.

    Where one is stated, a byte that has no meaning in it stands as a lone surrogate, which no JSON reader takes.
    """
    with open_raw(path) as raw:
        if _skip_mark(path, raw, encoding) == "utf-8" and encoding is None:
            yield from _bounded_lines(raw)
            return
    for line in read_lines(path, encoding, "\n"):
        yield line if isinstance(line, LongLine) else line.encode("utf-8", "surrogatepass")


def check_utf8(path: Path, line: bytes, encoding: str | None) -> None:
    """Raise if a line that `read_utf8_lines` gave shows that the whole file is in another encoding."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        if encoding is None:
            raise _undecodable(path, "utf-8", False) from None


def _bounded_lines(file: IO) -> Iterator:
    while line := file.readline(ROW_LIMIT + 1):
        if len(line) <= ROW_LIMIT:
            yield line
            continue
        digest = hashlib.sha256()
        end = "\n" if isinstance(line, str) else b"\n"
        while line:
            digest.update(line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line)
            line = "" if line.endswith(end) else file.readline(PIECE)
        yield LongLine(digest.hexdigest()[:16])


def _skip_mark(path: Path, raw: io.BufferedReader, stated: str | None) -> str:
    """The encoding; `raw` then stands after a byte-order mark of that encoding."""
    head = raw.peek(4096)[:4096]
    name = stated and codecs.lookup(stated).name
    for mark, marked in BYTE_ORDER_MARKS.items():
        if head.startswith(mark) and name in (None, marked, marked[:6]):
            raw.read(len(mark))
            return marked
    if name is None and utf16_without_mark(head):
        raise ReprotuneError(f"{path}: not UTF-8 (it holds NULs); {suggest_encoding(head)}")
    if name in ("utf-16", "utf-32"):
        raise ReprotuneError(f"{path}: no byte-order mark; set `encoding: {name}-le` or `{name}-be`")
    return stated or "utf-8"


def _undecodable(path: Path, codec: str, stated: bool) -> ReprotuneError:
    """Where the first bytes stand that are not in the encoding, and what else they may be."""
    decoder, number, before = codecs.getincrementaldecoder(codec)(), 1, ""
    with open_raw(path) as raw:
        if not stated:
            _skip_mark(path, raw, None)
        while True:
            piece = raw.read(PIECE // 16)
            try:
                text = decoder.decode(piece, final=not piece)
            except UnicodeDecodeError as error:
                text, rest = error.object[: error.start].decode(codec, "replace"), error.object[error.start :]
                number += text.count("\n")
                before = (before + text).rpartition("\n")[2][-80:]
                break
            number += text.count("\n")
            before = (before + text).rpartition("\n")[2][-80:]
            if not piece:
                rest = b""
                break
    place = f"{path}:{number}: not {codec.upper()}"
    if codec != "utf-8" or stated:
        return ReprotuneError(f"{place}; {'name another `encoding`' if stated else 'name its `encoding`'}, or save it as UTF-8")
    line = before.encode() + rest[:400].partition(b"\n")[0]
    return ReprotuneError(f"{place} (byte {rest[0]:#04x}); {suggest_encoding(line)}")
