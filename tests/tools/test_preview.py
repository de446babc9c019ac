"""Bringing one's own file: what is proposed is accepted by the params model and reads the conversations that are in it."""

import csv
import gzip
import itertools
import json
import os
import pickle
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
import yaml
from conftest import REPO
from pyarrow import parquet

from stages.base_model import __main__ as base_model
from stages.collect.__main__ import CollectParams
from stages.collect.conversations import read_source
from stages.collect.raw_conversation import RawConversation
from stages.collect.rows import UnreadableRow
from stages.lib.core.params import Yaml12Loader, read_params
from tools.console import run_tool
from tools.preview import __main__ as preview
from tools.preview import file_kind, sample
from tools.preview.file_kind import tell_delimiter, tell_json
from tools.preview.source_entry import yaml_entry
from tools.preview.usual_names import USUAL_NAMES, key_of

HERE = REPO / "tests"


def cases(name: str) -> pytest.MarkDecorator:
    """One test for each line of tests/cases/preview_<name>.jsonl."""
    rows = [json.loads(line) for line in (HERE / f"cases/preview_{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    return pytest.mark.parametrize("case", rows, ids=[row["label"] for row in rows])


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project of this repo's params, and a folder beside it, where people's files lie."""
    (tmp_path / "project/data/raw").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    shutil.copy(HERE.parent / "params.yaml", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What the command prints for its arguments."""

    def run(*arguments: str | Path, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["preview", *map(str, arguments)])
        assert preview.main() == code
        return capsys.readouterr().out

    return run


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch):
    """The error that the command ends with."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr(sys, "argv", ["preview", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            run_tool(preview.main)
        return str(end.value.code)

    return run


def write(name: str, lines: list[str], encoding: str = "utf-8", pack: str | None = None) -> Path:
    path = Path("../mine", name)
    content = "".join(f"{line}\n" for line in lines).encode(encoding)
    if pack == "parquet":
        parquet.write_table(pyarrow.Table.from_pylist([json.loads(line) for line in lines]), path)
    elif pack == "zstd":
        with pyarrow.output_stream(str(path), compression="zstd") as file:
            file.write(content)
    else:
        path.write_bytes(gzip.compress(content) if pack == "gzip" else content)
    return path


def write_csv(name: str, *rows: list) -> Path:
    with Path("../mine", name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return Path("../mine", name)


def pasted(output: str) -> dict[str, dict]:
    """The entry that is to be pasted, as it stands in the output."""
    after = output.partition("under `collect.sources`")[2].splitlines()[1:]
    block = list(itertools.takewhile(bool, itertools.dropwhile(lambda line: not line, after)))
    return yaml.load("\n".join(block), Loader=Yaml12Loader)


def do_as_told(output: str) -> None:
    """Paste the entry into params.yaml, in place of all sources, and run the commands but for DVC's."""
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["collect"]["sources"] = pasted(output)
    Path("params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    commands = [line.strip() for line in output.partition("\nand type:\n")[2].splitlines() if line.strip()]
    assert [command.split()[0] for command in commands if not command.startswith(("cp ", "dvc add "))] == ["dvc"]
    for command in commands:
        if command.startswith("cp "):
            subprocess.run(shlex.split(command), check=True)


def read_pasted() -> list[dict]:
    """The conversations that `collect` reads with what was pasted."""
    (source,) = read_params("collect", CollectParams).sources.values()
    rows = []
    for row in read_source(source):
        if isinstance(row, UnreadableRow) and row.fate == "left_out":
            continue
        assert isinstance(row, RawConversation), row
        found = {"key": row.key, "label": row.label, "language": row.language, "group": row.group}
        messages = [[message["role"], message["content"]] for message in row.messages]
        rows.append({"messages": messages} | {key: value for key, value in found.items() if value is not None})
    return rows


# Files of many kinds


@cases("files")
def test_what_is_printed_shows_and_reads_the_conversations_of_the_file(case: dict, look) -> None:
    path = write(case["file"], case["input"], case["encoding"], case["pack"])
    output = look(path)
    ((name, entry),) = pasted(output).items()
    assert entry == {"path": f"data/raw/{case['file']}"} | case["expected"]
    do_as_told(output)
    assert read_pasted() == case["conversations"]
    for text in [*case["says"], f"cp {shlex.quote(str(path))} ", "dvc repro"]:
        assert text in output
    assert "can't be read" not in output
    assert name not in yaml.safe_load((HERE.parent / "params.yaml").read_text(encoding="utf-8"))["collect"]["sources"]
    shown = output.partition("The first, as the model will see them")[2]
    for conversation in case["conversations"][:2]:
        for role, content in conversation["messages"]:
            text = f"[{content}]" if role == "assistant" else content
            assert "  " + f"{role}: {text}".replace("\n", "\n  ") + "\n" in shown


@cases("refused")
def test_what_can_not_be_read_is_refused_in_one_sentence(
    case: dict, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(case["file"]).write_bytes(bytes.fromhex(case["input"]))
    monkeypatch.setattr(sys, "argv", ["preview", case["file"]])
    with pytest.raises(SystemExit) as end:
        run_tool(preview.main)
    assert str(end.value.code).startswith(f"error: {case['expected']}")
    assert "\n" not in str(end.value.code)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "said"), [("nowhere.csv", "no such file"), ("data", "no file in it"), ("*.csv", ".*no file in it")]
)
def test_a_missing_file_and_an_empty_folder_are_refused(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["preview", name])
    with pytest.raises(SystemExit, match=f"^error: {re.escape(name.replace('*.csv', '.'))}: {said}"):
        run_tool(preview.main)


@pytest.mark.parametrize("others", [[], ["b.csv"]])
def test_a_pipe_is_refused_unread_and_its_text_in_a_file_is_read(
    others: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look
) -> None:
    os.mkfifo(tmp_path / "a.csv")  # nobody writes to it: to read it would never end
    monkeypatch.setattr(sys, "argv", ["preview", str(tmp_path / "a.csv"), *others])
    with pytest.raises(SystemExit, match=r"a\.csv: is no file but a pipe or a device; write what it gives to a file, "):
        run_tool(preview.main)
    assert "columns    question -> user, answer -> assistant" in look(write("a.csv", ["question,answer", "a,b", "c,d"]))


@pytest.mark.parametrize("note", ["sep=;", '"sep=;"', "SEP=,", "sep=\t", "sep=;;"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_first_line_for_excel_alone_is_to_be_deleted(note: str, encoding: str, look, complaint) -> None:
    lines = ["question;answer", "a;b", "c;d"]
    path = write("x.csv", [note, *lines], encoding)
    assert complaint(path) == (
        f"error: ../mine/x.csv:1: found {note.strip()!r}, which only Excel understands; expected the header. Delete this line, "
        "and look again"
    )
    assert pasted(look(write("x.csv", lines, encoding)))["x"]["columns"] == {"user": "question", "assistant": "answer"}


def test_a_header_that_begins_with_sep_is_a_header(look) -> None:
    output = look(write("x.csv", ["sep=entry,b", "1,2"]), "--columns", "user=sep=entry", "assistant=b")
    assert "columns    sep=entry -> user" in output


# What is wrong


def test_unreadable_rows_are_listed_ten_at_a_time_and_counted(look) -> None:
    rows = [["a", "b", "c"] if number in range(3, 15) else [f"question {number}", "yes"] for number in range(20)]
    output = look(write_csv("bad.csv", ["question", "answer"], *rows))
    assert "12 rows can't be read, the first 10:\n  ../mine/bad.csv:5: 3 cells; the header has 2" in output
    assert output.count("the header has 2") == 10
    assert "mend them, or set `collect.bad_rows: drop`" in output
    assert "8 conversations of 16 messages" in output


def test_a_quote_left_open_is_said_beside_what_was_read(look) -> None:
    output = look(write("open.csv", ["question,answer", "a,b", '"c,d']))
    assert "After these rows the file can't be read" in output
    assert "../mine/open.csv:3: not readable as CSV" in output


def test_a_role_that_no_one_knows_is_asked_for(look) -> None:
    rows = [
        [1, "customer", "hi"],
        [1, "agent", "yes?"],
        [1, "Ms Lee", "x"],
        [1, "Mr Oh", "y"],
        [2, "customer", "hi"],
        [2, "agent", "no"],
    ]
    path = write_csv("roles.csv", ["chat", "from", "text"], *rows)
    output = look(path)
    assert "who is Ms Lee, Mr Oh? Say it: --roles NAME=ROLE, of system, user, assistant, tool" in output
    assert "role 'Ms Lee'" in output
    told = look(path, "--roles", "Ms Lee=user", "Mr Oh=system")
    assert "can't be read" not in told
    roles = {"customer": "user", "agent": "assistant", "Ms Lee": "user", "Mr Oh": "system"}
    assert pasted(told)["roles"]["roles"] == roles


CHATS = [["chat", "from", "text"], *([n, who, f"text {n}"] for n in range(3) for who in ("Anna", "Bert"))]


def test_a_stated_role_that_no_row_has_is_refused(complaint) -> None:
    path = write_csv("chats.csv", *CHATS)
    said = complaint(path, "--roles", "Anna=user", "Bob=assistant")
    assert said == "error: --roles: no row has the role 'Bob'; found 'Anna', 'Bert'"
    pairs = write_csv("pairs.csv", ["question", "answer"], ["a", "b"])
    assert complaint(pairs, "--roles", "Bob=user") == "error: --roles: no row has the role 'Bob'; its rows name no roles"


def test_a_stated_role_may_stand_in_later_rows(look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST_ROWS", 4)
    output = look(write_csv("chats.csv", *CHATS), "--roles", "Bob=user")
    assert "no row of these has the role 'Bob' of --roles; found 'Anna', 'Bert'." in output
    assert pasted(output)["chats"]["roles"] == {"Anna": "user", "Bert": "assistant", "Bob": "user"}


def test_roles_in_the_lists_of_a_prompt_and_its_completion_are_names_too(look) -> None:
    row = {"prompt": [{"role": "Anna", "content": "a"}], "completion": [{"role": "Bert", "content": "b"}]}
    output = look(write("x.jsonl", [json.dumps(row)]), "--roles", "Anna=user", "Bert=assistant")
    assert "roles      Anna 1, Bert 1\n" in output
    do_as_told(output)
    assert read_pasted() == [{"messages": [["user", "a"], ["assistant", "b"]]}]


@pytest.mark.parametrize(
    ("name", "rows", "problem", "typed"),
    [
        (
            "people.csv",
            [["chat", "from", "text"], [1, "Al", "hi"], [1, "Bo", "hi"], [1, "Cy", "hi"]],
            "role 'Al'",
            "--roles Al=ROLE Bo=ROLE Cy=ROLE",
        ),
        (
            "parts.csv",
            [["messages"], ['[{"role": "user", "content": null}]']],
            'expected "role" and a text',
            "--columns messages=",
        ),
    ],
)
def test_a_file_of_which_nothing_can_be_read_is_not_to_be_pasted(name: str, rows: list, problem: str, typed: str, look) -> None:
    output = look(write_csv(name, *rows), code=1)
    assert "reads as   no conversation" in output
    assert problem in output
    assert "No conversation comes out of it, so there is nothing to train on yet." in output
    assert f"\n  python -m tools.preview ../mine/{name} {typed}" in output
    assert output.splitlines()[-1].startswith("Nothing to paste: ")
    for absent in ("paste this", "dvc repro", "bad_rows: drop"):
        assert absent not in output


def test_conversations_that_cleaning_drops_are_counted_and_all_of_them_is_a_question(look) -> None:
    path = write_csv(
        "turned.csv", ["chat", "from", "text"], *([n, who, f"text {n}"] for n in range(3) for who in ("Anna", "Bert"))
    )
    turned = look(path, "--roles", "Anna=assistant", "Bert=user", code=1)
    assert "cleaning   drops no_reply 3\n" in turned
    reason = "cleaning drops all conversations, no_reply 3 (are the columns and roles the right ones?)"
    assert turned.endswith(f"\nNothing to paste: {reason}.\n")
    assert "dvc repro" not in turned.replace("`dvc repro base_model`", "")
    assert "no_reply" not in look(path)


@pytest.mark.parametrize("place", [0, 150])
def test_a_few_nuls_in_a_text_are_said_with_the_first_line_that_has_one(place: int, look) -> None:
    rows = [[f"How late is it in city {number}?", "Noon, I think."] for number in range(200)]
    rows[place] = ["who are\0 you?", "I am\0 fine"]
    output = look(write_csv("nuls.csv", ["question", "answer"], *rows))
    assert f"It holds NUL characters, the first in line {place + 2}." in output
    assert "200 conversations of 400 messages" in output
    assert "control_characters 1" in output
    assert "NUL" not in look(write_csv("none.csv", ["question", "answer"], *rows[:place], *rows[place + 1 :]))


@pytest.mark.parametrize(
    "content",
    [
        bytes(16) + b"text, in fixed fields" * 9,
        pickle.dumps(["a text, long enough to look like one\n" * 20] * 3),
        b"texts/one.csv" + bytes(400) + b"question,answer\n" * 300,
        struct.pack("<400d", *range(400)),
    ],
    ids=["fields", "pickle", "tar", "numbers"],
)
def test_a_binary_file_that_holds_texts_is_refused(content: bytes, complaint) -> None:
    Path("x.csv").write_bytes(content)
    assert complaint("x.csv").startswith("error: x.csv: is a binary file; expected CSV")


# Exports


def exported_tree(number: int, known: bool = False) -> dict:
    """A conversation as in conversations.json of ChatGPT's export, or laid out otherwise."""

    def node(id: str, parent: str | None, children: list[str], role: str | None, text: str) -> dict:
        content = {"content_type": "text", "parts": [text]}
        message = {"id": id, "author": {"role": role, "name": None}, "content": content, "weight": 1.0}
        held = {"message": message if role else None} if known else {"role": role, "text": text}
        return {"id": id, **held, "parent": parent, "children": children}

    nodes = [node("r", None, ["u"], None, ""), node("u", "r", ["a"], "user", "hi"), node("a", "u", [], "assistant", "hello")]
    return {
        "title": f"chat {number}",
        "create_time": 1.7e9,
        "mapping": {one["id"]: one for one in nodes},
        "current_node": "a",
        "conversation_id": f"c{number}",
        "default_model_slug": "gpt",
        "id": f"c{number}",
    }


@pytest.mark.parametrize("arguments", [[], ["--columns", "messages=mapping", "role=author", "content=content"]])
@pytest.mark.parametrize("number", [1, 3])
def test_a_tree_of_messages_is_to_be_flattened(arguments: list[str], number: int, complaint) -> None:
    path = write("conversations.json", [json.dumps([exported_tree(one) for one in range(number)])])
    said = complaint(path, *arguments)
    assert said.startswith("error: ../mine/conversations.json: 'mapping' holds a tree of messages in each row")
    assert 'write JSONL, a line for each: {"messages": [{"role": "user", "content": "..."}' in said


@pytest.mark.parametrize("alone", [True, False])
def test_an_export_of_chatgpt_is_read(alone: bool, look) -> None:
    rows = [exported_tree(one, known=True) for one in range(1 if alone else 3)]
    found = look(write("conversations.json", [json.dumps(rows[0] if alone else rows)]))
    assert "columns: {messages: mapping, role: role, content: content, id: id}" in found
    assert "user: hi\n  assistant: [hello]" in found


def test_a_column_called_mapping_that_is_no_tree_is_a_column(look) -> None:
    row = {"prompt": "a", "completion": "b", "mapping": {"a": {"parent": 1}, "b": 2}}
    assert "not used: mapping" in look(write("x.jsonl", [json.dumps(row)]))


def test_messages_of_no_known_conversation_need_a_column_that_says_it(look) -> None:
    messages = [
        {"id": n, "type": "message", "date": "2024-03-01T10:00:00", "from": who, "from_id": f"user{n % 2}", "text": "hi"}
        for n, who in enumerate(("Anna", "Bert"))
    ]
    chat = {"name": "Bert", "type": "personal_chat", "id": 7, "messages": messages}  # as Telegram exports one
    path = write("result.jsonl", [json.dumps(message) for message in messages])
    said = " ".join(look(path, code=1).split())
    assert "its role in 'from' and its text in 'text', but no column says which conversation it belongs to" in said
    for message in messages:
        message["conversation"] = 7
    path = write("result.json", json.dumps(chat, indent=1).splitlines())
    assert pasted(look(path))["result"]["roles"] == {"Anna": "user", "Bert": "assistant"}


def test_columns_that_are_no_messages_are_not_said_to_lack_a_conversation(look) -> None:
    assert "no column says" not in look(write_csv("odd.csv", ["alpha", "text"], ["a", "b"]), code=1)


# Columns


def test_a_description_beside_talks_that_begin_with_a_reply_may_be_their_question(look) -> None:
    asked, replied = {"role": "user", "content": "Yes."}, {"role": "assistant", "content": "Is it plugged in?"}
    last = {"role": "assistant", "content": "Then the bulb is broken."}
    for first, says in (([replied, asked, last], True), ([asked, last], False)):
        path = write("lamps.jsonl", [json.dumps({"description": "The lamp is dark.", "source": "web", "messages": first})])
        said = " ".join(look(path).split())
        assert ("description may hold the first question" in said) == says
        assert "source may hold" not in said


def test_authors_in_objects_that_name_nobody_are_not_guessed_to_take_turns(look) -> None:
    said = [{"from": {"user": {"label": "x"}, "application": None}, "text": text} for text in ("Is it open?", "Yes.")]
    rows = [json.dumps({"messages": messages}) for messages in (said, said[::-1])]
    assert "Nothing to paste: the names do not tell" in look(write("objects.jsonl", rows), code=1)


def test_columns_that_tell_nothing_are_listed_with_cells_and_what_to_type(look) -> None:
    path = write_csv("odd.csv", ["alpha", "beta"], ["How late is it?", "Noon."], ["Who is it?", "Me."])
    output = look(path, code=1)
    assert "  alpha: How late is it? | Who is it?\n  beta: Noon. | Me.\n" in output
    typed = "python -m tools.preview ../mine/odd.csv --columns user=COLUMN assistant=COLUMN"
    assert typed in output
    assert "dvc repro" not in output
    told = look(*shlex.split(typed.replace("user=COLUMN", "user=alpha").replace("assistant=COLUMN", "assistant=beta"))[3:])
    do_as_told(told)
    assert [row["messages"][0][1] for row in read_pasted()] == ["How late is it?", "Who is it?"]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["user=x", "assistant=beta"], "--columns: no column 'x'; found 'alpha', 'beta'"),
        (["user=alpha"], "columns: map either user and assistant, or"),
        (["who=alpha"], "columns: unknown key who; allowed: user, assistant"),
        (["alpha"], "--columns alpha: expected NAME=NAME"),
        (["user=alpha", "assistant=alpha"], "--columns: 'alpha' is mapped to user and to assistant; map it to one of them"),
        (["messages=beta", "role=x", "content=x"], "--columns: 'x' is mapped to role and to content; map it to one of them"),
        (["user=alpha", "user=beta"], "--columns: 'user' stands twice; state it once"),
    ],
)
def test_a_wrong_mapping_is_refused(columns: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["preview", str(write_csv("odd.csv", ["alpha", "beta"], ["a", "b"])), "--columns", *columns])
    with pytest.raises(SystemExit) as end:
        run_tool(preview.main)
    assert str(end.value.code).startswith(f"error: {said}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["user_id", "user", "agent_name", "agent"], {"user": "user", "assistant": "agent", "group": "user_id"}),
        (["客户问题", "客服回复"], {"user": "客户问题", "assistant": "客服回复"}),
        (["customerMessage", "botReply"], {"user": "customerMessage", "assistant": "botReply"}),
        (["session", "question", "answer"], {"user": "question", "assistant": "answer"}),
        (["content", "question", "answer"], {"user": "question", "assistant": "answer"}),
    ],
)
def test_names_tell_the_columns_of_pairs(header: list[str], expected: dict[str, str], look) -> None:
    path = write_csv("x.csv", header, ["1", "ask one", "ann", "yes"][: len(header)], ["2", "ask two", "bea", "no"][: len(header)])
    assert pasted(look(path))["x"]["columns"] == expected


