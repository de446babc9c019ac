"""The encoding of a file, told from its first bytes, with what there is to say of it."""

import codecs
from pathlib import Path
from typing import NamedTuple

from stages.collect.encodings import excerpt, likely_encodings, utf16_without_mark
from stages.collect.files import BYTE_ORDER_MARKS
from stages.lib.core.errors import ReprotuneError

START = 4096  # bytes that tell text from binary files, and UTF-16 without a mark, as for the reader
MOST_CONTROLS = 0.05  # share of control characters in a text; a tar archive of texts has more NULs than that


class Encoding(NamedTuple):
    """`stated`: what the file needs to be told, None for UTF-8 and what has a byte-order mark. `notes`: on how it was told."""

    stated: str | None
    codec: str
    shown: str
    notes: list[str]


def tell_encoding(path: Path, head: bytes, stated: str | None) -> Encoding:
    if stated:
        return Encoding(stated, stated, stated, [])
    for mark, codec in BYTE_ORDER_MARKS.items():
        if head.startswith(mark):
            return Encoding(None, codec, f"{codec.removesuffix('-le').removesuffix('-be')} with a byte-order mark", [])
    start = head[:START]
    if utf16_without_mark(start):
        likely, what = likely_encodings(start), "has no byte-order mark"
    elif b"\0" in start and not is_text(start):
        raise ReprotuneError(f"{path}: is a binary file; expected CSV, TSV, JSON, JSONL or Parquet")
    else:
        likely, what = likely_encodings(lines_not_utf8(head)), "is not UTF-8"
    if not likely:
        return Encoding(None, "utf-8", "utf-8", [])  # or else the reader says where it is not
    (first, text), *others = likely
    notes = [f"It {what}. As {first} it reads: {excerpt(text)}"]
    notes += [f"As {encoding}: {excerpt(text)}" for encoding, text in others[:2]]
    return Encoding(first, first, first, [*notes, "Judge for yourself, and state another by --encoding NAME if that is wrong."])


def is_text(start: bytes) -> bool:
    """Whether bytes that hold NULs are UTF-8 with few control characters: a text that has a NUL by mistake.

    >>> is_text("caf\u00e9,who are\\0 you?, I am fine".encode()), is_text(b"name" + bytes(96)), is_text(b"\\x80\\0text" * 9)
    (True, False, False)
    """
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in start)
    return controls <= MOST_CONTROLS * len(start) and not lines_not_utf8(start)


def tell_nuls(text: str) -> list[str]:
    """What there is to say of NULs in a text, if it has any.

    >>> tell_nuls("question,answer\\na\\0,b\\n")
    ['It holds NUL characters, the first in line 2. They belong in no text: look there whether the file is damaged.']
    """
    before, nul, _ = text.partition("\0")
    if not nul:
        return []
    number = before.count("\n") + 1
    return [
        f"It holds NUL characters, the first in line {number:,}. They belong in no text: look there whether the file is damaged."
    ]


def lines_not_utf8(head: bytes) -> bytes:
    """The lines from the first on that is not UTF-8, 64 KiB of them; none if all are.

    >>> lines_not_utf8("id\\n1,Gerät\\n".encode("cp1252")), lines_not_utf8("Gerät".encode())
    (b'1,Ger\\xe4t\\n', b'')
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError as error:
        begin = head.rfind(b"\n", 0, error.start) + 1
        return head[begin : begin + 2**16]
    return b""


def decode_head(path: Path, head: bytes, codec: str, whole: bool) -> str:
    """The text, to its last line feed if the file goes on."""
    try:
        "".encode(codec)  # refuses what is no encoding of text
        text = codecs.getincrementaldecoder(codec)("replace").decode(head, final=whole).removeprefix("\ufeff")
    except (LookupError, UnicodeError):
        raise ReprotuneError(f"--encoding {codec}: not known; expected one such as gb18030, big5 or cp1252") from None
    if not text.strip():
        raise ReprotuneError(f"{path}: is empty")
    return text if whole or "\n" not in text else text[: text.rindex("\n") + 1]
