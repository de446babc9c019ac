"""What the preview and collect advise works on the very file that caused the advice."""

import csv
import gzip
import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPO
from pydantic import TypeAdapter

from stages.base_model import __main__ as base_model
from stages.collect.__main__ import assign_ids
from stages.collect.conversations import RawConversation, read_source
from stages.collect.sources import Source
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import Yaml12Loader
from tools.console import run_tool
from tools.preview import __main__ as preview

PAIRS = {"user": "question", "assistant": "answer"}
SPAM = {"prompt": "q", "completion": "a"}


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project/data/raw").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    shutil.copy(REPO / "params.yaml", tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """(what the command prints, the error at its end, its exit status)"""

    def run(*arguments: str | Path) -> tuple[str, str, int]:
        monkeypatch.setattr(sys, "argv", ["preview", *map(str, arguments)])
        try:
            run_tool(preview.main)
        except SystemExit as end:
            return capsys.readouterr().out, str(end.code), int(end.code) if isinstance(end.code, int) else 1
        return capsys.readouterr().out, "", 0

    return run


def read(**source: object) -> list:
    return list(read_source(TypeAdapter(Source).validate_python(source)))


def complaint(**source: object) -> str:
    """The error of the source, or the reason of its first unreadable row."""
    try:
        _, unreadable = assign_ids("s", read(**source))
    except ReprotuneError as error:
        return str(error)
    return unreadable[0].reason


# Each: how the file comes to be, what the source says, the advice, and what the source says then.
ADVICE: list[tuple[str, bytes, dict, str, dict]] = [
    ("raw.csv", "question,answer\n您好吗,很好\n".encode("gb18030"), {"format": "csv", "columns": PAIRS},
     r"set `encoding: gb18030`", {"encoding": "gb18030"}),
    ("raw.csv", b"question;answer\nq;a\n", {"format": "csv", "columns": PAIRS}, r'set `delimiter: ";"`', {"delimiter": ";"}),
    ("raw.json", b'{"prompt": "q", "completion": "a"}\n{"prompt": \n', {"format": "json"},
     r"set `format: jsonl`", {"format": "jsonl"}),
    ("raw.jsonl", json.dumps(SPAM, indent=1).encode(), {"format": "jsonl"}, r"set `format: json`\)", {"format": "json"}),
    ("raw.jsonl", b'{"messages": [{"role": "bot", "content": "hi"}]}\n', {"format": "jsonl"},
     r"map it in the source's `roles`", {"roles": {"bot": "assistant"}}),
    ("raw.jsonl", b'{"q": "x", "a": "y"}\n', {"format": "jsonl"}, r"map the keys in the source's `columns`",
     {"columns": {"user": "q", "assistant": "a"}}),
    ("raw.jsonl", b'{"id": 1, "prompt": "q", "completion": "a"}\n{"id": 1, "prompt": "r", "completion": ""}', {"format": "jsonl"},
     r"leave id out of the source's `columns`", {"columns": {"user": "prompt", "assistant": "completion"}}),
    ("raw.csv", gzip.compress(b"question,answer\nq,a\n"), {"format": "csv", "columns": PAIRS}, r"end its name in \.gz",
     {"path": "raw.csv.gz"}),
    ("raw.json", b'{"people": [1], "talk": [{"who": "user", "said": "q"}]}', {"format": "json"},
     r"map the array of a conversation's messages, `messages` in the source's `columns`",
     {"columns": {"messages": "talk", "role": "who", "content": "said"}}),
    ("raw.jsonl", b'{"messages": [{"content": "q"}, {"content": "a"}]}\n', {"format": "jsonl"},
     r"say by the source's `begins` who speaks first", {"begins": "user"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "source", "advice", "then"), ADVICE, ids=lambda value: value if isinstance(value, str) else ""
)
def test_what_collect_advises_reads_the_file(name: str, content: bytes, source: dict, advice: str, then: dict) -> None:
    Path(name).write_bytes(content)
    assert re.search(advice, complaint(path=name, **source)), complaint(path=name, **source)
    if path := then.get("path"):
        shutil.copy(name, path)
    rows = read(**{"path": name, **source, **then})
    assert any(isinstance(row, RawConversation) for row in rows)
    advised = [row for row in rows if not isinstance(row, RawConversation) and re.search(advice, row.reason)]
    assert advised == []


def test_the_advice_for_a_pattern_reads_its_files() -> None:
    for number in range(2):
        Path(f"data/raw/{number}.jsonl").write_text(json.dumps(SPAM | {"prompt": f"q{number}"}) + "\n", encoding="utf-8")
    assert len(read(format="jsonl", path="data/raw", files="*.jsonl")) == 2


@pytest.mark.parametrize(
    ("lines", "typed"),
    [
        (["alpha,beta", "How late is it?,Noon."], "user=alpha assistant=beta"),
        (["alpha,beta,gamma", "1,x,hi there", "1,y,hello you"], "conversation=alpha role=beta content=gamma"),
        (["alpha,beta", "1,hi there", "1,hello you"], "conversation=alpha content=beta --begins user"),
    ],
)
def test_the_commands_that_are_printed_where_names_tell_nothing_work_once_filled_in(lines: list[str], typed: str, look) -> None:
    path = Path("../mine/odd.csv")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    said, _, code = look(path)
    assert code == 1
    blank = re.sub(r"=(alpha|beta|gamma)", "=COLUMN", typed)
    (command,) = [line.strip() for line in said.splitlines() if line.strip().partition("   #")[0].endswith(f"--columns {blank}")]
    filled = shlex.split(command.partition("   #")[0].replace(blank, typed))[3:]
    if "role" in typed:
        filled += ["--roles", "x=user", "y=assistant"]
    said, error, code = look(*filled)
    assert (error, code) == ("", 0)
    assert "To train on it, paste this" in said


def test_the_command_that_asks_who_is_who_works_once_filled_in(look) -> None:
    rows = [["chat", "from", "text"], *([number, who, f"{who} says {number}"] for number in (1, 2) for who in ("Al", "Bo", "Cy"))]
    with Path("../mine/people.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    said, _, code = look("../mine/people.csv")
    assert code == 1
    assert said.endswith("\nNothing to paste: nobody says who is Al, Bo, Cy.\n")
    (command,) = [line for line in said.splitlines() if "--roles" in line and "python" in line]
    roles = command.replace("Al=ROLE", "Al=user").replace("Bo=ROLE", "Bo=assistant").replace("Cy=ROLE", "Cy=user")
    _, error, code = look(*shlex.split(roles)[3:])
    assert (error, code) == ("", 0)


def test_the_advice_on_events_of_the_program_leaves_them_out(look) -> None:
    rows = ["ticket,sender,text"]
    rows += [
        f"{n},{who},{text} {n}"
        for n in (1, 2)
        for who, text in (
            ("system", "Kim joined"),
            ("customer", "Where is shelf"),
            ("system", "Kim is typing"),
            ("agent", "Behind door"),
            ("system", "Closed"),
        )
    ]
    Path("../mine/events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said, _, code = look("../mine/events.csv")
    flat = " ".join(said.split())
    assert code == 0
    assert "system writes 4 messages after the first question; what stands after the last reply is left out." in flat
    assert "--leave-out sender=system" in flat
    said, _, code = look("../mine/events.csv", "--leave-out", "sender=system")
    assert code == 0
    assert "leave_out: {sender: system}" in said
    assert "after the first question" not in said
    assert "Kim" not in said.partition("The first, as the model")[2]


def test_private_notes_that_are_wanted_can_be_kept_by_taking_the_proposal_away(look) -> None:
    notes = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "n", "private": True},
        {"role": "assistant", "content": "a"},
    ]
    Path("../mine/x.jsonl").write_text(json.dumps({"messages": notes}) + "\n", encoding="utf-8")
    said, _, code = look("../mine/x.jsonl")
    assert code == 0
    assert "left out   private is true 1; a proposal: take `leave_out` away to keep them" in said
    assert "leave_out: {private: true}" in said


# Folders


def folder(**files: str) -> Path:
    for name, text in files.items():
        path = Path("../mine/chats", name.replace("__", "."))
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return Path("../mine/chats")


@pytest.mark.parametrize(
    "arguments", [["../mine/chats"], ["../mine/chats/*.csv"], ["../mine/chats/b.csv", "../mine/chats/a.csv"]]
)
def test_a_folder_is_looked_at_and_pasted_as_one_source(arguments: list[str], look) -> None:
    folder(a__csv="question,answer\nq1,a1\n", b__csv="question,answer\nq2,a2\n")
    said, error, code = look(*arguments)
    assert (error, code) == ("", 0)
    assert "files      2 files: a.csv, b.csv\n" in said
    assert "    cp -r ../mine/chats data/raw/chats\n" in said
    assert "    dvc add data/raw/chats " in said
    shutil.copytree("../mine/chats", "data/raw/chats")
    block = said.partition("in params.yaml:\n\n")[2].partition("\n\n")[0]
    entry = yaml.load(block, Loader=Yaml12Loader)["chats"]
    assert len(read(**entry)) == 2
    assert "cp " not in look(*arguments)[0].partition("and type:")[2]


def test_of_a_folder_with_other_files_those_that_can_be_read_are(look) -> None:
    folder(a__jsonl=json.dumps(SPAM) + "\n", b__jsonl=json.dumps(SPAM | {"prompt": "r"}) + "\n", README__md="Our chats.\n")
    said, _, code = look("../mine/chats")
    assert code == 0
    assert "not read: README.md" in said
    assert 'files: "*.jsonl"' in said


def test_files_of_several_formats_or_kinds_are_told_apart_with_what_to_type(look) -> None:
    folder(a__csv="question,answer\nq1,a1\n", b__jsonl=json.dumps(SPAM) + "\n")
    _, error, code = look("../mine/chats")
    assert code == 1
    commands = re.findall(r"`python -m tools\.preview ([^`]*)`", error)
    assert len(commands) == 2
    for command in commands:
        said, _, code = look(*shlex.split(command))
        assert code == 0
        assert "1 conversation of 2 messages" in said
    folder(c__csv="question;answer\nq1;a1\n")
    _, error, code = look("../mine/chats/*.csv")
    assert code == 1
    assert "a source has one kind: put each into a folder of its own" in error


def test_files_of_several_folders_and_the_folder_of_raw_files_itself_are_refused(look) -> None:
    folder(a__csv="question,answer\nq1,a1\n")
    Path("../mine/b.csv").write_text("question,answer\nq2,a2\n", encoding="utf-8")
    assert "put these files into a folder of their own, and name that" in look("../mine/chats/a.csv", "../mine/b.csv")[1]
    shutil.copy("../mine/b.csv", "data/raw")
    assert "put the files into a folder of their own in it" in look("data/raw")[1]


# Order


def test_stated_columns_without_an_order_are_told_where_the_file_runs_backwards(look) -> None:
    rows = ["ticket,at,sender,text"]
    rows += [
        f"{n},2024-05-0{n} 10:0{m},{who},{text} {n}"
        for n in (1, 2)
        for m, who, text in ((2, "agent", "Yes to"), (1, "customer", "Is it"))
    ]
    Path("../mine/x.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    typed = ["--columns", "conversation=ticket", "role=sender", "content=text"]
    said = " ".join(look("../mine/x.csv", *typed)[0].split())
    assert "by 'at' the newest message stands first, so that replies come before their questions: map it too, order=at" in said
    said, _, code = look("../mine/x.csv", *typed, "order=at")
    assert code == 0
    assert "they are turned around" in said
    assert "customer: Is it 1" not in said
    assert "  user: Is it 1\n  assistant: [Yes to 1]\n" in said


def test_a_file_in_its_order_is_not_said_to_run_backwards(look) -> None:
    rows = [
        "ticket,at,sender,text",
        "1,5,customer,Is it one?",
        "1,6,agent,Yes it is",
        "2,7,customer,Is it two?",
        "2,8,agent,No it is not",
    ]
    Path("../mine/x.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert "newest" not in look("../mine/x.csv")[0]


# What a mask is called


def test_what_masks_is_said_to_mask(look) -> None:
    Path("../mine/x.csv").write_text("question,answer\nWrite to me at ann@mill-house.net,Gladly\n", encoding="utf-8")
    assert "cleaning   masks email 1\n" in look("../mine/x.csv")[0]


def test_the_old_workbook_called_csv_is_told_alike_by_preview_and_collect(look) -> None:
    for magic in (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"%PDF-1.4\n",
        b"<html><table><tr><td>a",
        b"\n<!DOCTYPE html>\n<p>",
    ):
        Path("data/raw/x.csv").write_bytes(magic)
        said = look("data/raw/x.csv")[1]
        assert said == f"error: {complaint(format='csv', path='data/raw/x.csv', columns=PAIRS)}"
        assert "save it as CSV (UTF-8)" in said or "a PDF" in said


# Too long


def test_conversations_too_long_for_training_are_said_with_the_length_that_fits(tiny_model_folder: Path, look) -> None:
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["tokenize"]["max_length"] = 64
    params["base_model"] |= {"source": "path", "path": str(tiny_model_folder), "name": "tiny", "revision": None}
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    shutil.copytree(REPO / "requirements", "requirements")
    base_model.main()
    rows = []
    for turns, word in ((8, "boat"), (1, "lamp"), (7, "rain")):  # with no word in common, or cleaning takes them for duplicates
        roles = [role for _ in range(turns) for role in ("user", "assistant")]
        said_by = [" ".join(f"{word}{at}{letter}" for letter in "abcde") for at in range(2 * turns)]
        rows.append({"messages": [{"role": role, "content": text} for role, text in zip(roles, said_by, strict=True)]})
    Path("../mine/x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = " ".join(look("../mine/x.jsonl")[0].split())
    assert re.search(
        r"too long 2 of 3 conversations \(\d+%\) are longer than tokenize\.max_length 64; 99% would fit at \d+", said
    )
    assert "`too_long: cut` keeps" in said


def write_rows(name: str, rows: list[dict]) -> Path:
    path = Path("../mine") / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def pasted_columns(said: str) -> dict:
    [entry] = yaml.safe_load(said.partition("in params.yaml:\n\n")[2].partition("\nand type:")[0]).values()
    return entry.get("columns", {})


@pytest.mark.parametrize(
    ("preferred", "other"),
    [
        ("chosen_response", "rejected_response"), ("accepted_answer", "rejected_answer"), ("good_reply", "bad_reply"),
        ("best_answer", "worst_answer"), ("answer", "wrong_answer"), ("model_output", "negative_output"),
        ("选中回答", "拒绝回答"),
    ],
)  # fmt: skip
def test_a_reply_that_people_rejected_is_never_proposed_as_the_reply_whatever_the_order(preferred: str, other: str, look) -> None:
    row = {"question": "Is the tea hot?", preferred: "Very.", other: "Go away."}
    for keys in (list(row), list(reversed(row))):
        said, error, code = look(write_rows("pairs.jsonl", [{key: row[key] for key in keys}]))
        assert (error, code) == ("", 0)
        columns = pasted_columns(said)
        assert (columns["user"], columns["assistant"]) == ("question", preferred)
        assert columns.get("rejected", other) == other


@pytest.mark.parametrize("names", [("response_j", "response_k"), ("output_1", "output_2"), ("回答一", "回答二")])
def test_which_of_several_replies_is_to_be_learned_is_asked(names: tuple[str, str], look) -> None:
    path = write_rows("pairs.jsonl", [{"question": "Is the tea hot?", names[0]: "Very.", names[1]: "No idea."}])
    said, _, code = look(path)
    assert code == 1
    assert "Which column holds what can't be told from the names." in said
    said, error, code = look(path, "--columns", "user=question", f"assistant={names[1]}", f"rejected={names[0]}")
    assert (error, code) == ("", 0)


REPLY = [{"role": "user", "content": "Is the tea hot?"}, {"role": "assistant", "content": "Very."}]


@pytest.mark.parametrize(
    ("key", "value", "meanings"),
    [
        ("weight", 0.5, ["ignore"]),
        ("mask", 1, ["train", "mask", "ignore"]),
        ("skip_loss", True, ["train", "mask", "ignore"]),
        ("do not train", False, ["train", "mask", "ignore"]),
    ],
)
def test_each_command_that_says_what_a_mark_means_reads_the_file(key: str, value: object, meanings: list[str], look) -> None:
    key = key.replace(" ", "_")
    path = write_rows("marks.jsonl", [{"messages": [REPLY[0], REPLY[1] | {key: value}]}])
    said, _, code = look(path)
    assert (code, "--columns" in said) == (1, False)
    commands = [shlex.split(line, comments=True)[3:] for line in said.splitlines() if line.startswith("  python")]
    assert [command[1:] for command in commands] == [["--marks", f"{key}={meaning}"] for meaning in meanings]
    for command in commands:
        said, error, code = look(*command)
        assert (error, code) == ("", 0)
        assert f"marks: {{{key}: {command[-1].partition('=')[2]}}}" in said


def test_where_no_mapping_mends_the_rows_none_is_asked_for(look) -> None:
    for row in ({"messages": [{"role": "user", "content": "<image>Colour?"}, REPLY[1]], "images": ["a.jpg"]},
                {"prompt": "Where?", "completion": "There.", "history": "a talk"}):  # fmt: skip
        said, _, code = look(write_rows("rows.jsonl", [row]))
        assert (code, "--columns" in said) == (1, False)
        assert said.count("Nothing to paste: ") == 1


@pytest.mark.parametrize("zero_and_one", [(0, 1), ("0", "1")])
def test_a_label_of_zero_and_one_is_read_as_a_thumb_where_it_is_mapped_as_advised(zero_and_one: tuple, look) -> None:
    rows = [
        {"prompt": f"Is {word} hot?", "completion": f"{word}!", "label": zero_and_one[at % 2]} for at, word in enumerate("abcd")
    ]
    path = write_rows("liked.jsonl", rows)
    assert "if 0 says that people did not like the reply, map it to desirable instead" in " ".join(look(path)[0].split())
    said = look(path, "--columns", "user=prompt", "assistant=completion", "desirable=label")[0]
    assert "2 replies not to learn" in said


def test_marks_and_earlier_turns_are_not_said_to_be_unused_or_read_as_text(look) -> None:
    row = {
        "prompt": "Hot?",
        "completion": "Very.",
        "weight": 1,
        "history": [["a", "b"]],
        "rejected_response": ["No."],
        "colour": 1,
    }
    said = look(write_rows("rows.jsonl", [row]))[0]
    assert "not used: colour\n" in said
    assert "weight: which replies are to be learned" in said
    assert "read as text" not in said


def test_a_switch_of_cleaning_that_drops_all_is_named_as_the_reason(look) -> None:
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["clean"]["tool_messages"] = "drop"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}
    said, _, code = look(write_rows("calls.jsonl", [{"messages": [REPLY[0], call]}]))
    assert code == 1
    assert said.endswith(
        "\nNothing to paste: cleaning drops all conversations, tool_messages 1 (see clean.tool_messages in params.yaml).\n"
    )


@pytest.mark.parametrize("key", ["author", "sender", "from"])
def test_rows_whose_author_is_an_object_are_read_by_a_name_in_it(key: str, look) -> None:
    def row(talk: int, who: dict, text: str) -> dict:
        return {"chat_id": talk, key: who, "text": text}

    shop = {"id": 9, "username": "shop", "bot": True}
    rows = [
        one for n in range(3) for one in (row(n, {"id": n, "username": f"Ann {n}"}, f"Tea {n}?"), row(n, shop, f"Here, {n}."))
    ]
    said, error, code = look(write_rows("authors.jsonl", rows))
    assert (error, code) == ("", 0)
    assert pasted_columns(said)["role"] == f"{key}.username"
    assert "[Here, 0.]" in said
    stated = ("--columns", "conversation=chat_id", f"role={key}.id", "content=text", "--roles", "9=assistant", "*=user")
    assert "[Here, 0.]" in look("../mine/authors.jsonl", *stated)[0]


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "|")])
def test_a_quote_after_a_space_is_no_part_of_the_text_whatever_parts_the_cells(name: str, delimiter: str, look) -> None:
    rows = [["question", " answer"], ["Where is it?", ' "Go left."'], ["Is it late?", ' "Early."']]
    Path("../mine", name).write_text("\n".join(delimiter.join(row) for row in rows) + "\n", encoding="utf-8")
    said, error, code = look(f"../mine/{name}")
    assert (error, code) == ("", 0)
    assert "skipinitialspace: true" in said
    assert "assistant: [Go left.]" in said