def test_a_row_is_a_message_where_conversations_repeat_and_a_pair_where_they_do_not(look) -> None:
    header = ["chat", "from", "text", "question", "answer"]
    rows = [[1, "customer", "a", "ask", "b"], [1, "agent", "c", "ask", "d"]]
    assert "conversation" in pasted(look(write_csv("x.csv", header, *rows)))["x"]["columns"]
    rows[1][0] = 2
    assert "user" in pasted(look(write_csv("x.csv", header, *rows)))["x"]["columns"]


def test_a_column_that_names_who_writes_is_no_group_and_days_that_can_t_be_told_from_months_are_no_order(look) -> None:
    header = ["chat", "role", "text", "customer_id", "date"]
    rows = [[1, "user", "q", 501, "3/4/2024"], [1, "assistant", "a", 9001, "4/3/2024"]]
    said = look(write_csv("c.csv", header, *rows))
    assert "group" not in pasted(said)["c"]["columns"]
    assert "order" not in pasted(said)["c"]["columns"]
    flat = " ".join(said.split())
    assert "customer_id is not mapped to group: it has several values in one conversation" in flat
    assert "date is not mapped to order: which part of '4/3/2024' is the day can't be told" in flat
    rows[1][3:] = [501, "3/14/2024"]
    rows += [[2, "user", "p", 502, "3/15/2024"], [2, "assistant", "b", 502, "3/16/2024"]]
    found = pasted(look(write_csv("c.csv", header, *rows)))["c"]["columns"]
    assert (found["group"], found["order"]) == ("customer_id", "date")


