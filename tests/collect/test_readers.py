"""A file of each format -> rows with their places; a fault of one row spoils that row, a fault of the file stops."""

import csv
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow
import pytest
from conftest import REPO, environment
from pyarrow import parquet
from pydantic import TypeAdapter

from stages.collect import files as raw_file
from stages.collect import tables
from stages.collect.conversations import read_source
from stages.collect.corpora import row_of
from stages.collect.raw_conversation import RawConversation
from stages.collect.readers import read_keys, read_rows
from stages.collect.rows import Row, UnreadableRow
from stages.collect.sources import CHATTERBOT_FOLDERS, Source
from stages.lib.core.errors import ReprotuneError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def source_of(**source: object) -> Source:
    return TypeAdapter(Source).validate_python(source)


def rows_of(content: str | bytes, format: str, **options: object) -> list[Row | UnreadableRow]:
    Path("raw").write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_rows(source_of(format=format, path="raw", **options)))


def values_of(content: str | bytes, format: str, **options: object) -> list[dict]:
    rows = rows_of(content, format, **options)
    assert all(isinstance(row, Row) for row in rows), rows
    return [row.values for row in rows]


def complaint(content: str | bytes, format: str, **options: object) -> str:
    with pytest.raises(ReprotuneError) as caught:
        rows_of(content, format, **options)
    return str(caught.value)


def conversations(**source: object) -> list[RawConversation]:
    rows = list(read_source(source_of(**source)))
    assert all(isinstance(row, RawConversation) for row in rows)
    return rows


def turns(row: RawConversation) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in row.messages]


# CSV and TSV


