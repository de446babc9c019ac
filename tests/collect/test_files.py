"""Raw files: which may be opened, what is in an archive, how much is held, in which encoding; never a guess."""

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
from conftest import REPO, environment

from stages.collect import files as raw_file
from stages.collect.encodings import utf16_without_mark
from stages.collect.files import MIB, LongLine, open_raw, read_document, read_lines, read_utf8_lines
from stages.collect.paths import check_path
from stages.lib.core.errors import ReprotuneError

CASES = [json.loads(line) for line in (REPO / "tests/cases/encodings.jsonl").read_text(encoding="utf-8").splitlines()]
TEXT = "line 1\n第二行\nline 3 👋\n"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")


def raw(content: bytes, name: str = "raw.csv") -> Path:
    Path(name).write_bytes(content)
    return Path(name)


def lines_of(content: bytes, encoding: str | None = None) -> list:
    """The lines as text, which both readers must agree on."""
    path = raw(content)
    lines = list(read_lines(path, encoding, "\n"))
    assert [line.encode("utf-8", "surrogatepass") for line in lines] == list(read_utf8_lines(path, encoding))
    return lines


def complaint(content: bytes, name: str = "raw.csv", encoding: str | None = None) -> str:
    with pytest.raises(ReprotuneError) as caught:
        list(read_lines(raw(content, name), encoding, "\n"))
    return str(caught.value)


# Which file


def test_a_file_in_the_project_is_read_and_what_is_no_file_is_not() -> None:
    assert check_path(str(raw(b"")), outside=False) == Path("raw.csv")
    Path("folder").mkdir()
    os.mkfifo("pipe")
    for name, what in (("nowhere", "no such file"), ("folder", "is a folder; name a file"), ("pipe", "no such file")):
        with pytest.raises(ReprotuneError, match=f"^{name}: {what}"):
            check_path(name, outside=False)


@pytest.mark.parametrize("name", ["../other.csv", "link.csv", "folder/other.csv", "{absolute}", "{absolute_inside}"])
def test_a_path_that_leads_out_of_the_project_needs_permission(name: str) -> None:
    other = Path("../other.csv").resolve()
    other.write_text("", encoding="utf-8")
    Path("link.csv").symlink_to(other)
    Path("folder").symlink_to(other.parent)
    name = name.format(absolute=other, absolute_inside=raw(b"").resolve())
    with pytest.raises(ReprotuneError, match=r"leads out of the project; .* set `outside: true`"):
        check_path(name, outside=False)
    assert check_path(name, outside=True).is_file()


def test_a_link_that_leads_in_circles_is_no_file() -> None:
    Path("a").symlink_to("b")
    Path("b").symlink_to("a")
    with pytest.raises(ReprotuneError, match="a: no such file"):
        check_path("a", outside=False)


def test_a_link_into_a_cache_of_dvc_outside_is_a_file_of_the_project() -> None:
    cached = Path("../cache/files/md5/0a") / ("b" * 30)
    cached.parent.mkdir(parents=True)
    cached.write_text("", encoding="utf-8")
    Path("link.csv").symlink_to(cached.resolve())
    assert check_path("link.csv", outside=False).is_file()


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_with_a_mark_is_told_apart(encoding: str) -> None:
    assert "".join(lines_of(TEXT.encode(encoding))) == TEXT


@pytest.mark.parametrize("mark", [b"\xfe\xff", b"\xff\xfe"])
def test_either_end_may_come_first(mark: bytes) -> None:
    content = mark + TEXT.encode("utf-16-be" if mark == b"\xfe\xff" else "utf-16-le")
    assert "".join(lines_of(content)) == TEXT
    assert read_document(raw(content), None) == TEXT


STATED = ["utf-8", "UTF8", "utf-16", "utf-16-le", "utf-16-be", "utf-32-be", "gb18030"]


@pytest.mark.parametrize("encoding", STATED)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_stated_encoding_is_taken_with_and_without_a_mark(encoding: str, mark: str) -> None:
    if mark and encoding in ("utf-16", "gb18030"):  # writes its own; has none in practice
        return
    assert "".join(lines_of((mark + TEXT).encode(encoding), encoding)) == TEXT
    document = read_document(raw((mark + TEXT).encode(encoding)), encoding)
    assert (document.decode() if isinstance(document, bytes) else document) == TEXT