def test_messages_that_cleaning_leaves_out_of_what_it_keeps_are_counted(look) -> None:
    rows = [[1, "assistant", "hello", 1], [1, "user", "q", 2], [1, "assistant", "a", 3], [1, "user", "thanks", 4]]
    rows += [[2, "user", "who", 1], [2, "assistant", "me", 2]]
    path = write_csv("c.csv", ["chat", "role", "text", "number"], *rows)
    assert "cleaning   repairs roles 1; leaves out 2 messages of the others\n" in look(path)


def test_an_id_that_repeats_and_an_order_that_is_no_order_are_not_mapped(look) -> None:
    pairs = write_csv("p.csv", ["id", "question", "answer"], [1, "a", "b"], [1, "c", "d"])
    assert "id" not in pasted(look(pairs))["p"]["columns"]
    rows = [[1, "user", "a", "3/12/2024"], [1, "assistant", "b", "11/12/2024"]]
    chats = write_csv("c.csv", ["chat", "role", "text", "date"], *rows)
    assert pasted(look(chats))["c"]["columns"]["order"] == "date"
    chats = write_csv(
        "c.csv", ["chat", "role", "text", "date"], *([*row[:3], date] for row, date in zip(rows, "ab", strict=True))
    )
    assert "order" not in pasted(look(chats))["c"]["columns"]


