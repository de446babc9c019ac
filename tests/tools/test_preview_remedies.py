"""What the preview advises works on the very file that caused the advice, and so does what collect does: see the last test."""

import ast
import bz2
import csv
import hashlib
import json
import lzma
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from collect_advice import CASES, PAIRS, SPAM, TALK, complaints, lines, read
from conftest import CHATML, REPO

from stages.base_model import __main__ as base_model
from stages.lib.core.params import Yaml12Loader
from tools.console import run_tool
from tools.preview import __main__ as preview

ZIP = b"PK\x03\x04" + bytes(30)
PAIR = {"prompt": "Is it far?", "completion": "No."}
TREE = {"a": {"parent": None, "children": ["b"]}, "b": {"parent": "a", "children": []}}
SEVERAL = [message | {"chatId": chat} for chat in ("a", "b") for message in TALK]
ODD = lines({"alpha": [{"beta": message["role"], "gamma": message["content"]} for message in TALK]})
CSV = b"question,answer\nHow late is it?,Noon.\n"
OTHER = b"question,answer\nWhere is the lamp?,There.\n"
QWEN3 = (REPO / "tests/templates/qwen3.jinja").read_text(encoding="utf-8")
WRITES_THOUGHTS = CHATML.replace(
    "{{ message.content }}",
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}{{ message.content }}",
)
LOSES_THOUGHTS = CHATML.replace("{{ message.content }}", "{{ message.content.split('</think>') | last }}")
STOPS_BEFORE_CALLS = "{{ tools | tojson if tools }}" + CHATML.replace(
    "{{ message.content }}",
    "{{ message.content }}{% if message.tool_calls %}<|im_end|>{{ message.tool_calls | tojson }}{% endif %}",
)
STOPS_BEFORE_REPLIES = CHATML.replace(
    "{{ message.content }}",
    "{% if message.reasoning_content %}{{ message.reasoning_content }}<|im_end|>{% endif %}{{ message.content }}",
)
THINKING = {"messages": [TALK[0], TALK[1] | {"reasoning_content": "It is asked, so I answer."}]}


class Advice(NamedTuple):
    """`words`: of what is printed for `files`, by name, with what is `typed`; `then`, `mended`: both as the advice has them.

    What is not said stays as it was. The file that is looked at is the first one, unless what is typed begins with another.
    """

    words: str
    files: dict[str, bytes]
    typed: str = ""
    then: str | None = None
    mended: dict[str, bytes] | None = None