def test_csv_cells_may_hold_delimiters_quotes_and_line_ends() -> None:
    cells = ["a, b; c\td", 'she said "no"', "line 1\nline 2\r\nline 3\rline 4", "你好，世界", " kept ", ""]
    with Path("raw.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([[f"c{number}" for number in range(6)], cells])
    (row,) = read_rows(source_of(format="csv", path="raw.csv"))
    assert list(row.values.values()) == cells


@pytest.mark.parametrize("cell", ["=cmd|' /C calc'!A0", "+1", "-1", "@x", "=1+1", "'=1", "007", "1e3", "NULL", "nan", "true"])
def test_a_cell_that_a_spreadsheet_would_compute_is_plain_text(cell: str) -> None:
    assert values_of(f"a,b\n{cell},x\n", "csv") == [{"a": cell, "b": "x"}]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system_end_a_row(line_end: str) -> None:
    assert values_of(f"a,b{line_end}1,2{line_end}{line_end}3,4", "csv") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_the_delimiter_is_the_formats_own_or_the_stated_one() -> None:
    assert values_of("a\tb\n1,2\t3\n", "tsv") == [{"a": "1,2", "b": "3"}]
    assert values_of("a;b\n1,2;3\n", "csv", delimiter=";") == [{"a": "1,2", "b": "3"}]
    Path("raw").write_text("user;assistant\n1;2\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r'found \'user;assistant\' \(set `delimiter: ";"`, or map'):
        conversations(format="csv", path="raw", columns={"user": "user", "assistant": "assistant"})
    Path("raw").write_text("prompt\tcompletion\n1\t2\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r'\(set `delimiter: "\\t"`, or map'):
        conversations(format="csv", path="raw")


def test_a_column_without_a_name_is_no_obstacle_and_one_name_twice_is() -> None:
    assert values_of(",a,\n0,x,\n", "csv") == [{"": "", "a": "x"}]
    assert complaint("a,b,a\n", "csv") == "raw:1: 'a' stands twice in the header; rename one of them"


def test_a_row_with_more_or_fewer_cells_spoils_itself_alone() -> None:
    few, good, many = rows_of("a;b\n1\n2;3\n4;5;6\n", "csv", delimiter=";")
    assert (few.place, few.reason) == ("raw:2", "1 cells; the header has 2 (quote cells that hold semicolons)")
    assert good == Row("raw:3", {"a": "2", "b": "3"})
    assert many.reason.startswith("3 cells; ")
    assert few.digest != many.digest


@pytest.mark.parametrize(
    ("rest", "what"), [('"3,4\n5,6\n', "is a quote left open?"), ('"3"x,4\n', "a quote within a quoted cell must be doubled")]
)
def test_after_a_mistake_in_quoting_no_row_is_certain_so_it_stops(rest: str, what: str) -> None:
    message = complaint(f"a,b\n1,2\n{rest}", "csv")
    assert message.startswith("raw:3: not readable as CSV: ")
    assert what in message


def test_a_record_over_the_limit_stops_whether_in_one_line_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file, "ROW_LIMIT", 100)
    rows = "".join("1,2\n" for _ in range(99))
    assert len(values_of(f"a,b\n{rows}", "csv")) == 99
    assert complaint(f"a,b\n1,2\n{'x' * 101},1\n", "csv").startswith("raw:3: a row of over ")
    assert complaint(f'a,b\n1,2\n"{rows}', "csv").startswith("raw:3: a row of over ")


def test_a_csv_cell_of_ten_megabytes_is_read() -> None:
    assert values_of(f"a,b\n{'x' * 10_000_000},y\n", "csv") == [{"a": "x" * 10_000_000, "b": "y"}]


def test_in_a_stated_encoding_a_row_with_bad_bytes_spoils_itself_alone() -> None:
    content = "a,b\n您,1\n".encode("gb18030") + b"\xff,2\n" + "好,3\n".encode("gb18030")
    good, bad, better = rows_of(content, "csv", encoding="gb18030")
    assert (good.values["a"], better.values["a"]) == ("您", "好")
    assert (bad.place, bad.reason) == ("raw:3", "holds bytes that are not gb18030")
    content = '{"a": "您"}\n'.encode("gb18030") + b'{"a": "\xff"}\n'
    good, bad = rows_of(content, "jsonl", encoding="gb18030")
    assert good.values == {"a": "您"}
    assert (bad.place, bad.reason.partition(":")[0]) == ("raw:2", "not a JSON object")


# Places


def test_a_place_is_the_line_where_the_row_begins() -> None:
    content = 'a,b\n\nq,a\n"1\n2\r\n3",x\n\n\nr,"b\rc"\ns,d\n'
    assert [row.place for row in rows_of(content, "csv")] == [f"raw:{line}" for line in (3, 4, 9, 11)]
    assert [row.place for row in rows_of('\n{"a":1}\n\n{}\n', "jsonl")] == ["raw:2", "raw:4"]
    assert [row.place for row in rows_of('[{"a": 1},\n {}]', "json")] == ["raw: row 1", "raw: row 2"]


# JSON


CHATS = [{"topic": "tea", "messages": [{"role": "user", "content": "hi"}]}, {"topic": "", "messages": []}]


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ({"settings": {"theme": "dark"}, "store": {"sessions": CHATS, "open": 0}}, CHATS),
        ({"version": 3, "data": {"store": {"sessions": CHATS}}}, CHATS),
        ({"settings": {"models": ["a"]}, "store": {"sessions": CHATS}}, CHATS),
        ({"ann": {"chats": CHATS}, "bob": {"chats": CHATS}}, [{"id": "ann", "chats": CHATS}, {"id": "bob", "chats": CHATS}]),
        ({"ann": {"messages": CHATS[0]["messages"]}}, [{"id": "ann", "messages": CHATS[0]["messages"]}]),
        ({"ann": {"tags": [{"name": "tea"}]}}, [{"id": "ann", "tags": [{"name": "tea"}]}]),
    ],
)
def test_one_list_of_conversations_inside_the_objects_of_a_document_is_its_rows(document: dict, rows: list[dict]) -> None:
    assert values_of(json.dumps(document), "json") == rows