def test_a_blank_name_of_a_column_is_seen(look) -> None:
    path = write_csv("index.csv", ["", "question", "answer", " "], [0, "a", "b", "c"])
    assert "not used: '' (a blank name), ' ' (a blank name)\n" in look(path)
    assert "\n  '' (a blank name): 0\n" in look(write_csv("odd.csv", ["", "beta"], [0, "b"]), code=1)


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a", "name": "Al"}, {"role": "assistant", "content": "b", "weight": 1}]},
        {"turns": [{"role": "user", "text": "a", "name": "Al"}, {"role": "assistant", "text": "b", "weight": 1}]},
        {
            "prompt": [{"role": "user", "content": "a", "name": "Al"}],
            "completion": [{"role": "assistant", "content": "b", "weight": 1}],
        },
    ],
    ids=lambda row: next(iter(row)),
)
def test_keys_of_messages_that_are_not_read_are_listed(row: dict, look) -> None:
    assert "\n           not used in the messages: name\n" in look(write("x.jsonl", [json.dumps(row)]))


TOOL = {"type": "function", "function": {"name": "find", "parameters": {}}}
FOUND = {"role": "observation", "content": "red", "name": "find"}


@pytest.mark.parametrize(
    ("first", "replies", "unused"),
    [
        ({"tools": [TOOL]}, [{"content": '{"a": 1}', "metadata": "find"}, FOUND, {"content": "It is red.", "metadata": ""}], ""),
        ({"tools": "a hammer"}, [{"content": "It is red.", "metadata": "find"}], "tools, metadata"),
        ({"tools": [TOOL]}, [{"content": '{"a": 1}', "metadata": "draft"}], "metadata"),
        ({}, [{"role": "tool", "name": "find", "parameters": {}, "observation": "red"}, {"content": "It is red."}], ""),
    ],
)
def test_keys_that_tell_of_calls_are_listed_where_they_tell_of_none(first: dict, replies: list, unused: str, look) -> None:
    asked = [{"role": "system", "content": "Help.", **first}, {"role": "user", "content": "Which?"}]
    shown = look(write("x.jsonl", [json.dumps({"messages": [*asked, *({"role": "assistant", **reply} for reply in replies)]})]))
    assert re.findall("not used in the messages: (.*)", shown) == ([unused] if unused else [])