ADVICE = [
    Advice("expected NAME=NAME", {"x.csv": CSV}, "--columns question", "--columns user=question assistant=answer"),
    Advice("stands twice; state it once", {"x.csv": CSV}, "--columns user=question user=answer assistant=answer",
           "--columns user=question assistant=answer"),
    Advice("; map it to one of them", {"x.csv": CSV}, "--columns user=question assistant=question",
           "--columns user=question assistant=answer"),
    Advice("is a source already; choose another one", {"x.csv": CSV}, "--name chatterbot_english", "--name mine"),
    Advice("and write JSONL, a line for each", {"x.json": json.dumps([{"title": "t", "mapping": TREE}]).encode()}, "",
           "../mine/x.jsonl", {"x.jsonl": lines({"messages": TALK})}),
    Advice("look again with a row for each: `", {"x.json": json.dumps({"state": {"messages": SEVERAL}}).encode()}, "",
           "--array state.messages --columns conversation=chatId role=role content=content"),
    Advice("write JSONL, a row for each message", {"x.jsonl": lines({"messages": SEVERAL})}, "",
           "../mine/x.jsonl --columns conversation=chatId role=role content=content", {"x.jsonl": lines(*SEVERAL)}),
    Advice("Add such a column to each row, called conversation", {"x.csv": b"role,content\nuser,hi\nassistant,hello\n"}, "", None,
           {"x.csv": b"conversation,role,content\n1,user,hi\n1,assistant,hello\n"}),
    Advice("put a line of names above it", {"x.csv": b"Where is it?,There.\nIs it far?,No.\n"}, "", None,
           {"x.csv": b"question,answer\nWhere is it?,There.\nIs it far?,No.\n"}),
    Advice("messages=COLUMN role=KEY content=KEY", {"x.jsonl": ODD}, "",
           "--columns messages=alpha role=beta content=gamma"),
    Advice("Mend these rows, or say which column", {"x.jsonl": lines(SPAM | {"completion": [1, 2]})}, "",
           None, {"x.jsonl": lines(SPAM)}),
    Advice("Mend these rows, and look again.", 
           {"x.jsonl": lines({"messages": [TALK[0], TALK[1] | {"content": [{"type": "image"}]}]})}, "",
           None, {"x.jsonl": lines({"messages": TALK})}),
    Advice("if it does, map it to user too", {"x.jsonl": lines({"description": "Is it far?", "messages": TALK[::-1] + TALK})}, "",
           "--columns messages=messages role=role content=content user=description"),
    Advice("by which it is joined to them",
           {"x.jsonl": lines({"messages": [{"role": "system", "content": "Be kind."}, *TALK], "context": "It is red."})}, "",
           "--columns messages=messages role=role content=content system=context"),
    Advice("in its place, or make one column of them",
           {"x.jsonl": lines({"messages": TALK, "document": "The house is red.", "knowledge": "It is far away."})}, "",
           "--columns messages=messages role=role content=content system=knowledge"),
    Advice("by which they are read as they are written, as JSON",
           {"x.jsonl": lines({"messages": TALK, "documents": [{"id": 1, "text": "The house is red."}]})}, "",
           "--columns messages=messages role=role content=content system=documents"),
    Advice("or make one text of each", {"x.jsonl": lines({"messages": TALK, "documents": [{"id": 1, "text": "It is red."}]})}, "",
           None, {"x.jsonl": lines({"messages": TALK, "documents": "It is red."})}),
    Advice("by which both are used", {"x.csv": b"question,answer,context,article\nIs it far?,No.,It is red.,It is near.\n"}, "",
           "--columns user=question assistant=answer input=context system=article"),
    Advice("by which it is not used", {"x.csv": b"question,answer,context,article\nIs it far?,No.,It is red.,It is near.\n"}, "",
           "--columns user=question assistant=answer input=context"),
    Advice("Put it into each row, under ",
           {"x.json": json.dumps({"system": "Be kind.", "data": [PAIR]}).encode()}, "", None,
           {"x.json": json.dumps({"data": [PAIR | {"system": "Be kind."}]}).encode()}),
    Advice("; leave it out", {"x.csv": CSV}, "--array train", ""),
    Advice("Look again with `",
           {"x.jsonl": lines({"messages": [{"role": "system", "content": "Be kind."}, *TALK], "context": "It is red."})}, "",
           "--columns messages=messages role=role content=content system=context"),
    Advice("look with `", {"x.json": json.dumps({"system": "Be kind.", "data": [PAIR]}).encode()}, "",
           "--columns user=prompt assistant=completion"),
    Advice("say by --columns which column holds what",
           {"x.json": json.dumps({"system": "Be kind.", "data": [{"alpha": "Is it far?", "beta": "No."}]}).encode()}, "",
           "--columns user=alpha assistant=beta"),
    Advice("With other names, write JSONL, a line for each talk:", {"x.csv": b'id,transcript\n1,"Visitor: q\nAgent: a"\n'}, "",
           "../mine/x.jsonl", {"x.jsonl": lines({"messages": TALK})}),
    Advice("read where the speakers are Human and Assistant", {"x.csv": b'id,transcript\n1,"Visitor: q\nAgent: a"\n'}, "",
           None, {"x.csv": b'id,transcript\n1,"Human: q\nAssistant: a"\n'}),
    Advice("map it to desirable instead", {"x.jsonl": lines({"messages": TALK, "label": 0}, {"messages": TALK, "label": 1})},
           "", "--columns messages=messages role=role content=content desirable=label"),
    Advice(", and look again:", {"x.jsonl": lines({"messages": [*TALK, TALK[1] | {"weight": 0.5}]})}, "", None,
           {"x.jsonl": lines({"messages": TALK})}),
    Advice("They stop `dvc repro`: mend them", {"x.csv": CSV + b"a,b,c\n"}, "", None, {"x.csv": CSV + b'a,"b,c"\n'}),
    Advice("After these rows the file can't be read, which stops `dvc repro`", {"x.csv": CSV + b'a,"b\n'}, "", None,
           {"x.csv": CSV + b"a,b\n"}),
    Advice("Judge for yourself, and state another by --encoding NAME", {"x.csv": CSV + "é,è\n".encode("cp1252")}, "",
           "--encoding cp1252"),
    Advice("look there whether the file is damaged", {"x.csv": CSV + b"a\0b,c\n"}, "", None, {"x.csv": CSV + b"ab,c\n"}),
    Advice("expected one such as gb18030", {"x.csv": CSV}, "--encoding gb-18030-x", "--encoding gb18030"),
    Advice("Delete this line, and look again", {"x.csv": b"sep=;\n" + CSV.replace(b",", b";")}, "", None,
           {"x.csv": CSV.replace(b",", b";")}),
    Advice("make it a CSV with the columns conversation, role and content", {"x.txt": b"User: hi\nBot: hello, you\n" * 2}, "",
           "../mine/x.csv", {"x.csv": b"conversation,role,content\n1,user,hi\n1,assistant,hello\n"}),
    Advice("compressed with xz; unpack it", {"x.csv.xz": lzma.compress(CSV)}, "", "../mine/x.csv", {"x.csv": CSV}),
    Advice("compressed with bzip2; unpack it", {"x.csv.bz2": bz2.compress(CSV)}, "", "../mine/x.csv", {"x.csv": CSV}),
    Advice("an Excel workbook; save it as CSV (UTF-8)", {"x.xlsx": ZIP}, "", "../mine/x.csv", {"x.csv": CSV}),
    Advice("a Word document; save its table as CSV (UTF-8)", {"x.docx": ZIP}, "", "../mine/x.csv", {"x.csv": CSV}),
    Advice("a zip archive; unpack it and name a file in it", {"x.zip": ZIP}, "", "../mine/x/y.csv", {"x/y.csv": CSV}),
    Advice("put these files into a folder of their own, and name that", {"a/x.csv": CSV, "b/y.csv": OTHER},
           "../mine/a/x.csv ../mine/b/y.csv", "../mine/c", {"c/x.csv": CSV, "c/y.csv": OTHER}),
    Advice("put each into a folder of its own", {"a/x.csv": CSV, "a/y.csv": OTHER.replace(b",", b";")}, "../mine/a", "../mine/b",
           {"b/x.csv": CSV}),
    Advice("put each into a folder of its own", {"a/x.csv": CSV, "a/y.csv": OTHER.replace(b",", b";")}, "../mine/a", "../mine/c",
           {"c/y.csv": OTHER.replace(b",", b";")}),
    Advice("put the files into a folder of their own in it", {"../project/data/raw/x.csv": CSV}, "data/raw", "data/raw/mine",
           {"../project/data/raw/mine/x.csv": CSV}),
]  # fmt: skip


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