@pytest.mark.parametrize("beside", [{}, {"topicId": None}, {"conversation": "all"}, {"ticket": 7}])
def test_messages_of_several_conversations_are_rows_whatever_else_names_one(beside: dict) -> None:
    messages = [beside | {"chatId": n // 2, "role": ("user", "assistant")[n % 2], "content": f"{n}"} for n in range(6)]
    assert values_of(json.dumps(messages), "json") == messages
    assert values_of(json.dumps(messages[:2]), "json") == [{"messages": messages[:2]}]


def test_what_is_no_object_spoils_its_line_alone() -> None:
    rows = rows_of('{"a": 1}\n[1]\nx\n"t"\n3\nnull\n{"a": "\\ud800"}\n{"a": nil}\n{"a": 2}', "jsonl")
    assert [isinstance(row, Row) for row in rows] == [True, *[False] * 7, True]
    assert len({row.digest for row in rows[1:-1]}) == 7


def test_a_line_over_the_limit_spoils_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file, "ROW_LIMIT", 20)
    bad, good = rows_of('{"a": "' + "x" * 99 + '"}\n{"a": 1}\n', "jsonl")
    assert bad.reason.startswith("a line of over ")
    assert good == Row("raw:2", {"a": 1})


MESSAGES = [{"role": "user", "content": "hi"}]
DOCUMENTS: list[tuple[object, list]] = [
    ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
    ({"data": [{"a": 1}], "version": "2"}, [{"a": 1}]),
    ({"conversations": [{"messages": MESSAGES}]}, [{"messages": MESSAGES}]),
    ({"messages": MESSAGES, "id": 1}, [{"messages": MESSAGES, "id": 1}]),
    ({"conversations": [{"from": "human", "value": "hi"}]}, [{"conversations": [{"from": "human", "value": "hi"}]}]),
    ([], []),
]


@pytest.mark.parametrize(("document", "expected"), DOCUMENTS)
def test_a_document_is_an_array_or_holds_one_or_is_one_conversation(document: object, expected: list) -> None:
    assert values_of(json.dumps(document), "json") == expected


def test_a_document_with_mapped_messages_may_be_one_conversation() -> None:
    document = {"turns": MESSAGES}
    assert values_of(json.dumps(document), "json", columns={"messages": "turns"}) == [document]
    assert values_of(json.dumps(document), "json") == MESSAGES


@pytest.mark.parametrize("content", ['{"a": [], "b": []}', "3", '"x"', "null"])
def test_a_document_without_one_array_is_a_message(content: str) -> None:
    assert "expected an array of objects, or an object with one array in it" in complaint(content, "json")


def test_lines_of_json_with_a_fault_in_one_are_a_message_with_the_remedy_that_reads_the_others() -> None:
    content = '{"a": 1}\n{"a": \n{"a": 3}\n'
    message = complaint(content, "json")
    assert message.startswith("raw:2: not a JSON document: ")
    assert message.endswith("(if each line is an object, set `format: jsonl`)")
    assert [isinstance(row, Row) for row in rows_of(content, "jsonl")] == [True, False, True]
    assert "jsonl" not in complaint('{\n"a": 1\n}\n{\n"a": \n}\n', "json")


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "a", "completion": "b", "prompt": "c"}',
        '{"messages": [{"role": "user", "content": "a", "content": "b"}]}',
        '{"prompt": "\\u0022a\\u0022", "completion": "b", "label": {"x": 1, "x": null}}',
        '{"id": 12345678901234567890, "prompt": "a", "prompt": "b", "completion": NaN}',
    ],
)
def test_a_key_that_stands_twice_in_one_object_spoils_its_line_or_document_and_is_named(line: str) -> None:
    good = json.dumps({"prompt": 'a "b" \\ \u2028', "completion": "c"})
    same = '{"prompt": "a", "prompt": "a", "completion": "\\u0022b\\\\u0022"}'
    said = re.compile(
        r".*the key '(prompt|content|x)' stands twice, with two values, in the object {.*; rename one or take it out"
    )
    first, unreadable, other = rows_of("\n".join([good, line, same]), "jsonl")
    assert said.fullmatch(unreadable.reason)
    assert [first.values, other.values] == [json.loads(good), json.loads(same)]
    assert all(said.fullmatch(complaint(content, "json")) for content in (f"[{good}, {line}]", f"{good}\n{line}"))
    assert values_of(f"[{same}]", "json") == [json.loads(same)]


@pytest.mark.parametrize("encoding", [None, "utf-8", "utf-16-le", "gb18030"])
def test_json_is_read_in_each_encoding(encoding: str | None) -> None:
    content = '{"a": "您好👋"}'.encode(encoding or "utf-16")
    assert values_of(content, "jsonl", encoding=encoding) == [{"a": "您好👋"}]
    assert values_of('[{"a": "您好👋"}]'.encode(encoding or "utf-16"), "json", encoding=encoding) == [{"a": "您好👋"}]


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl"])
def test_an_empty_file_has_no_rows(format: str) -> None:
    assert rows_of("", format) == rows_of("\ufeff\n \n" if "json" in format else "\ufeff", format) == []


# Parquet


def write_parquet(rows: list[dict], **options: object) -> None:
    parquet.write_table(pyarrow.Table.from_pylist(rows), "raw.parquet", **options)