@pytest.mark.parametrize(
    ("talk", "beside"),
    [
        ([{"human": "Open?", "assistant": "Yes."}, {"human": "Till?", "assistant": "Nine."}], {"conversation_id": 7}),
        ([{"system": "Be brief.", "input": "Open?", "output": "Yes."}, {"input": "Till?", "output": "Nine."}], {}),
        ([["Open?", "Yes."], ["Till?", "Nine."]], {"dataset": "shop"}),
    ],
    ids=["Firefly", "XTuner", "lists"],
)
def test_a_list_of_questions_with_their_replies_is_proposed_and_read(talk: list, beside: dict, look) -> None:
    output = look(write("talks.jsonl", [json.dumps({"conversation": talk, **beside})]))
    assert pasted(output)["talks"]["columns"]["messages"] == "conversation"
    assert "  user: Till?\n  assistant: [Nine.]\n" in output
    do_as_told(output)
    [read] = read_pasted()
    assert read["messages"][-4:] == [["user", "Open?"], ["assistant", "Yes."], ["user", "Till?"], ["assistant", "Nine."]]


def test_the_numbers_of_tokens_that_ollama_logs_are_no_part_of_a_question(look) -> None:
    rows = [{"prompt": f"Open {at}?", "response": "Yes.", "context": [128006, 882, at]} for at in range(3)]
    found = pasted(look(write("x.jsonl", list(map(json.dumps, rows)))))
    assert found["x"]["columns"] == {"user": "prompt", "assistant": "response"}


