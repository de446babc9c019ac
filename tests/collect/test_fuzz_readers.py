"""Whatever a file holds: conversations, unreadable rows or one message; nothing else, and no row unaccounted for."""

import contextlib
import csv
import gzip
import io
import json
from pathlib import Path

import orjson
import pyarrow
import pytest
import yaml
from conftest import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from pydantic import TypeAdapter

from stages.collect import __main__ as collect
from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl

ENCODINGS = [None, "utf-8", "utf-16", "utf-16-le", "utf-32-be", "gb18030", "big5", "cp1252", "latin-1", "shift_jis"]
COLUMNS = [
    None,
    {"messages": "messages", "label": "label"},
    {"user": "prompt", "assistant": "completion", "input": "id", "system": "label"},
    {"conversation": "id", "role": "label", "content": "prompt", "order": "completion"},
]
FORMATS = st.fixed_dictionaries(
    {"format": st.sampled_from(["csv", "tsv", "json", "jsonl"]), "encoding": st.sampled_from(ENCODINGS)}
)
FUZZ = settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def collect_file(content: bytes, path: str = "raw", **source: object) -> int | None:
    """How many rows the ledger counts after the stage; None where it stopped with a message. All else is raised."""
    Path(path).write_bytes(content)
    entry = {"path": path} | source
    params = {"collect": {"limit": 2, "bad_rows": "drop", "sources": {"fuzz": entry}}}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    try:
        collect.main("fuzz")
    except ReprotuneError:
        return None
    ledger = read_jsonl(Path("data/ledger/collect/fuzz.jsonl"))
    collected = read_jsonl(Path("data/collected/fuzz.jsonl"))
    assert [row["id"] for row in collected] == [row["id"] for row in ledger if row["fate"] == "collected"]
    assert len({row["id"] for row in ledger}) == len(ledger)
    assert all((row["fate"] == "unreadable") == bool(row["reason"]) for row in ledger)
    return sum(row["rows"] for row in ledger)


def rows_read(**source: object) -> int:
    """The rows that the source's own reader accounts for, whether or not there is a conversation among them."""
    total = 0
    with contextlib.suppress(ReprotuneError):
        for row in read_source(TypeAdapter(Source).validate_python(source)):
            total += row.rows
            assert not isinstance(row, RawConversation) or orjson.dumps(row[:6])
    return total


# Bytes of any kind

TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"\n",
        b"\r",
        b"\t",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xd8\x00",
        b"\x1f\x8b",
    ),
    *(b'{"messages":', b'"role":"user","content":"x"', b"prompt", b"completion", b"id", b"1e999", b"\\ud800"),
    *("您好".encode(encoding) for encoding in ("utf-8", "gb18030", "utf-16-le")),
]
BYTES = st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)


@FUZZ
@given(content=BYTES, source=FORMATS, columns=st.sampled_from(COLUMNS))
def test_bytes_of_any_kind(content: bytes, source: dict, columns: dict | None) -> None:
    collect_file(content, **source, columns=columns)


@FUZZ
@given(content=BYTES, source=FORMATS, encoding=st.sampled_from(ENCODINGS[1:]))
def test_text_of_any_kind_in_any_encoding(content: bytes, source: dict, encoding: str) -> None:
    collect_file(content.decode("latin-1").encode(encoding, "replace"), **source)


@FUZZ
@given(content=st.binary(max_size=300), suffix=st.sampled_from([".gz", ".zst", ".parquet"]))
def test_bytes_that_are_no_archive_and_no_parquet(content: bytes, suffix: str) -> None:
    magic = {".gz": b"\x1f\x8b\x08\x00", ".zst": b"\x28\xb5\x2f\xfd", ".parquet": b"PAR1"}[suffix]
    end = b"\x00\x00\x00PAR1" if suffix == ".parquet" else b""
    collect_file(magic + content + end, f"raw{suffix}", format="parquet" if suffix == ".parquet" else "jsonl")


# Files that were good

PAIR = [{"role": "user", "content": '您好, "quoted"\n2'}, {"role": "assistant", "content": "a;b"}]
ROWS = [
    {"id": str(number), "label": "user", "prompt": f"q{number}", "completion": str(number), "messages": PAIR}
    for number in range(8)
]


def as_csv(rows: list[dict], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    cells = [{k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in row.items()} for row in rows]
    writer.writerows(cells)
    return text.getvalue().encode()


def as_jsonl(rows: list) -> bytes:
    return b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def as_parquet(rows: list[dict]) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), file, row_group_size=3)
    return file.getvalue()