def write_files(files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = Path("../mine", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def change_params(**sections: dict) -> None:
    params = yaml.load(Path("params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    for section, values in sections.items():
        params[section] |= values
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


@pytest.mark.parametrize("case", ADVICE, ids=[case.words for case in ADVICE])
def test_what_the_preview_advises_is_all_that_is_to_do(case: Advice, look) -> None:
    def type_it(typed: str) -> tuple[str, int]:
        first = [] if typed and not typed.startswith("--") else [f"../mine/{next(iter(case.files))}"]
        said, error, code = look(*first, *typed.split())
        reasons = [said.rpartition("\n\n")[2].startswith("Nothing to paste: "), error.startswith("error: ")]
        assert reasons.count(True) == code == ("\n    dvc repro\n" not in said)  # either what to paste, or the one reason
        return " ".join(f"{said} {error}".split()), code

    write_files(case.files)
    assert case.words in type_it(case.typed)[0]
    write_files(case.mended or {})
    said, code = type_it(case.typed if case.then is None else case.then)
    assert (case.words in said, code) == (False, 0), said


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
        (["alpha,beta", """1,"[{'key': 'hi there'}, {'key': 'hello'}]\""""], "messages=beta content=key --begins user"),
        (["alpha,beta,gamma,delta", "x,hi there,1,", "y,hello you,2,1"], "role=alpha content=beta id=gamma parent=delta"),
    ],
)
def test_the_commands_that_are_printed_where_names_tell_nothing_work_once_filled_in(lines: list[str], typed: str, look) -> None:
    path = Path("../mine/odd.csv")
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    said, _, code = look(path)
    assert code == 1
    blank = re.sub(r"=(alpha|beta|gamma|delta)", "=COLUMN", typed).replace("=key", "=KEY")
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
        )
    ]
    Path("../mine/events.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    said, _, code = look("../mine/events.csv")
    flat = " ".join(said.split())
    assert code == 0
    assert "system writes 2 messages after the first question; what stands after the last reply is left out." in flat
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
    entry = entry_in(said) | {"path": "../mine/x.jsonl", "outside": True}
    numbers = [len(read(**one)[0].messages) for one in (entry, {key: entry[key] for key in entry if key != "leave_out"})]
    assert numbers == [2, 3]


def entry_in(said: str) -> dict:
    """What is to be pasted."""
    (entry,) = yaml.load(re.search(r"\n\n(    \w+:\n.*?)\n\n", said, re.DOTALL)[1], Loader=Yaml12Loader).values()
    return entry


def test_what_is_to_be_pasted_reads_the_file_and_what_is_to_stand_there_does_again(look) -> None:
    write_files({"x.csv": b'question, answer\nWhere is the lamp?, "There, I think."\n'})
    said = look("../mine/x.csv")[0]
    assert "paste this under `collect.sources`" in said
    assert "with `skipinitialspace` they are no part of the text" in " ".join(said.split())
    entry = entry_in(said)
    shutil.copy("../mine/x.csv", entry["path"])
    assert [message["content"] for message in read(**entry)[0].messages] == ["Where is the lamp?", "There, I think."]
    change_params(collect={"sources": {"mine": entry}})
    said = look("data/raw/x.csv")[0]
    assert "let this stand under `collect.sources`" in said
    assert entry_in(said) == entry


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


def test_tools_and_rejected_replies_are_not_said_to_be_read_as_text(look) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {}}}]
    write_files({"sft.jsonl": lines({"messages": TALK, "tools": tools})})
    write_files({"dpo.jsonl": lines({"prompt": "q", "chosen": "a", "rejected": [{"role": "assistant", "content": "b"}]})})
    for name in ("sft", "dpo"):
        said, _, code = look(f"../mine/{name}.jsonl")
        assert (code, "read as text" in said) == (0, False)