def test_earlier_turns_that_are_pairs_are_not_taken_for_the_conversation(look) -> None:
    row = {"问题": "b?", "回答": "b", "history": [["a?", "a"]]}
    assert pasted(look(write("x.jsonl", [json.dumps(row)])))["x"]["columns"]["history"] == "history"


@pytest.mark.parametrize(
    "beside",
    [{"boxes": [[0, 1], [2, 3]]}, {"entities": [["Ann", "person"]]}, {"examples": [{"input": "1+1", "output": "2"}]}],
    ids=lambda beside: next(iter(beside)),
)
def test_other_lists_of_two_beside_a_pair_are_no_conversation(beside: dict, look) -> None:
    row = {**beside, "the_question": "b?", "the_answer": "b"}
    columns = pasted(look(write("x.jsonl", [json.dumps(row)])))["x"]["columns"]
    assert (columns["user"], columns["assistant"]) == ("the_question", "the_answer")


def test_where_all_keys_of_messages_are_read_none_is_listed(look) -> None:
    row = {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    assert "not used" not in look(write("x.jsonl", [json.dumps(row)]))


# What to paste and type


def test_a_file_in_data_raw_is_not_copied_and_one_that_was_copied_is_not_copied_again(look) -> None:
    path = write_csv("own.csv", ["question", "answer"], ["a", "b"])
    do_as_told(look(path))
    for again in (Path("data/raw/own.csv"), Path("data/raw/own.csv").resolve(), path):
        output = look(again)
        assert "cp " not in output
        assert "params.yaml reads this file already" in output
        assert pasted(output)["own"]["path"] == "data/raw/own.csv"


def test_another_file_of_the_same_name_gets_another_name(look) -> None:
    do_as_told(look(write_csv("own.csv", ["question", "answer"], ["a", "b"])))
    output = look(write_csv("own.csv", ["question", "answer"], ["other", "text"]))
    assert "cp ../mine/own.csv data/raw/own_2.csv" in output
    assert pasted(output)["own_2"]["path"] == "data/raw/own_2.csv"


def test_a_link_that_leads_out_of_the_project_is_read_as_pasted(look) -> None:
    path = write_csv("one.csv", ["question", "answer"], ["a", "b"])
    Path("data/raw/link.csv").symlink_to(path.resolve())
    output = look("data/raw/link.csv")
    assert pasted(output)["link"]["outside"] is True
    assert "since data/raw/link.csv is a link that leads out of the project" in output
    do_as_told(output)
    assert [row["messages"][0][1] for row in read_pasted()] == ["a"]


def test_a_folder_of_raw_files_that_is_a_link_leads_out_too(look) -> None:
    path = write_csv("one.csv", ["question", "answer"], ["a", "b"])
    Path("data/raw").rmdir()
    Path("data/raw").symlink_to(Path("../mine").resolve())
    for file in ("data/raw/one.csv", path):
        output = look(file)
        assert pasted(output)["one"]["outside"] is True
        assert "dvc add" not in output  # DVC adds nothing in such a folder
    do_as_told(output)
    assert [row["messages"][0][1] for row in read_pasted()] == ["a"]


def test_a_link_inside_the_project_and_one_to_the_cache_of_dvc_need_no_leave(look) -> None:
    path = write_csv("one.csv", ["question", "answer"], ["a", "b"])
    cached = Path("../mine/files/md5/00") / ("0" * 30)
    cached.parent.mkdir(parents=True)
    shutil.copy(path, cached)
    shutil.copy(path, "own.csv")
    for number, file in enumerate((cached, Path("own.csv"))):
        Path(f"data/raw/link{number}.csv").symlink_to(file.resolve())
        output = look(f"data/raw/link{number}.csv")
        assert "outside" not in output
        assert "dvc add data/raw/link" in output
        do_as_told(output)
        assert len(read_pasted()) == 1


def test_the_source_gets_a_name_that_is_free_or_the_one_that_is_wanted(look) -> None:
    path = write_csv("chatterbot english.csv", ["question", "answer"], ["a", "b"])
    assert list(pasted(look(path))) == ["chatterbot_english_2"]
    assert list(pasted(look(path, "--name", "mine"))) == ["mine"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chatterbot_english", "is a source already"),
        ("Chatterbot_English", "is a source already"),
        ("2024", "expected a letter"),
        ("x.y", "expected a letter"),
        ("../x", "expected a letter"),
        ("x; touch y", "expected a letter"),
        ("", "expected a letter"),
    ],
)
def test_a_name_that_is_taken_or_wrong_is_refused(name: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv("x.csv", ["question", "answer"], ["a", "b"])
    monkeypatch.setattr(sys, "argv", ["preview", str(path), "--name", name])
    with pytest.raises(SystemExit, match=f"^error: --name {name}: {said}"):
        run_tool(preview.main)


def test_format_and_encoding_can_be_stated(look) -> None:
    rows = ["question,answer", "ü,ö"]
    assert pasted(look(write("x.csv", rows, "latin-1"), "--encoding", "latin-1"))["x"]["encoding"] == "latin-1"
    lines = ['"question","answer"', '"[1]","{}"']
    assert pasted(look(write("y.txt", lines), "--format", "tsv"))["y"] == {
        "format": "tsv", "path": "data/raw/y.txt", "delimiter": ",", "columns": {"user": "question", "assistant": "answer"}
    }  # fmt: skip


def test_the_suffix_tells_where_one_column_tells_nothing(look) -> None:
    lines = ["messages", '"[{""role"": ""user"", ""content"": ""a""}, {""role"": ""assistant"", ""content"": ""b""}]"']
    for format in ("csv", "tsv"):
        assert pasted(look(write(f"x.{format}", lines)))["x"]["format"] == format


@pytest.mark.parametrize("encoding", ["klingon", "zip", "idna"])
def test_a_stated_encoding_that_is_none_of_text_is_refused(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("x.csv", ["question,answer", "a,b"])
    monkeypatch.setattr(sys, "argv", ["preview", str(path), "--encoding", encoding])
    with pytest.raises(SystemExit, match=f"^error: --encoding {encoding}: not known"):
        run_tool(preview.main)


# Only the first rows


def test_of_a_large_file_the_first_rows_are_read_and_the_cut_conversation_is_left_out(
    look, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [[number // 3, ("customer", "agent", "customer")[number % 3], f"text {number}"] for number in range(400)]
    path = write_csv("large.csv", ["chat", "from", "text"], *rows)
    monkeypatch.setattr(sample, "MOST_ROWS", 100)
    read = []
    kept = sample.read_rows
    monkeypatch.setattr(sample, "read_rows", lambda source: (read.append(row) or row for row in kept(source)))
    output = look(path)
    assert len(read) == 101
    assert "rows       the first 100; what follows is about these" in output
    assert "33 conversations of 99 messages" in output


def test_rows_of_many_bytes_are_cut_off_too(look, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST_BYTES", 5000)
    path = write_csv("wide.csv", ["question", "answer"], *([f"{number} " + "word " * 300, "yes"] for number in range(50)))
    output = look(path)
    assert "the first 4; what follows" in output
    assert "... (9" in output  # a text of 1,502 characters is cut at 600


def test_a_head_that_is_cut_inside_a_character_or_a_record_is_no_trouble(look, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv("zh.csv", ["问题", "回答"], *([f"第{number}个问题，请问？", f"第{number}个回答。"] for number in range(60)))
    for head in range(200, 230, 2):
        monkeypatch.setattr(file_kind, "HEAD", head)
        assert pasted(look(path))["zh"] == {
            "format": "csv",
            "path": "data/raw/zh.csv",
            "columns": {"user": "问题", "assistant": "回答"},
        }


def test_a_head_that_ends_inside_a_line_of_json_still_tells_jsonl(look, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("x.jsonl", ['{"question": "one", "answer": "two"}'] * 3)
    for head in (40, 70):
        monkeypatch.setattr(file_kind, "HEAD", head)
        assert pasted(look(path))["x"]["format"] == "jsonl"


# What is shown


def test_with_a_chat_template_what_is_labelled_stands_in_brackets(tiny_model_folder: Path, look) -> None:
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["base_model"] |= {"source": "path", "path": str(tiny_model_folder), "name": "tiny", "revision": None}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    shutil.copytree(REPO / "requirements", "requirements")
    base_model.main()
    output = look(write_csv("x.csv", ["question", "answer"], ["How are you?", "Fine."]))
    assert "  <|im_start|>user\n  How are you?<|im_end|>\n  <|im_start|>assistant\n  [Fine.<|im_end|>]\n" in output
    assert "dvc repro base_model" not in output


def test_on_a_terminal_it_is_green_unless_colours_are_unwanted(look, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_csv("x.csv", ["question", "answer"], ["How are you?", "Fine."])
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "assistant: \x1b[32mFine.\x1b[0m\n" in look(path)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "assistant: [Fine.]\n" in look(path)


def test_what_would_control_the_terminal_is_shown_as_text(look) -> None:
    path = write("x.jsonl", [json.dumps({"prompt": "a\x1b]0;title\x07b", "completion": "c\u202ed"})])
    output = look(path)
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_no_line_of_its_own_is_longer_than_100_columns(look) -> None:
    header = [f"column number {number}" for number in range(30)]
    output = look(write_csv("x.csv", ["question", "answer", *header], ["a", "b", *header]))
    assert max(map(len, output.splitlines())) <= 100


# Guessing


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("question;answer, short\na;b\nc, d;e\nf;g\n", ";"),
        ("a,b\n1,2;3;4\n5,6;7;8\n", ","),
        ('a;b\n"1;2";"3,""4"""\n', ";"),
        ("a|b,c|d\n1|2|3\n4|5|6\n", "|"),
        ("one\ntwo\n", None),
    ],
)
def test_the_delimiter_is_the_one_that_parts_most_rows_like_the_header(text: str, delimiter: str | None) -> None:
    assert tell_delimiter(text) == delimiter


@pytest.mark.parametrize(
    ("text", "format"),
    [
        ('{"prompt": 1, "completion": 2}\n', "jsonl"),
        ('{"data": [{"a": 1}]}\n', "json"),
        ('{"a": 1}\n{"a"\n{"a": 3}\n', "jsonl"),
        ('[\n{"a": 1}\n]\n', "json"),
        ('[\n{"a": 1},\n{"a": 2},\n{"a": 3}\n]\n', "json"),
        ('{\n"data": [\n{}\n]\n}\n', "json"),
        ("[2024-01-01 10:00] Ann: hi\n", None),
        ("{name},text\n", None),
    ],
)
def test_lines_of_json_and_a_document_are_told_apart(text: str, format: str | None) -> None:
    assert tell_json(text, whole=True) == format


ONE_CONVERSATION = [
    '{"dialog_id":7,"dialog":[{"speaker":"customer","text":"hi"},{"speaker":"agent","text":"hello"}]}\n',
    '{"conversation":[{"human":"a","assistant":"b"},{"human":"c","assistant":"d"}]}\n',
    '{"prompt":"a","comple',
]


@pytest.mark.parametrize(
    ("text", "suffix", "format"),
    [
        *((text, "jsonl", "jsonl") for text in ONE_CONVERSATION),
        *((text, "json", "json") for text in ONE_CONVERSATION),
        ('{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":NaN}\n', "jsonl", "jsonl"),
        ('{"prompt":"a","completion":NaN}\n{"prompt":"c","completion":"d"}\n', "jsonl", "jsonl"),
        ('{"prompt":"a","completion":"b"}\n{"prompt":"c","compl', "jsonl", "jsonl"),
        ('{"prompt":"a","completion":"b"}\n{"prompt":"c","completion":"d"}\n', "json", "jsonl"),
        ('{\n  "data": [\n    {"a": 1},\n    {"a": 2}\n  ]\n}\n', "jsonl", "json"),
        ('{"data": [\n{"a": 1}\n]}\n', "jsonl", "json"),
        ('[{"a": 1}, {"a": 2}]\n', "jsonl", "json"),
    ],
)
def test_the_suffix_jsonl_tells_where_the_lines_leave_it_open(text: str, suffix: str, format: str) -> None:
    assert tell_json(text, whole=True, suffix=suffix) == format


@pytest.mark.parametrize("name", ["x.jsonl", "x.ndjson", "x.jsonl.gz", "x.json"])
@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085"])
def test_what_only_unicode_calls_the_end_of_a_line_ends_no_row_of_jsonl(name: str, separator: str, look) -> None:
    line = json.dumps(
        {"prompt": f"How many{separator} boxes", "completion": f"There are 3.{separator}Anything else?"}, ensure_ascii=False
    )
    path = write(name, [line] * 50, pack="gzip" if name.endswith(".gz") else None)
    output = look(path)
    assert pasted(output)["x"]["format"] == "jsonl"
    assert "rows       50\n" in output


def test_a_bad_row_of_a_short_jsonl_is_one_bad_row(look) -> None:
    path = write("x.jsonl", ['{"prompt":"a","completion":"b"}', '{"prompt":"c","completion":NaN}'])
    assert "1 row can't be read:\n  ../mine/x.jsonl:2: completion is null; expected text" in look(path)


def test_one_conversation_on_the_one_line_of_a_jsonl_is_a_row(look) -> None:
    output = look(write("x.jsonl", [ONE_CONVERSATION[0].strip()]))
    assert "rows       1\n" in output
    assert pasted(output)["x"]["columns"]["messages"] == "dialog"


@pytest.mark.parametrize(
    "text", ["question", "no", "On", "null", "5e-05", "1", "-", "a: b", "a #b", "[a]", "{a}", "a, b", "问题", "a\\b",
             'a"b', "'", "\ta",
             "a\u3000b", "👩‍💻", "\u0085", "~", "*a", "&a", "!a", "%a", "@a", "a:", " a", "a ", "=", ""]
)  # fmt: skip
def test_any_text_is_written_as_yaml_that_reads_back_as_it_was(text: str) -> None:
    lines = yaml_entry("name", {"path": text, "columns": {"user": text, "assistant": f"{text}2"}, "roles": {text: "user"}})
    entry = {"path": text, "columns": {"user": text, "assistant": f"{text}2"}, "roles": {text: "user"}}
    assert yaml.load("\n".join(lines), Loader=Yaml12Loader) == {"name": entry}


def test_usual_names_are_written_as_names_are_looked_up() -> None:
    names = [name for names in (*USUAL_NAMES["columns"].values(), *USUAL_NAMES["roles"].values()) for name in names]
    assert [name for name in names if not isinstance(name, str) or key_of(name) != name] == []