GOOD = {
    ("raw", "csv"): as_csv(ROWS),
    ("raw", "tsv"): as_csv(ROWS, "\t"),
    ("raw", "json"): orjson.dumps({"data": ROWS}),
    ("raw", "jsonl"): as_jsonl(ROWS),
    ("raw.gz", "jsonl"): gzip.compress(as_jsonl(ROWS), mtime=0),
    ("raw.zst", "jsonl"): pyarrow.compress(as_jsonl(ROWS), codec="zstd", asbytes=True),
    ("raw", "parquet"): as_parquet(ROWS),
}
CHANGES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4)


def mutate(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The content with bytes put in, written over or taken out at some places."""
    for place, removed, added in changes:
        at = place % (len(content) + 1)
        content = content[:at] + added + content[at + removed :]
    return content


@pytest.mark.parametrize(("path", "format"), GOOD)
def test_a_good_file_is_collected_whole(path: str, format: str) -> None:
    assert [collect_file(GOOD[path, format], path, format=format, columns=columns) for columns in COLUMNS] == [8] * 4


@pytest.mark.parametrize(("path", "format"), GOOD)
@FUZZ
@given(changes=CHANGES, columns=st.sampled_from(COLUMNS))
def test_a_good_file_that_was_damaged(path: str, format: str, changes: list, columns: dict | None) -> None:
    collect_file(mutate(GOOD[path, format], changes), path, format=format, columns=columns)


# Rows of any kind

KEYS = st.sampled_from(["role", "content", "type", "text", "from"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
    max_leaves=8,
)
LISTS = ["messages", "conversations", "prompt", "completion"]
NAMES = st.sampled_from([*LISTS, "instruction", "output", "input", "system", "id", "label", "language", "group"])
ROLES = st.sampled_from(["user", "assistant", "bot"])
MESSAGE = st.fixed_dictionaries({"role": ROLES | JSON, "content": st.text(max_size=4) | JSON})
ROW = st.dictionaries(NAMES, st.text(max_size=5) | st.lists(MESSAGE, max_size=3) | JSON, max_size=5)


@FUZZ
@given(rows=st.lists(ROW | JSON, max_size=8), columns=st.sampled_from(COLUMNS))
def test_every_row_of_json_is_in_the_ledger(rows: list, columns: dict | None) -> None:
    for format, content in (("jsonl", as_jsonl(rows)), ("json", orjson.dumps(rows))):
        first = rows[0] if rows and isinstance(rows[0], dict) else {}
        is_one = (
            format == "json" and columns is None and ({"role", "content"} <= first.keys() or {"from", "value"} <= first.keys())
        )
        expected = 1 if is_one else len(rows)  # a document of messages is one conversation
        assert collect_file(content, format=format, columns=columns) in (None, expected)
        if columns is None:
            assert rows_read(format=format, path="raw") == expected


@FUZZ
@given(rows=st.lists(st.lists(st.text(max_size=6), max_size=6), max_size=8), columns=st.sampled_from(COLUMNS))
def test_every_row_of_csv_is_in_the_ledger(rows: list[list[str]], columns: dict | None) -> None:
    rows = [[cell.replace("\0", "") for cell in row] for row in rows]
    text = io.StringIO()
    header = ["id", "label", "prompt", "completion", "messages"]
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    blank = sum(not row for row in rows)
    assert collect_file(text.getvalue().encode("utf-8", "replace"), format="csv", columns=columns) in (None, len(rows) - blank)


@FUZZ
@given(rows=st.lists(ROW, min_size=1, max_size=8), columns=st.sampled_from(COLUMNS))
def test_every_row_of_parquet_is_in_the_ledger(rows: list[dict], columns: dict | None) -> None:
    try:
        content = as_parquet([dict.fromkeys([name for one in rows for name in one]) | row for row in rows])
    except (pyarrow.ArrowException, OverflowError):  # what Parquet has no type for
        return
    assert collect_file(content, format="parquet", columns=columns) in (None, len(rows))


@pytest.mark.parametrize("depth", [200, 1000, 1020, 5000])
@pytest.mark.parametrize(
    "row",
    [
        '{"messages": %s}',
        '{"messages": [{"role": %s, "content": "x"}]}',
        '{"messages": [], "label": %s}',
        '{"prompt": "a", "completion": %s}',
        '{"x": %s}',
        "%s",
    ],
)
def test_nesting_of_any_depth(depth: int, row: str) -> None:
    nested = row % ("[" * depth + "]" * depth)
    good = '{"messages": []}'
    assert collect_file(f"{nested}\n{good}\n".encode(), format="jsonl") == 2
    assert collect_file(f"[{nested}, {good}]".encode(), format="json") in (None, 2)
