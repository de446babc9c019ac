"""What collect advises works on the very file that caused the advice; test_preview_remedies.py sees that none is left out."""

import gzip
import io
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPO, tiny_params
from pydantic import TypeAdapter, ValidationError

from stages.collect import __main__ as collect
from stages.collect import files, sources
from stages.collect.conversations import RawConversation, read_source
from stages.lib.core.errors import ReprotuneError

PAIRS = {"user": "question", "assistant": "answer"}
ROWS = {"conversation": "chat", "role": "from", "content": "text"}
LIST = {"messages": "messages", "role": "role", "content": "content"}
SPAM = {"prompt": "q", "completion": "a"}
TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
CSV = b"question,answer\nq,a\n"


class Case(NamedTuple):
    """`advice`: words of the message. `source`: the entry but for its path; `then`: what the advice makes of it.

    `mended`: the file as the advice has it, where the file is what is to change.
    """

    advice: str
    name: str
    content: bytes
    source: dict
    then: dict = {}
    mended: bytes | None = None


def lines(*rows: object) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(names: list[str], **options: object) -> bytes:
    table = pa.table([[f"cell {number}"] for number in range(len(names))], names=names)
    pq.write_table(table, buffer := io.BytesIO(), **options)
    return buffer.getvalue()


def marked(**marks: object) -> bytes:
    return lines({"messages": [TALK[0], TALK[1] | marks]})


def timed(*times: str) -> bytes:
    rows = [f'1,{("user", "assistant")[number % 2]},hi {number},"{time}"\n' for number, time in enumerate(times)]
    return "".join(["chat,from,text,at\n", *rows]).encode()


JSONL, TABLE = {"format": "jsonl"}, {"format": "csv", "columns": PAIRS}
TIMED = {"format": "csv", "columns": ROWS | {"order": "at"}}
GROUPED = b"chat,from,text,who\n1,user,hi,Ann\n1,assistant,hello,Bo\n"
BRANCHED = [{"id": 1, "role": "user"}, {"id": 2, "role": "assistant", "parent_id": 1}, {"id": 3, "role": "assistant", "parent_id": 1}]
BRANCHES = lines(*(row | {"chat": "c", "content": f"text {row['id']}"} for row in BRANCHED))
CHAIN = {"role": "role", "content": "content", "id": "id", "parent": "parent_id"}