def test_the_old_workbook_called_csv_is_told_alike_by_preview_and_collect(look) -> None:
    for magic in (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        b"%PDF-1.4\n",
        b"<html><table><tr><td>a",
        b"\n<!DOCTYPE html>\n<p>",
    ):
        Path("data/raw/x.csv").write_bytes(magic)
        said = look("data/raw/x.csv")[1]
        assert said == f"error: {complaints(format='csv', path='data/raw/x.csv', columns=PAIRS)[0]}"
        assert "save it as CSV (UTF-8)" in said or "a PDF" in said


# What the chat template does with it


def with_model(folder: Path, template: str, **variables: object) -> None:
    path = {"source": "path", "path": str(folder), "name": "tiny", "revision": None}
    change_params(base_model=path | {"chat_template": template, "template_variables": variables})
    if not Path("requirements").exists():
        shutil.copytree(REPO / "requirements", "requirements")
    base_model.main()


def test_the_chat_template_comes_with_the_stage_that_is_named(tiny_model_folder: Path, look) -> None:
    write_files({"x.csv": CSV})
    assert "(The chat template comes with `dvc repro base_model`.)" in look("../mine/x.csv")[0]
    with_model(tiny_model_folder, CHATML)
    assert "dvc repro base_model" not in look("../mine/x.csv")[0]