@pytest.mark.parametrize("encoding", ["gbk", "big5", "shift_jis", "cp932", "euc_kr", "cp1252", "latin-1", "koi8-r"])
def test_legacy_encodings_are_read_when_stated(encoding: str) -> None:
    text = {"gbk": "您好", "big5": "請問", "shift_jis": "注文", "cp932": "①注文", "euc_kr": "안녕", "koi8-r": "привет"}.get(
        encoding, "Größe"
    )
    assert lines_of(f"{text}\n{text}".encode(encoding), encoding) == [f"{text}\n", text]


@pytest.mark.parametrize("case", CASES, ids=[case["label"] for case in CASES])
def test_another_encoding_stops_and_what_it_may_be_is_shown_but_not_assumed(case: dict) -> None:
    message = complaint("\n".join([*case["input"], ""]).encode(case["encoding"]))
    assert message.startswith("raw.csv:")
    assert case["expected"] in message


def test_of_several_readings_the_likelier_comes_first() -> None:
    message = complaint("ºÃ éa éa\n".encode("cp1252"))  # the first two bytes are 好 in GB 18030
    assert "reads as cp1252: 'ºÃ éa éa', or gb18030: '好 " in message
    assert "set `encoding: cp1252`" in message


def test_the_line_is_named_however_far_into_the_file_and_across_pieces() -> None:
    line = "x" * 70 + "é" * 30 + "\n"
    content = (line * 20_000).encode() + "ganz schön\n".encode("latin-1")
    assert complaint(content).startswith("raw.csv:20001: not UTF-8 (byte 0xf6); reads as cp1252: 'ganz schön'")
    utf16 = (line * 20_000).encode("utf-16") + b"\x00\xd8"
    assert complaint(utf16).startswith("raw.csv:20001: not UTF-16-LE; name its `encoding`")


def test_a_character_cut_at_the_end_is_found() -> None:
    assert complaint("ok\nGrö".encode()[:-1]).startswith("raw.csv:2: not UTF-8 (byte 0xc3)")


def test_where_an_encoding_is_stated_a_bad_byte_spoils_its_line_alone() -> None:
    lines = lines_of("您好\n".encode("gb18030") + b"\xff\n" + "再见\n".encode("gb18030"), "gb18030")
    assert lines == ["您好\n", "\udcff\n", "再见\n"]


def test_stated_utf16_without_an_end_and_without_a_mark_is_a_message() -> None:
    message = complaint("ab".encode("utf-16-le"), encoding="UTF16")
    assert message == "raw.csv: no byte-order mark; set `encoding: utf-16-le` or `utf-16-be`"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("length", [9, 90])
def test_utf16_is_told_without_a_mark_however_many_characters_have_a_nul_where_ascii_has_none(encoding: str, length: int) -> None:
    choose = random.Random(0)
    letters = [chr(code) for code in range(0x4E00, 0x9F00)] + ["一", "开"] * 1000  # U+4E00, U+5F00
    lines = ["question,answer"] + [",".join("".join(choose.choices(letters, k=length)) for _ in range(2)) for _ in range(100)]
    assert utf16_without_mark("\n".join(lines).encode(encoding)[:4096]) == encoding


def test_a_stray_nul_is_not_taken_for_utf16() -> None:
    assert lines_of(b"a\0b\nc\0\0\n") == ["a\0b\n", "c\0\0\n"]
    for number in (3, 5, 7):
        line = "".join(f"{'word ' * number}{word}\0" for word in ("one", "two", "schön", "您好")) + "\n"
        assert lines_of((line * 9).encode()) == [line] * 9


# Archives


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


COMPRESS = {".gz": gzip.compress, ".zst": zstd}
SKIPPED = b"\x50\x2a\x4d\x18" + (3).to_bytes(4, "little") + b"abc"  # a frame of zstd that holds no content


@pytest.mark.parametrize("suffix", COMPRESS)
def test_archives_of_one_and_of_several_parts_are_read(suffix: str) -> None:
    one, other = (COMPRESS[suffix](text) for text in (b"first\n", b"second\n"))
    for content in (one + other, *([SKIPPED + one + SKIPPED + other] if suffix == ".zst" else [])):
        assert list(read_utf8_lines(raw(content, f"raw.JSONL{suffix.upper()}"), None)) == [b"first\n", b"second\n"]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_archive_cut_anywhere_is_one_message_and_never_a_shorter_file(suffix: str) -> None:
    whole = COMPRESS[suffix](b"".join(b"line %d\n" % number for number in range(200)))
    for length in range(len(whole)):
        assert complaint(whole[:length], f"raw.jsonl{suffix}").startswith(f"raw.jsonl{suffix}: ")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_archive_is_one_message(suffix: str) -> None:
    text = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(99))
    whole = COMPRESS[suffix](text)
    damaged = whole[:6] + bytes(byte ^ 0xFF for byte in whole[6:80]) + whole[80:]  # pyarrow's zstd carries no checksum
    for content in (damaged, whole + b"garbage"):
        assert "damaged or cut short, not readable as " in complaint(content, f"raw.jsonl{suffix}")