CASES = [
    # Encodings and formats
    Case("set `encoding: ", "raw.csv", "question,answer\n您好吗,很好\n".encode("gb18030"), TABLE, {"encoding": "gb18030"}),
    Case("name its `encoding`", "raw.csv", b"question,answer\n\x81\xff\x00,\xff\n", TABLE, {"encoding": "iso-8859-1"}),
    Case("name another `encoding`", "raw.csv", CSV + b"\n", TABLE | {"encoding": "utf-16-le"}, {"encoding": "utf-8"}),
    Case(", or save it as UTF-8", "raw.csv", CSV.decode().encode("utf-16-le") + b"\0", TABLE | {"encoding": "utf-16-le"},
         {"encoding": None}, CSV),
    Case("-le` or `", "raw.csv", CSV.decode().encode("utf-16-le"), TABLE | {"encoding": "utf-16"}, {"encoding": "utf-16-le"}),
    Case("set `delimiter: ", "raw.csv", b"question;answer\nq;a\n", TABLE, {"delimiter": ";"}),
    Case("set `format: jsonl`", "raw.json", b'{"prompt": "q", "completion": "a"}\n{"prompt": \n', {"format": "json"}, JSONL),
    Case("set `format: json`", "raw.jsonl", json.dumps(SPAM, indent=1).encode(), JSONL, {"format": "json"}),
    Case("set `format: parquet`", "raw.csv", parquet(["question", "answer"]), TABLE, {"format": "parquet"}),
    Case("end its name in ", "raw.csv", gzip.compress(CSV), TABLE, {"path": "raw.csv.gz"}),
    Case("rename or unpack it, or export it", "raw.csv.gz", b"PK\x03\x04" + bytes(30), TABLE, {"path": "raw.csv"}, CSV),
    Case("fetch it anew", "raw.csv.gz", gzip.compress(CSV)[:-9], TABLE, {}, gzip.compress(CSV)),
    Case("a PDF; copy its conversations", "raw.csv", b"%PDF-1.4\n", TABLE, {}, CSV),
    Case("an old Office file; save it as CSV", "raw.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), TABLE, {}, CSV),
    Case("HTML or XML; save it as CSV", "raw.csv", b"<html><table><tr><td>a", TABLE, {}, CSV),
    Case("export the table as CSV", "raw.csv", b"SQLite format 3\0" + bytes(84), TABLE, {}, CSV),
    Case("an archive; unpack it and name a file", "raw.csv", b"7z\xbc\xaf\x27\x1c" + bytes(600), TABLE, {"path": "in.csv"}, CSV),
    # Where it lies
    Case("move the file into data/raw/, or set `outside: true`", "../mine/raw.csv", CSV, TABLE, {"outside": True}),
    Case("move the file into data/raw/", "../mine/raw.csv", CSV, TABLE, {"path": "data/raw/raw.csv"}),
    Case("`files` names files in a folder", "data/raw/raw.csv", CSV, TABLE | {"files": "*.csv"}, {"path": "data/raw"}),
    Case("(the source's `files`)", "data/raw/raw.csv", CSV, TABLE | {"path": "data/raw", "files": "*.tsv"}, {"files": "*.csv"}),
    Case("(the source's `path`)", "raw.csv", CSV, TABLE | {"path": "rew.csv"}, {"path": "raw.csv"}),
    # Columns
    Case("map the columns in the source's `columns`", "raw.csv", b"q,a\nx,y\n", {"format": "csv"},
         {"columns": {"user": "q", "assistant": "a"}}),
    Case("map the keys in the source's `columns`", "raw.jsonl", lines({"q": "x", "a": "y"}), JSONL,
         {"columns": {"user": "q", "assistant": "a"}}),
    Case("(see the source's `", "raw.jsonl", lines(SPAM | {"language": "en"}),
         JSONL | {"columns": {"user": "prompt", "assistant": "completion", "language": "lang"}},
         {"columns": {"user": "prompt", "assistant": "completion", "language": "language"}}),
    Case("leave id out of the source's `columns`", "raw.jsonl",
         lines({"id": 1, **SPAM}, {"id": 1, "prompt": "r", "completion": ""}), JSONL,
         {"columns": {"user": "prompt", "assistant": "completion"}}),
    Case("map the array of a conversation's messages, `messages` in", "raw.json",
         b'{"people": [1], "talk": [{"who": "user", "said": "q"}]}', {"format": "json"},
         {"columns": {"messages": "talk", "role": "who", "content": "said"}}),
    Case("map either user and assistant", "raw.csv", CSV, {"format": "csv", "columns": {"user": "question"}}, {"columns": PAIRS}),
    Case("parent goes with id", "raw.jsonl", BRANCHES, JSONL | {"columns": {"messages": "m", "parent": "parent_id"}},
         {"columns": CHAIN}),
    Case("leave id out", "raw.csv", GROUPED, {"format": "csv", "columns": ROWS | {"id": "chat"}}, {"columns": ROWS}),
    Case("map role in columns, or say by `begins`", "raw.csv", GROUPED,
         {"format": "csv", "columns": {"conversation": "chat", "content": "text"}}, {"columns": ROWS}),
    Case("or say by `begins` who speaks first", "raw.csv", GROUPED,
         {"format": "csv", "columns": {"conversation": "chat", "content": "text"}}, {"begins": "user"}),
    Case("leave `group` out of the source's `columns`", "raw.csv", GROUPED, {"format": "csv", "columns": ROWS | {"group": "who"}},
         {"columns": ROWS}),
    Case("rename one of them", "raw.csv", b"question,answer,answer\nq,a,b\n", TABLE, {}, b"question,answer,other\nq,a,b\n"),
    Case("two columns are named", "raw.parquet", parquet(["question", "answer", "answer"]),
         {"format": "parquet", "columns": PAIRS}, {}, parquet(["question", "answer", "other"])),
    Case("(quote cells that hold ", "raw.csv", b"question,answer\nq,a, b\n", TABLE, {}, b'question,answer\nq,"a, b"\n'),
    Case("write the column with json.dumps", "raw.csv", b"messages\n[{role: user}]\n",
         {"format": "csv", "columns": LIST}, {}, b'messages\n"' + json.dumps(TALK).replace('"', '""').encode() + b'"\n'),
    # Who speaks, and in which order
    Case("map it in the source's `roles`", "raw.jsonl", lines({"messages": [{"role": "bot", "content": "hi"}]}), JSONL,
         {"roles": {"bot": "assistant"}}),
    Case("say by the source's `begins` who speaks first", "raw.jsonl", lines({"messages": [{"content": "q"}, {"content": "a"}]}),
         JSONL, {"begins": "user"}),
    Case("or leave `order` out where the file is in order", "raw.csv", timed("1st o'clock 10:05", "2nd o'clock 10:06"), TIMED,
         {"columns": ROWS}),
    Case("write it so, or", "raw.csv", timed("1st o'clock 10:05", "2nd o'clock 10:06"), TIMED, {},
         timed("2024-03-01 10:05", "2024-03-01 10:06")),
    Case("write them all as 2024-03-31", "raw.csv", timed("3/24/2024", "24/3/2024"), TIMED, {}, timed("2024-03-24", "2024-03-24")),
    Case("map `history: ", "raw.jsonl", lines({"messages": TALK, "history": [["o", "p"]]}), JSONL | {"columns": LIST},
         {"columns": LIST | {"history": "history"}}),
    Case("first, or take that key out", "raw.jsonl", lines({"messages": TALK, "history": [["o", "p"]]}),
         JSONL | {"columns": LIST}, {}, lines({"messages": TALK})),
    Case("give that key another name", "raw.jsonl", lines(SPAM | {"history": "founded 1901"}), JSONL, {},
         lines(SPAM | {"story": "founded 1901"})),
    Case("names the row before this one; map `parent: ", "raw.jsonl", lines({"id": 1, **SPAM}, {"id": 2, "parent_id": 1, **SPAM}),
         JSONL | {"columns": {"user": "prompt", "assistant": "completion"}},
         {"columns": {"user": "prompt", "assistant": "completion", "id": "id", "parent": "parent_id"}}),
    Case("(or rename it, if it is something else)", "raw.jsonl", lines(SPAM | {"parent_id": 1}),
         JSONL | {"columns": {"user": "prompt", "assistant": "completion"}}, {}, lines(SPAM | {"school": 1})),
    Case("so that each branch is read as a conversation", "raw.jsonl", BRANCHES,
         JSONL | {"columns": {"conversation": "chat", "role": "role", "content": "content"}}, {"columns": CHAIN}),
    # Marks
    Case("mend it, or set `marks: ", "raw.jsonl", marked(weight=0.5), JSONL, {"marks": {"weight": "ignore"}}),
    Case("since a reply is learned or it is not; mend it", "raw.jsonl", marked(weight=0.5), JSONL, {}, marked(weight=1)),
    *(Case("say in the source what it means: `marks: ", "raw.jsonl", marked(loss_scale=1), JSONL, {"marks": {"loss_scale": meaning}})
      for meaning in ("train", "mask", "ignore")),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("project/data/raw", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(REPO / "requirements", tmp_path / "project/requirements")
    monkeypatch.chdir(tmp_path / "project")


def read(**source: object) -> list:
    return list(read_source(TypeAdapter(sources.Source).validate_python(source)))


def complaints(**source: object) -> list[str]:
    """The error of the source, or the reasons of its unreadable rows."""
    try:
        _, unreadable = collect.assign_ids("s", read(**source))
    except (ReprotuneError, ValidationError) as error:
        return [str(error)]
    return [row.reason for row in unreadable]


@pytest.mark.parametrize("case", CASES, ids=[case.advice.strip() for case in CASES])
def test_what_collect_advises_reads_the_file(case: Case) -> None:
    Path(case.name).write_bytes(case.content)
    source = {"path": case.name, **case.source}
    assert any(case.advice in one for one in complaints(**source)), complaints(**source)
    source |= case.then
    if case.mended is not None or not Path(source["path"]).exists():
        Path(source["path"]).write_bytes(case.content if case.mended is None else case.mended)
    rows = read(**source)
    assert any(isinstance(row, RawConversation) for row in rows)
    assert [one for one in complaints(**source) if case.advice in one] == []


def test_what_holds_too_much_can_be_unpacked_by_hand_and_written_without_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_EXPANSION", 2000)
    monkeypatch.setattr(files, "MOST_EXPANSION", 2)
    long = b"question,answer\n" + b"q,a\n" * 2000
    Path("raw.csv.gz").write_bytes(gzip.compress(long))
    Path("raw.csv").write_bytes(long)
    assert "unpack it by hand if it is meant" in complaints(**TABLE, path="raw.csv.gz")[0]
    assert len(read(**TABLE, path="raw.csv")) == 2000
    table = pa.table({name: [f"{number % 3} {'x' * 50}" for number in range(2000)] for name in ("question", "answer")})
    options = {"use_dictionary": False}
    pq.write_table(table, "raw.parquet", compression="zstd", **options)
    source = {"format": "parquet", "columns": PAIRS, "path": "raw.parquet"}
    assert "write it without compression if it is meant" in complaints(**source)[0]
    pq.write_table(table, "raw.parquet", compression="none", **options)
    assert len(read(**source)) == 2000


def test_a_conversation_in_two_files_can_be_one_file_or_two_sources() -> None:
    one, other = lines({"id": 1, **SPAM}), lines({"id": 1, "prompt": "r", "completion": "b"})
    Path("data/raw/a.jsonl").write_bytes(one)
    Path("data/raw/b.jsonl").write_bytes(other)
    (reason,) = complaints(**JSONL, path="data/raw")
    assert "make one file of the two if it is one conversation, or else each file a source of its own" in reason
    assert [complaints(**JSONL, path=f"data/raw/{name}.jsonl") for name in "ab"] == [[], []]


def collect_with(**params: object) -> None:
    section = tiny_params()["collect"] | params
    Path("params.yaml").write_text(yaml.safe_dump({"collect": section}), encoding="utf-8")
    collect.main("s")


def test_what_stops_the_stage_is_left_out_or_kept_or_named_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/raw/s.jsonl").write_bytes(lines(SPAM | {"public": False}))
    source = JSONL | {"path": "data/raw/s.jsonl"}
    with pytest.raises(ReprotuneError, match="its `leave_out` leaves out all 1 of source 's'"):
        collect_with(sources={"s": source | {"leave_out": {"public": False}}})
    with pytest.raises(ReprotuneError, match="name one of other behind `python -m stages.collect`"):
        collect_with(sources={"other": source})
    collect_with(sources={"s": source})
    assert capsys.readouterr().out == "collect s: 1 conversations read, 1 kept\n"
