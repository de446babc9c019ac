"""What collect advises: the file that causes it, and what the source says once it was followed."""

import gzip
import io
import json
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter, ValidationError

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.sources import Source
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


def logged(reply: str, **beside: object) -> dict:
    choice = {"message": {"role": "assistant", "content": reply}} | beside
    return {"request": {"messages": TALK[:1]}, "response": {"choices": [choice]}}


def timed(*times: str) -> bytes:
    rows = [f'1,{("user", "assistant")[number % 2]},hi {number},"{time}"\n' for number, time in enumerate(times)]
    return "".join(["chat,from,text,at\n", *rows]).encode()


JSONL, TABLE = {"format": "jsonl"}, {"format": "csv", "columns": PAIRS}
LOGGED = {"format": "jsonl", "columns": {"user": "request", "assistant": "response"}}
TIMED = {"format": "csv", "columns": ROWS | {"order": "at"}}
GROUPED = b"chat,from,text,who\n1,user,hi,Ann\n1,assistant,hello,Bo\n"
BRANCHED = [
    {"id": 1, "role": "user"},
    {"id": 2, "role": "assistant", "parent_id": 1},
    {"id": 3, "role": "assistant", "parent_id": 1},
]
BRANCHES = lines(*(row | {"chat": "c", "content": f"text {row['id']}"} for row in BRANCHED))
CALL = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = [{"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "r"}]
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
    Case("expected a pattern for names in the folder `path`", "data/raw/raw.csv", CSV,
         TABLE | {"path": "data/raw", "files": "../*.csv"}, {"files": "*.csv"}),
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
    *(Case("Set `array: ", "raw.json", json.dumps({"test": rows, "train": rows}).encode(), {"format": "json"}, {"array": "train"})
      for rows in ([SPAM], {"prompt": ["q", "r"], "completion": ["a", "b"]})),
    Case("array names one of the arrays of a JSON document; set `format: json`", "raw.json", lines({"train": [SPAM]}),
         JSONL | {"array": "train"}, {"format": "json"}),
    Case(", or leave it out", "raw.jsonl", lines(SPAM), JSONL | {"array": "train"}, {"array": None}),
    Case("parent goes with id", "raw.jsonl", BRANCHES, JSONL | {"columns": {"messages": "m", "parent": "parent_id"}},
         {"columns": CHAIN}),
    Case("leave id out", "raw.csv", GROUPED, {"format": "csv", "columns": ROWS | {"id": "chat"}}, {"columns": ROWS}),
    Case("map role in columns, or say by `begins`", "raw.csv", GROUPED,
         {"format": "csv", "columns": {"conversation": "chat", "content": "text"}}, {"columns": ROWS}),
    Case("or say by `begins` who speaks first", "raw.csv", GROUPED,
         {"format": "csv", "columns": {"conversation": "chat", "content": "text"}}, {"begins": "user"}),
    Case("leave `group` out of the source's `columns`", "raw.csv", GROUPED, {"format": "csv", "columns": ROWS | {"group": "who"}},
         {"columns": ROWS}),
    Case("put it behind its call", "raw.jsonl", lines({"messages": [TALK[0], *CALLED[::-1], TALK[1]]}), JSONL, {},
         lines({"messages": [TALK[0], *CALLED, TALK[1]]})),
    Case("put each into its message", "raw.jsonl", lines({"messages": TALK, "loss_mask": [0, 1]}), JSONL, {}, marked(train=1)),
    Case("put it into a message of its own, of the role system", "raw.jsonl",
         lines({"messages": [{"role": "user", "content": [{"part_kind": "system-prompt", "content": "s"}]}, *TALK]}), JSONL, {},
         lines({"messages": [{"role": "system", "content": "s"}, *TALK]})),
    Case("` in the source if it is none", "raw.jsonl", lines({"messages": TALK, "loss_mask": [0, 1]}), JSONL,
         {"marks": {"loss_mask": "ignore"}}),
    Case("` in the source to learn from the replies all", "raw.jsonl", lines(SPAM | {"train_on_inputs": True}), JSONL,
         {"marks": {"train_on_inputs": "ignore"}}),
    Case("` in the source to learn from all replies", "raw.jsonl", lines(SPAM | {"mask_last_turn": True}), JSONL,
         {"marks": {"mask_last_turn": "ignore"}}),
    Case("it was cut short, so take it out", "raw.jsonl", lines(SPAM, SPAM | {"completion": "<think> so"}), JSONL, {},
         lines(SPAM)),
    *(Case("` in the source does that)", "raw.jsonl", lines(SPAM, SPAM | {"completion": "so"} | beside), JSONL,
           {"leave_out": left})
      for beside, left in (({"finish_reason": "length"}, {"finish_reason": "length"}),
                           ({"metadata": {"stop_reason": "max_tokens"}}, {"metadata.stop_reason": "max_tokens"}),
                           ({"meta_info": {"finish_reason": {"type": "length"}}}, {"meta_info.finish_reason.type": "length"}))),
    Case("` if it says something else", "raw.jsonl", lines(SPAM, SPAM | {"metadata": {"stop_reason": "error"}}), JSONL,
         {"marks": {"stop_reason": "ignore"}}),
    *(Case("; rename one or take it out", f"raw.{format}", b'{"prompt": "q", "prompt": "r", "completion": "a"}',
           {"format": format}, {}, lines(SPAM)) for format in ("json", "jsonl")),
    Case("rename one of them", "raw.csv", b"question,answer,answer\nq,a,b\n", TABLE, {}, b"question,answer,other\nq,a,b\n"),
    Case("two columns are named", "raw.parquet", parquet(["question", "answer", "answer"]),
         {"format": "parquet", "columns": PAIRS}, {}, parquet(["question", "answer", "other"])),
    Case("(quote cells that hold ", "raw.csv", b"question,answer\nq,a, b\n", TABLE, {}, b'question,answer\nq,"a, b"\n'),
    Case("write the column with json.dumps", "raw.csv", b"messages\n[{role: user}]\n",
         {"format": "csv", "columns": LIST}, {}, b'messages\n"' + json.dumps(TALK).replace('"', '""').encode() + b'"\n'),
    # Who speaks, and in which order
    Case("map it in the source's `roles`", "raw.jsonl", lines({"messages": [{"role": "bot", "content": "hi"}]}), JSONL,
         {"roles": {"bot": "assistant"}}),
    Case("(map its name in the source's `roles`)", "raw.jsonl",
         lines({"messages": [TALK[0], {"role": "bot", "tool_calls": [{"function": {"name": "f"}}]}]}),
         JSONL | {"roles": {"bot": "user"}}, {"roles": {"bot": "assistant"}}),
    Case("say by the source's `begins` who speaks first", "raw.jsonl", lines({"messages": [{"content": "q"}, {"content": "a"}]}),
         JSONL, {"begins": "user"}),
    Case("or leave `order` out where the file is in order", "raw.csv", timed("1st o'clock 10:05", "2nd o'clock 10:06"), TIMED,
         {"columns": ROWS}),
    Case("write it so, or", "raw.csv", timed("1st o'clock 10:05", "2nd o'clock 10:06"), TIMED, {},
         timed("2024-03-01 10:05", "2024-03-01 10:06")),
    Case("write them all as 2024-03-31", "raw.csv", timed("3/24/2024", "24/3/2024"), TIMED, {},
         timed("2024-03-24", "2024-03-24")),
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
    Case("; take such rows out", "raw.jsonl", lines(logged("a"), logged("b", finish_reason="length")), LOGGED, {},
         lines(logged("a"))),
    Case("put them first in `input`, and take that key out", "raw.jsonl",
         lines({"request": {"model": "m", "input": "q", "previous_response_id": "r"}, "response": "a"}), LOGGED, {},
         lines({"request": {"model": "m", "input": [*TALK, TALK[0]]}, "response": "a"})),
    # Marks
    Case("mend it, or set `marks: ", "raw.jsonl", marked(weight=0.5), JSONL, {"marks": {"weight": "ignore"}}),
    Case("put `train: false` into messages", "raw.jsonl", marked(train_detail=[{"train": False}], train=False), JSONL,
         {"marks": {"train_detail": "ignore"}}),
    Case("since a reply is learned or it is not; mend it", "raw.jsonl", marked(weight=0.5), JSONL, {}, marked(weight=1)),
    *(Case("say in the source what it means: `marks: ", "raw.jsonl", marked(loss_scale=1), JSONL,
           {"marks": {"loss_scale": meaning}}) for meaning in ("train", "mask", "ignore")),
]  # fmt: skip


def read(**source: object) -> list:
    return list(read_source(TypeAdapter(Source).validate_python(source)))


def complaints(**source: object) -> list[str]:
    """The error of the source, or the reasons of its unreadable rows."""
    try:
        _, unreadable = assign_ids("s", read(**source))
    except (ReprotuneError, ValidationError) as error:
        return [str(error)]
    return [row.reason for row in unreadable]