def test_parquet_rows_are_plain_values_and_only_the_needed_columns_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "BATCH_ROWS", 2)
    rows = [{"messages": MESSAGES, "n": number, "a.b": None, "image": b"\xff"} for number in range(5)]
    write_parquet(rows, row_group_size=3)
    source = source_of(format="parquet", path="raw.parquet")
    assert list(read_rows(source)) == [Row(f"raw.parquet: row {number + 1}", row) for number, row in enumerate(rows)]
    assert read_keys(source) == ["messages", "n", "a.b", "image"]
    assert [row.values for row in read_rows(source, ["n", "a.b"])] == [{"n": number, "a.b": None} for number in range(5)]


def test_a_value_of_parquet_that_cannot_be_read_spoils_its_row_alone() -> None:
    text = pyarrow.array([b"good", b"\xff\xfe", b"better"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"a": text}), "raw.parquet")
    good, bad, better = read_rows(source_of(format="parquet", path="raw.parquet"))
    assert (good.values, better.values) == ({"a": "good"}, {"a": "better"})
    assert (bad.place, bad.reason.partition(":")[0]) == ("raw.parquet: row 2", "a value that can't be read")


def test_a_row_of_parquet_over_the_limit_spoils_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_file, "ROW_LIMIT", 1000)
    write_parquet([{"a": "x"}, {"a": "y" * 2000}, {"a": "z"}])
    rows = list(read_rows(source_of(format="parquet", path="raw.parquet")))
    assert [isinstance(row, Row) for row in rows] == [True, False, True]


def test_a_parquet_bomb_is_refused_by_its_metadata_and_by_what_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    source = source_of(format="parquet", path="raw.parquet")
    monkeypatch.setattr(raw_file, "FREE_EXPANSION", 10_000)
    write_parquet([{"a": "x" * 1_000_000}], use_dictionary=False, compression="zstd")
    with pytest.raises(ReprotuneError, match=r"raw\.parquet: holds over 200 times its size"):
        read_keys(source)
    write_parquet([{"a": "x" * 1000}] * 9_000)  # the dictionary has it once, so that the metadata claim next to nothing
    assert read_keys(source) == ["a"]
    with pytest.raises(ReprotuneError, match=r"raw\.parquet: holds over 200 times its size"):
        list(read_rows(source))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"x" * 99 + b"PAR1", b"{}"])
def test_what_is_not_parquet_is_a_message(content: bytes) -> None:
    assert complaint(content, "parquet").startswith("raw: not readable as Parquet: ")


def test_two_columns_of_one_name_are_a_message() -> None:
    parquet.write_table(pyarrow.table([[1], [2]], names=["a", "a"]), "raw.parquet")
    with pytest.raises(ReprotuneError, match=r"raw\.parquet: two columns are named 'a'; rename one of them"):
        read_keys(source_of(format="parquet", path="raw.parquet"))


# The Hub


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list]:
    """Puts a function in the place of `datasets.load_dataset`; gives the list of the arguments it gets."""
    import datasets

    Path("requirements").mkdir()
    Path("requirements/hub.txt").write_text(f"datasets=={datasets.__version__}\n", encoding="utf-8")
    tables._load_hub.cache_clear()

    def replace(result: object) -> list:
        asked: list = []

        def load_dataset(*arguments: object, **named: object) -> object:
            asked.append((arguments, named))
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(datasets, "load_dataset", load_dataset)
        return asked

    return replace


def cached(commit: str, rows: list[dict]) -> object:
    """A data set as `datasets` gives it: mapped from a file under its commit."""
    import datasets

    datasets.Dataset.from_list(rows).save_to_disk(commit)
    return datasets.load_from_disk(commit)


HUB = {"format": "hub", "path": "requirements/hub.txt", "name": "someone/chats", "revision": COMMIT, "split": "train[:90%]"}


def test_a_hub_data_set_is_asked_for_at_its_commit_and_gives_its_rows(load: Callable) -> None:
    asked = load(cached(COMMIT, [{"messages": MESSAGES, "n": number} for number in range(600)]))
    rows = list(read_rows(source_of(**HUB, config="en"), ["messages"]))
    assert asked == [(("someone/chats", "en"), {"split": "train[:90%]", "revision": COMMIT, "keep_in_memory": False})]
    assert rows[599] == Row("someone/chats, train[:90%]: row 600", {"messages": MESSAGES})
    assert len(rows) == 600
    (row, *_) = conversations(**HUB, config="en", language="en")
    assert (row.language, turns(row)) == ("en", [("user", "hi")])
    assert len(asked) == 1