CALL = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}
CALLED = [TALK[0], CALL, {"role": "tool", "content": "seven"}, {"role": "assistant", "content": "It is seven."}]


@pytest.mark.parametrize(
    ("template", "row", "words", "then"),
    [
        (
            CHATML,
            {"messages": [*TALK, *CALLED]},
            "; set clean.tool_messages to drop",
            {"tool_messages": "drop"},
        ),
        (
            STOPS_BEFORE_CALLS,
            {"messages": [*TALK, *CALLED]},
            "There too, or `dvc repro` stops, since the chat template writes <|im_end|>, which ends a generation, before the end",
            {"tool_messages": "drop"},
        ),
        (
            STOPS_BEFORE_CALLS,
            {"messages": [*TALK, *CALLED]},
            "(stops `dvc repro`: the chat template writes <|im_end|>, which ends a generation, before the end of what calls",
            {"tool_messages": "as_user"},
        ),
        (STOPS_BEFORE_REPLIES, THINKING, "which stops `dvc repro` (clean.thoughts: drop)", {"thoughts": "drop"}),
        (STOPS_BEFORE_REPLIES, THINKING, "stop there; set clean.thoughts to drop, or", {"thoughts": "drop"}),
        (WRITES_THOUGHTS, THINKING, "(clean.thoughts: drop leaves them out)", {"thoughts": "drop"}),
        (LOSES_THOUGHTS, THINKING, "which stops `dvc repro` (clean.thoughts: drop)", {"thoughts": "drop"}),
        (LOSES_THOUGHTS, THINKING, "; set clean.thoughts to drop", {"thoughts": "drop"}),
    ],
    ids=[
        "no tools",
        "stops before calls",
        "stops before calls, at each",
        "stops before replies",
        "stops before replies, at each",
        "thoughts",
        "no thoughts",
        "no thoughts, at each",
    ],
)
def test_what_to_set_for_a_template_lets_the_conversations_through(
    template: str, row: dict, words: str, then: dict, tiny_model_folder: Path, look
) -> None:
    write_files({"x.jsonl": lines(row)})
    with_model(tiny_model_folder, template)
    assert words in " ".join(look("../mine/x.jsonl")[0].split())
    change_params(clean=then)
    said, error, code = look("../mine/x.jsonl")
    assert (error, code) == ("", 0)
    assert words not in " ".join(said.split())
    assert "stops `dvc repro`" not in said


def test_a_template_that_loses_questions_is_told_with_what_to_set(tiny_model_folder: Path, look) -> None:
    """An older models/tokenizer: base_model itself lets no such template through."""
    write_files({"x.jsonl": lines({"messages": TALK})})
    with_model(tiny_model_folder, CHATML)
    pin, template = Path("models/base.json"), Path("models/tokenizer/chat_template.jinja")
    lost = CHATML.replace("message.content", "message.content if message.role != 'user'")
    template.write_text(lost, encoding="utf-8")
    pinned = json.loads(pin.read_text(encoding="utf-8"))
    pinned["tokenizer"][template.name] = {"size": len(lost.encode()), "sha256": hashlib.sha256(lost.encode()).hexdigest()}
    pin.write_text(json.dumps(pinned), encoding="utf-8")
    said = " ".join(look("../mine/x.jsonl")[0].split())
    assert "loses the user's words; set base_model.chat_template to one that writes them out)" in said
    with_model(tiny_model_folder, CHATML)
    assert "loses" not in look("../mine/x.jsonl")[0]