def test_suffix_and_content_must_agree() -> None:
    assert complaint(b"{}", "raw.gz").startswith("raw.gz: its content is not gzip; expected gzip")
    assert complaint(b"", "raw.zst").startswith("raw.zst: its content is not zstd; expected zstd")
    assert complaint(zstd(b"{}"), "raw.gz").startswith("raw.gz: its content is zstd; expected gzip (end its name in .zst)")
    assert complaint(gzip.compress(b"{}")).startswith("raw.csv: its content is gzip; expected text (end its name in .gz)")
    assert complaint(b"PAR1\x15\x04").startswith("raw.csv: its content is Parquet; expected text (set `format: parquet`)")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_bomb_is_refused_at_its_limit(suffix: str) -> None:
    path, read = raw(COMPRESS[suffix](bytes(80 * MIB)), f"bomb{suffix}"), []
    with open_raw(path) as file, pytest.raises(ReprotuneError, match="holds over 200 times its size and over 64 MiB"):
        read.extend(map(len, iter(lambda: file.read(MIB), b"")))
    assert 63 * MIB <= sum(read) <= 64 * MIB


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_small_archive_may_hold_many_times_its_size(suffix: str) -> None:
    with open_raw(raw(COMPRESS[suffix](b"\n" * 8 * MIB), f"raw{suffix}")) as file:
        assert len(file.read()) == 8 * MIB


# Limits


def test_a_line_over_the_limit_is_left_out_with_its_hash_and_the_next_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file, "ROW_LIMIT", 10)
    monkeypatch.setattr(raw_file, "PIECE", 3)
    lines = [b"123456789\n", b"1234567890\n", b"b" * 99 + b"\n", b"last"]
    short, long, longer, last = read_utf8_lines(raw(b"".join(lines)), None)
    assert (short, last) == (b"123456789\n", b"last")
    assert (long, longer) == tuple(LongLine(hashlib.sha256(line).hexdigest()[:16]) for line in lines[1:3])
    assert list(read_lines(Path("raw.csv"), None, "\n")) == ["123456789\n", long, longer, "last"]


def test_a_cell_of_ten_megabytes_is_read() -> None:
    assert lines_of(b"a" * 10 * MIB + b"\nb") == ["a" * 10 * MIB + "\n", "b"]


def test_a_document_over_the_limit_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file, "DOCUMENT_LIMIT", 2 * MIB)
    assert len(read_document(raw(b"[" + b" " * (2 * MIB - 2) + b"]"), None)) == 2 * MIB
    with pytest.raises(ReprotuneError, match=r"raw\.csv: over 2 MiB, and JSON is loaded whole; as JSONL it is read row by row"):
        read_document(raw(b"[" + b" " * (2 * MIB - 1) + b"]"), None)


PEAK = """
import re
from pydantic import TypeAdapter
from stages.lib.core.errors import ReprotuneError
from stages.collect.conversations import read_source
from stages.collect.sources import Source
for source in ({"format": "jsonl"}, {"format": "csv"}, {"format": "jsonl", "encoding": "gb18030"}, {"format": "json"}):
    try:
        print(*read_source(TypeAdapter(Source).validate_python(source | {"path": "raw.csv"})))
    except ReprotuneError as error:
        print(error)
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.mark.slow
def test_a_line_of_a_gigabyte_is_never_held_in_memory() -> None:
    raw(b"")
    os.truncate("raw.csv", 1024 * MIB)
    done = subprocess.run(
        [sys.executable, "-c", PEAK], env=environment(PYTHONPATH=str(REPO)), capture_output=True, text=True, check=True
    )
    lines, peaks = done.stdout.splitlines()[::2], [int(line) // 1024 for line in done.stdout.splitlines()[1::2]]
    assert [
        "a line of over 64 MiB" in lines[0],
        "a row of over 64 MiB" in lines[1],
        "a line of over 64 MiB" in lines[2],
        "over 512 MiB" in lines[3],
    ] == [True] * 4
    assert peaks[0] < 300, peaks
    assert peaks[2] < 600, peaks
    assert peaks[3] < 1200, peaks