def test_another_commit_from_the_cache_is_not_taken_for_the_pinned_one(load: Callable) -> None:
    load(cached("f" * 40, [{"messages": MESSAGES}]))
    with pytest.raises(ReprotuneError, match=f"^someone/chats@{COMMIT} could not be had from .*, only another version"):
        read_keys(source_of(**HUB))


class Hub(BaseHTTPRequestHandler):
    """Serves one data set at COMMIT."""

    files = {"train.jsonl": json.dumps({"messages": MESSAGES}).encode() + b"\n", "README.md": b"# Chats"}

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, name = self.path.partition("?")[0], "someone/chats"
        if path == f"/api/datasets/{name}/revision/{COMMIT}":
            about = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in self.files], "tags": []}
            self._answer(json.dumps(about).encode())
        elif path == f"/api/datasets/{name}/tree/{COMMIT}":
            listing = [{"type": "file", "path": file, "size": len(text), "oid": "0" * 40} for file, text in self.files.items()]
            self._answer(json.dumps(listing).encode())
        elif (file := path.removeprefix(f"/datasets/{name}/resolve/{COMMIT}/")) in self.files:
            self._answer(self.files[file], ETag=f'"{file}"', **{"X-Repo-Commit": COMMIT})
        else:
            self._answer(b"", 404, **{"X-Error-Code": "RevisionNotFound" if "f" * 40 in path else "EntryNotFound"})

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body)), "Content-Type": "application/json"} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Nothing on the test's output."""