def test_a_system_message_that_the_template_refuses_is_told_with_the_param_that_lets_it_through(
    tiny_model_folder: Path, look
) -> None:
    write_files({"x.jsonl": lines({"messages": [{"role": "system", "content": "Be brief."}, *TALK]})})
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML
    with_model(tiny_model_folder, refuses)
    words = "stops `dvc repro`: the template refuses a system message: no system; base_model.system_messages: in_question"
    assert words in " ".join(look("../mine/x.jsonl")[0].split())
    change_params(base_model={"system_messages": "in_question"})
    base_model.main()
    said = look("../mine/x.jsonl")[0]
    assert "stops `dvc repro`" not in said
    assert "user\n  Be brief.\n" in said


def test_the_variable_that_writes_prompts_without_thoughts_does(tiny_model_folder: Path, look) -> None:
    write_files({"x.jsonl": lines({"messages": TALK})})
    words = "(`base_model.template_variables: {enable_thinking: false}` writes its prompts for that)"
    with_model(tiny_model_folder, QWEN3)
    assert words in " ".join(look("../mine/x.jsonl")[0].split())
    with_model(tiny_model_folder, QWEN3, enable_thinking=False)
    said = " ".join(look("../mine/x.jsonl")[0].split())
    assert words not in said
    assert "the prompt holds an empty thought already" in said


# Too long


