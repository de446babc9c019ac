"""docs/migrate.md, done as typed on a made-up export of a hosted model: what is learned, what is not, and what is the test."""

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import environment, make_project, tiny_params, write_params
from test_readme import blocks, commands
from transformers import AutoTokenizer

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.files import read_jsonl
from stages.lib.records.conversation import reply_text

pytestmark = pytest.mark.slow
PAGE = "docs/migrate.md"
SYSTEM = "You are the help desk of Heron Bikes."
TOOLS = [{
    "type": "function",
    "function": {
        "name": "find_order", "description": "Look.", "strict": True,
        "parameters": {"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]},
    },
}]  # fmt: skip
KNOWS_TOOLS = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}{% endfor %}<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}{% for call in m.tool_calls or [] %}"
    "<call>{{ call.function.name }} {{ call.function.arguments | tojson }}</call>{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def text(kind: str, number: int) -> str:
    """Six words that no other text has."""
    choose = random.Random(f"{kind} {number}")
    return " ".join([kind, *("".join(choose.choices("abdegiklmnoprstu", k=5)) for _ in range(5))])


def said(role: str, content: str | None, **keys: object) -> dict[str, object]:
    return {"role": role, "content": content, **keys}


def plain(number: int) -> dict[str, Any]:
    reply = said("assistant", text("reply", number))
    return {"messages": [said("system", SYSTEM), said("user", text("question", number)), reply]}


def with_tools(number: int) -> dict[str, Any]:
    call = {"id": f"call_{number}", "type": "function"}
    call |= {"function": {"name": "find_order", "arguments": json.dumps({"number": text("argument", number)})}}
    result = said("tool", json.dumps({"state": text("result", number)}), tool_call_id=f"call_{number}")
    calling = [said("assistant", None, tool_calls=[call]), result, said("assistant", text("evidence", number))]
    messages = [said("system", SYSTEM), said("user", text("order", number)), *calling]
    return {"messages": messages, "tools": TOOLS, "parallel_tool_calls": False}


def weighted(number: int) -> dict[str, Any]:
    bad = [said("user", text("first", number)), said("assistant", text("bad", number), weight=0)]
    good = [said("user", text("second", number)), said("assistant", text("good", number), weight=1)]
    return {"messages": [said("developer", SYSTEM), *bad, *good]}


def pair(number: int) -> dict[str, Any]:
    prompt = [said("system", SYSTEM), said("user", text("choice", number))]
    return {
        "input": {"messages": prompt, "tools": [], "parallel_tool_calls": True},
        "preferred_output": [said("assistant", text("preferred", number))],
        "non_preferred_output": [said("assistant", text("rejected", number))],
    }


LOCKED = [*map(plain, range(900, 906)), with_tools(906), weighted(907)]
SAME_PROMPT = {"messages": [*LOCKED[0]["messages"][:2], said("assistant", text("another", 0))]}
EXPORT = {
    "train": [*map(plain, range(20)), *map(with_tools, range(8)), *map(weighted, range(8)), LOCKED[1], SAME_PROMPT],
    "validation": LOCKED,
    "preferences": list(map(pair, range(8))),
    "replies": [{"reply": text("hosted", number)} for number in range(len(LOCKED))],
}


class Migrated:
    """A project in which the page was followed, to its `dvc repro tokenize`. `rest`: the commands that come after."""

    def __init__(self, folder: Path, rest: list[str], follow: Callable[[str], None]):
        self.folder, self.rest, self.follow = folder, rest, follow
        tokenizer = AutoTokenizer.from_pretrained(folder / "models/tokenizer")
        self.whole = self.labelled = ""
        for split in ("train", "validation"):
            for row in pq.read_table(folder / f"data/tokenized/{split}.parquet").to_pylist():
                self.whole += f"{tokenizer.decode(row['input_ids'])}\n"
                self.labelled += f"{tokenizer.decode([label for label in row['labels'] if label != IGNORE_INDEX])}\n"

    def read(self, split: str) -> list[dict]:
        return read_jsonl(self.folder / f"data/split/{split}.jsonl")


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, warm: dict[str, str]) -> Migrated:
    folder = make_project(tmp_path_factory.mktemp("migrate") / "project", tiny_model_folder)
    (folder.parent / "export").mkdir()
    for name, rows in EXPORT.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder.parent / f"export/{name}.jsonl").write_text(lines, encoding="utf-8")
    params = tiny_params()
    params["base_model"]["chat_template"] = KNOWS_TOOLS
    params["tokenize"]["max_length"] = params["train"]["pack_length"] = 512

    def follow(block: str) -> None:
        done = subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{block}"], cwd=folder, env=environment(**warm), text=True, capture_output=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"

    steps = iter(commands(PAGE))
    locking, training = (yaml.safe_load(block) for block in blocks(PAGE, "yaml"))
    for step in steps:
        if "preflight" in step:
            return Migrated(folder, [step, *steps], follow)
        for command, edits in (("dvc repro clean", locking), ("dvc repro tokenize", training)):
            if command in step:  # by now the reader has changed these keys
                for section, values in edits.items():
                    params[section] |= values
                write_params(folder, params)
        follow(step)
    pytest.fail("the page ends before preflight")