READ_HUB = """
import json, sys
from pydantic import TypeAdapter
from stages.lib.core.errors import ReprotuneError
from stages.collect.readers import read_rows
from stages.collect.sources import Source
for revision in sys.argv[2:]:
    source = TypeAdapter(Source).validate_python(json.loads(sys.argv[1]) | {"revision": revision})
    try:
        print([row.values for row in read_rows(source)])
    except ReprotuneError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("load")
def test_from_a_hub_at_hf_endpoint_comes_the_pinned_commit_or_nothing() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(Path("cache").resolve()), "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", READ_HUB, json.dumps(HUB | {"split": "train"}), COMMIT, "f" * 40, "e" * 40],
            env=environment(PYTHONPATH=str(REPO), **settings), capture_output=True, text=True, check=True, timeout=600,
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    rows, unknown, fallback = done.stdout.splitlines()
    assert rows == str([{"messages": MESSAGES}])
    assert unknown.startswith(f"someone/chats@{'f' * 40} could not be read from {endpoint}: Revision")
    assert fallback.startswith(f"someone/chats@{'e' * 40} could not be had from {endpoint}, only another version from the cache")


@pytest.mark.parametrize("error", [ValueError("Unknown split"), ConnectionError("no way\nthere"), "gated"])
def test_a_hub_data_set_that_cannot_be_had_is_one_line(load: Callable, monkeypatch: pytest.MonkeyPatch, error: object) -> None:
    import datasets

    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example")
    load(error if isinstance(error, Exception) else datasets.exceptions.DatasetNotFoundError("gated"))
    with pytest.raises(ReprotuneError) as caught:
        read_keys(source_of(**HUB))
    message = str(caught.value)
    assert message.startswith(f"someone/chats@{COMMIT} could not be read from https://mirror.example: ")
    assert message.endswith("(check name, config, split and revision; HF_ENDPOINT names a mirror, HF_TOKEN opens gated data)")
    assert "\n" not in message


def test_a_hub_source_names_the_file_that_pins_datasets(load: Callable) -> None:
    asked = load(None)
    Path("requirements/hub.txt").write_text("orjson==1\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"requirements/hub\.txt: does not pin datasets"):
        read_keys(source_of(**HUB))
    Path("requirements/hub.txt").write_text("datasets==0.0.1\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"datasets 0\.0\.1 is pinned; installed: "):
        read_keys(source_of(**HUB))
    assert asked == []


def test_a_folder_of_the_projects_is_never_taken_for_a_data_set_of_the_hub(load: Callable) -> None:
    asked = load(None)
    Path("someone/chats").mkdir(parents=True)
    with pytest.raises(ReprotuneError, match="someone/chats: stands in the project; expected a data set of the hub"):
        read_keys(source_of(**HUB))
    assert asked == []


def test_what_only_some_formats_need_is_not_loaded_for_the_others() -> None:
    code = "import sys, stages.collect; sys.exit(bool({'datasets', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], env=environment(PYTHONPATH=str(REPO)), check=False).returncode == 0


# Packaged corpora


def test_chatterbot_in_english_gives_its_2026_dialogues_with_topics_as_labels() -> None:
    rows = conversations(format="chatterbot", path="x", language="en")
    assert len(rows) == 2026
    first = rows[0]
    assert (first.place, first.key, first.label, first.language) == ("ai.yml: conversation 1", None, "ai", "en")
    assert turns(first)[0] == ("user", "What is AI?")
    assert turns(first)[1][1].startswith("Artificial Intelligence is the branch of engineering")
    assert {row.label for row in rows} >= {"ai", "food", "history", "money"}


def test_chatterbot_in_chinese_is_chinese() -> None:
    rows = conversations(format="chatterbot", path="x", language="zh")
    assert turns(rows[0]) == [("user", "什么是ai"), ("assistant", "人工智能是工程和科学的分支,致力于构建具有思维的机器。")]
    assert {row.language for row in rows} == {"zh"}


def test_only_the_topics_that_a_source_names_are_read() -> None:
    everything = conversations(format="chatterbot", path="x", language="en")
    chosen = conversations(format="chatterbot", path="x", language="en", topics=["food", "ai"])
    assert chosen == [row for row in everything if row.label in {"ai", "food"}]
    with pytest.raises(ReprotuneError, match=r"has no 'fod' in en; it has ai, botprofile, .*trivia$"):
        conversations(format="chatterbot", path="x", language="en", topics=["fod", "ai"])


def test_chatterbot_speakers_take_turns() -> None:
    for row in conversations(format="chatterbot", path="x", language="en"):
        assert [role for role, _ in turns(row)] == [("user", "assistant")[turn % 2] for turn in range(len(row.messages))]


def test_in_chatterbots_yaml_every_scalar_stays_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "chatterbot_corpus/data/english"
    folder.mkdir(parents=True)
    (tmp_path / "chatterbot_corpus/__init__.py").write_text("", encoding="utf-8")
    (folder / "books.yml").write_text("conversations:\n- - No\n  - 1984\n  - 2001-01-01\n- - ~\n  - 1e3\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    rows = conversations(format="chatterbot", path="x", language="en")
    assert [turns(row) for row in rows] == [
        [("user", "No"), ("assistant", "1984"), ("user", "2001-01-01")],
        [("user", "~"), ("assistant", "1e3")],
    ]
    assert [row.place for row in rows] == ["books.yml: conversation 1", "books.yml: conversation 2"]


def test_a_packaged_corpus_can_have_its_labels_as_replies_to_what_was_said_first() -> None:
    said = conversations(format="chatterbot", path="x", language="en")
    asked = conversations(format="chatterbot", path="x", language="en", reply="label")
    assert [turns(row) for row in asked] == [[turns(row)[0], ("assistant", row.label)] for row in said]
    assert [(row.label, row.place) for row in asked] == [(row.label, row.place) for row in said]


def test_a_conversation_without_a_label_or_a_message_has_no_reply_either() -> None:
    source = source_of(format="chitchat", path="x", reply="label")
    said = {"role": "user", "content": "a"}
    for label, messages, expected in ((None, [said, said], [said]), ("topic", [], [])):
        assert row_of("x", {"label": label, "messages": messages}, source).values["messages"] == expected


@pytest.mark.parametrize("language", sorted(CHATTERBOT_FOLDERS))
def test_chatterbot_has_every_language_that_params_may_name(language: str) -> None:
    assert next(read_source(source_of(format="chatterbot", path="x", language=language))).messages


def test_chitchat_gives_its_7168_conversations_under_their_own_ids_and_the_first_to_speak_is_the_user() -> None:
    rows = conversations(format="chitchat", path="x")
    assert len(rows) == len({row.key for row in rows}) == 7168
    first = rows[0]
    assert first.key == "a07edb12-6b91-4138-b11e-02421888d699"
    assert turns(first)[:3] == [("user", "Hello"), ("user", "How are you doing today?"), ("assistant", "whats up MD")]
    assert all(row.messages[0]["role"] == "user" for row in rows if row.messages)
    assert len({row.label for row in rows}) > 10