def test_conversations_too_long_for_training_are_said_with_the_length_that_fits(tiny_model_folder: Path, look) -> None:
    change_params(tokenize={"max_length": 128})
    with_model(tiny_model_folder, CHATML)
    rows = []
    for turns, word in ((8, "boat"), (1, "lamp"), (7, "rain")):  # with no word in common, or cleaning takes them for duplicates
        roles = [role for _ in range(turns) for role in ("user", "assistant")]
        said_by = [" ".join(f"{word}{at}{letter}" for letter in "abcde") for at in range(2 * turns)]
        rows.append({"messages": [{"role": role, "content": text} for role, text in zip(roles, said_by, strict=True)]})
    Path("../mine/x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = " ".join(look("../mine/x.jsonl")[0].split())
    told = re.search(
        r"too long 2 of 3 conversations \(\d+%\) are longer than tokenize\.max_length 128; 99% would fit at ([\d,]+)", said
    )
    assert "`too_long: cut` keeps" in said
    change_params(tokenize={"max_length": int(told[1].replace(",", ""))})
    assert "are longer than" not in look("../mine/x.jsonl")[0]


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


def test_what_a_second_mark_means_is_asked_without_forgetting_the_first(look) -> None:
    path = write_rows(
        "pairs.jsonl", [{"prompt": "Is the tea hot?", "completion": "Very.", "do_not_train": 0, "in_training": False}]
    )
    said, _, code = look(path, "--marks", "do_not_train=mask")
    assert (code, "--marks do_not_train=mask in_training=train" in said) == (1, True)
    assert look(path, "--marks", "do_not_train=mask", "in_training=mask")[2] == 0


@pytest.mark.parametrize(
    "row",
    [
        {"winner": "model_b", "conversation_a": ["Is the tea hot?", "No idea."], "conversation_b": ["Is the tea hot?", "Very."]},
        {"good_talk": ["Is the tea hot?", "Very."], "bad_talk": ["Is the tea hot?", "No idea."]},
        {"context": ["Is the tea hot?"], "response1": "No idea.", "response2": "Very.", "overall_preference": 2},
    ],
)
def test_which_of_several_talks_is_to_be_learned_is_asked(row: dict, look) -> None:
    sides = ("user", "assistant")
    talks = {
        key: [{"role": role, "content": text} for role, text in zip(sides, value, strict=False)]
        if isinstance(value, list)
        else value
        for key, value in row.items()
    }
    said, error, code = look(write_rows("talks.jsonl", [talks]))
    assert code == 1
    asked = (
        "hold two replies to one question" if "conversation_a" in row else "Which column holds what can't be told from the names."
    )
    assert asked in said + error


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
    rows = [{"query": f"Is {word} hot?", "response": f"{word}!", "label": zero_and_one[at % 2]} for at, word in enumerate("abcd")]
    path = write_rows("liked.jsonl", rows)
    assert "if 0 says that people did not like the reply, map it to desirable instead" in " ".join(look(path)[0].split())
    said = look(path, "--columns", "user=query", "assistant=response", "desirable=label")[0]
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


def test_calls_in_rows_that_are_messages_are_not_said_to_be_unused(look) -> None:
    call = {"tool_calls": [{"id": "c", "function": {"name": "look", "arguments": "{}"}}]}
    rows = [{"talk_id": 1, "role": "user", "content": "Hot?"}, {"talk_id": 1, "role": "assistant", "content": None, **call}]
    rows.append({"talk_id": 1, "role": "tool", "content": "90", "tool_call_id": "c", "colour": "red"})
    columns = ("--columns", "conversation=talk_id", "role=role", "content=content")
    assert "not used: colour\n" in look(write_rows("calls.jsonl", rows), *columns)[0]


# All of them

# Where a message tells what to do: an option, a setting, or a verb that begins a part of a sentence.
TELLS = re.compile(
    r"`[a-z.]|--[a-z-]+ (?:[A-Z]|\{\}=)|(?:^|[;(,.:] |\b(?:or|and) )(?:set|map|leave|save|unpack|put|look|state|choose|take|"
    r"say it|add|mend|delete|flatten|rename|fetch|write it|make|move|name|give|check|copy|export|end its|run|"
    r"quote|judge|paste)\b",
    re.IGNORECASE,
)
PRINTED = [
    *(REPO / "tools/preview").glob("*.py"),
    *(REPO / "stages/collect").glob("*.py"),
    *(REPO / f"stages/tokenize/{name}.py" for name in ("lengths", "refusal")),
]
RUN_HERE: dict[Callable, list[str]] = {
    test_the_commands_that_are_printed_where_names_tell_nothing_work_once_filled_in: [
        "user=COLUMN assistant=COLUMN",
        "conversation=COLUMN role=COLUMN content=COLUMN",
        "   # where no role is named and sides take turns",
        "   # where a message names the one before it",
        "Say it, and look again",
    ],
    test_the_command_that_asks_who_is_who_works_once_filled_in: ["Say it: --roles NAME=ROLE"],
    test_the_advice_on_events_of_the_program_leaves_them_out: ["leave them all out: --leave-out"],
    test_private_notes_that_are_wanted_can_be_kept_by_taking_the_proposal_away: ["a proposal: take `leave_out` away"],
    test_stated_columns_without_an_order_are_told_where_the_file_runs_backwards: ["map it too, order="],
    test_files_of_several_formats_or_kinds_are_told_apart_with_what_to_type: [
        "and a source has one; look at",
        "`python -m tools.preview {}`",
    ],
    test_what_is_to_be_pasted_reads_the_file_and_what_is_to_stand_there_does_again: [
        "paste this under `collect.sources`",
        "let this stand under `collect.sources`",
        "with `skipinitialspace`",
    ],
    test_the_chat_template_comes_with_the_stage_that_is_named: ["comes with `dvc repro base_model`"],
    test_what_to_set_for_a_template_lets_the_conversations_through: [
        "(stops `dvc repro`: {}{})",
        "set {}, or base_model.chat_template",
        "(clean.thoughts: drop",
    ],
    test_a_template_that_loses_questions_is_told_with_what_to_set: ["set base_model.chat_template to one that writes"],
    test_the_variable_that_writes_prompts_without_thoughts_does: ["`base_model.template_variables: "],
    test_conversations_too_long_for_training_are_said_with_the_length_that_fits: ["`too_long: cut` keeps"],
}

RUN_ELSEWHERE = {  # words -> where they are followed, by other words of that file
    "(`outside: true`, since": ("tools/test_preview.py", "test_a_link_that_leads_out_of_the_project_is_read_as_pasted"),
    "; or set {}": ("tokenize/test_refusal.py", "test_the_variables_are_named_that_let_the_template_think"),
    "write what it gives to a file": ("tools/test_preview.py", "test_a_pipe_is_refused_unread_and_its_text_in_a_file_is_read"),
    "dvc add {}": ("test_migrate.py", "test_git_is_shown_no_conversation"),
    "unpack it by hand": ("tools/test_collect_remedies.py", "unpack it by hand if it is meant"),
    "without compression if it is meant": ("tools/test_collect_remedies.py", "write it without compression if it is meant"),
    "else each file a source of its own": ("tools/test_collect_remedies.py", "else each file a source of its own"),
    "its `leave_out` leaves out all": ("tools/test_collect_remedies.py", "its `leave_out` leaves out all"),
    "There too, or `dvc repro` stops, since": ("tools/test_preview_feedback.py", "There too, or `dvc repro` stops, since"),
    "`marks` away to learn": ("tools/test_preview_feedback.py", "test_a_thumb_down_is_proposed_as_context_and_said"),
    "to leave some out: --leave-out": ("tools/test_preview_feedback.py", '"--leave-out", "rating=1"'),
    "leaves such ones out; where": ("tools/test_preview_feedback.py", '"--leave-out", "image_path=*"'),
    "where it is no one's": ("tools/test_preview_feedback.py", '"--leave-out", "role=wizard"'),
    "map `messages: {}`, and `rejected`": ("cases/record.jsonl", "a chosen conversation, mapped as one"),
    "without its notes": ("tools/test_preview_known_exports.py", "test_the_layout_is_named_with_what_to_write_which_is_read"),
    "Export as JSON-MIN": ("tools/test_preview_known_exports.py", "test_the_layout_is_named_with_what_to_write_which_is_read"),
    "behind `python -m stages.collect`": ("tools/test_collect_remedies.py", "name one of other behind"),
}
OF_A_HUB_OR_AN_INDEX = [
    "run `make env`", "name its file with another `format`", "HF_ENDPOINT names a mirror", "is a folder; name a file"
]  # fmt: skip
NO_ADVICE = ["is a guess: judge by the first ones", "set enable_thinking = false", "(?:`marks: {|`)"]


def literals(path: Path) -> Iterator[str]:
    """The texts of a module but for docstrings, `{}` for what is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    skipped |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def told() -> list[str]:
    return sorted({text for path in PRINTED for text in literals(path) if " " in text and TELLS.search(text)})


def test_each_remedy_that_is_printed_is_run_by_a_test() -> None:
    run = [*chain(*RUN_HERE.values()), *RUN_ELSEWHERE, *(case.words for case in ADVICE), *(case.advice for case in CASES)]
    known = [*run, *OF_A_HUB_OR_AN_INDEX, *NO_ADVICE]
    assert [text for text in told() if not any(words in text for words in known)] == []
    printed = "\n".join(text for path in PRINTED for text in literals(path))
    assert [words for words in known if words not in printed] == []
    for name, words in RUN_ELSEWHERE.values():
        assert words in (REPO / "tests" / name).read_text(encoding="utf-8")