def texts(kind: str, name: str = "train") -> list[str]:
    """All texts of a kind in a file of the export."""
    lines = "\n".join(json.dumps(row) for row in EXPORT[name])
    return [one for number in range(1000) if (one := text(kind, number)) in lines]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("reply", "train"), ("argument", "train"), ("evidence", "train"), ("good", "train"), ("preferred", "preferences")],
)
def test_replies_calls_and_what_was_preferred_are_learned(kind: str, name: str, migrated: Migrated) -> None:
    wanted = [one for one in texts(kind, name) if one not in json.dumps(LOCKED)]
    assert len(wanted) >= 8
    assert [one for one in wanted if one not in migrated.labelled] == []


@pytest.mark.parametrize("kind", ["bad", "result", "question", "order"])
def test_what_has_weight_0_and_what_tools_and_users_say_is_context_without_a_label(kind: str, migrated: Migrated) -> None:
    wanted = [one for one in texts(kind) if one not in json.dumps(LOCKED)]
    assert len(wanted) >= 8
    assert [one for one in wanted if one not in migrated.whole or one in migrated.labelled] == []
    assert kind not in migrated.labelled.split()


def test_the_system_prompt_and_the_tools_are_context_too(migrated: Migrated) -> None:
    conversations = len(migrated.read("train")) + len(migrated.read("validation"))
    assert migrated.whole.count(SYSTEM) == conversations
    assert migrated.whole.count('"name": "find_order"') == 8
    assert SYSTEM not in migrated.labelled


def test_what_was_rejected_is_in_the_record_and_in_no_example(migrated: Migrated) -> None:
    rows = [row for split in ("train", "validation") for row in migrated.read(split)]
    rejected = [other[-1]["content"] for row in rows for other in row.get("rejected", [])]
    assert sorted(rejected) == sorted(texts("rejected", "preferences"))
    assert "rejected" not in migrated.whole.split()


def test_the_locked_conversations_are_in_test_and_nowhere_else(migrated: Migrated) -> None:
    last = [reply_text(row["messages"][-1]) for row in migrated.read("test")]
    assert sorted(last) == sorted(str(row["messages"][-1]["content"]) for row in LOCKED)
    for row in LOCKED:
        for message in row["messages"][1:]:
            if message["content"]:
                assert message["content"] not in migrated.whole
    fates = {row["id"]: row["split"] for row in read_jsonl(migrated.folder / "data/split/assignment.jsonl")}
    left_out = [id for id, split in fates.items() if split == "left_out"]
    assert [id.partition("/")[0] for id in left_out] == ["hosted_train"]
    dropped = [row for row in read_jsonl(migrated.folder / "data/ledger/clean/conversations.jsonl") if row["reason"]]
    assert [row["reason"] for row in dropped] == ["exact_duplicate"]
    assert len(fates) + len(dropped) == len(LOCKED) + len(EXPORT["train"]) + len(EXPORT["preferences"])


def test_each_reply_of_the_hosted_model_stands_beside_the_id_of_its_conversation(migrated: Migrated) -> None:
    question_of = {row["id"]: row["messages"][1]["content"] for row in migrated.read("test")}
    rows = read_jsonl(migrated.folder / "data/raw/hosted.jsonl")
    assert {question_of[row["id"]]: row["reply"] for row in rows} == {
        row["messages"][1]["content"]: text("hosted", number) for number, row in enumerate(LOCKED)
    }


def test_git_is_shown_no_conversation(migrated: Migrated) -> None:
    shown = subprocess.run(
        ["git", "ls-files", "--others", "--exclude-standard"], cwd=migrated.folder, text=True, capture_output=True, check=True
    ).stdout.split()
    names = ("hosted_train.jsonl", "hosted_test.jsonl", "hosted_preferences.jsonl", "hosted.jsonl", "locked_test.jsonl")
    assert sorted(shown) == sorted([f"data/raw/{name}.dvc" for name in names] + ["dvc.lock"])


def test_the_rest_of_the_page_trains_and_gives_scores_on_the_locked_test(migrated: Migrated) -> None:
    for step in migrated.rest:
        migrated.follow(step)
    scores = json.loads((migrated.folder / "metrics/tuned.json").read_text(encoding="utf-8"))
    assert scores["conversations"] + scores["unscored"] == len(LOCKED)
    examples, replies = (
        pq.read_table(migrated.folder / f"data/evaluation/{name}.parquet").to_pylist() for name in ("examples", "replies")
    )
    assert {row["id"] for row in examples} == {row["id"] for row in migrated.read("test")}
    assert {"base_reply", "tuned_reply"} <= replies[0].keys()
    hosted = json.loads((migrated.folder / "metrics/contenders.json").read_text(encoding="utf-8"))["hosted"]
    assert (hosted["replies"], hosted["foreign"], hosted["not_asked"]) == (len(LOCKED), 0, 0)
    assert hosted["missing"] == scores["replies"] - len(LOCKED)  # of other turns than the last
    assert {row["hosted_reply"] for row in replies} - {None} == {row["reply"] for row in EXPORT["replies"]}
    assert "## Against hosted" in (migrated.folder / "metrics/report.md").read_text(encoding="utf-8")
