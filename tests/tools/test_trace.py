"""A row's story: what the real stages wrote, told stage by stage."""

import math
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from conftest import REPO, tiny_params

from stages.clean import __main__ as clean
from stages.clean.named_entities import PresidioParams
from stages.clean.params import CleanParams
from stages.clean.steps import steps_switched_on
from stages.collect import __main__ as collect
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl, write_jsonl
from stages.lib.core.params import Yaml12Loader
from stages.lib.personal_data.kinds import PERSONAL_DATA
from stages.lib.records import cleaned, tokenize_ledger
from stages.lib.records.assignment import ASSIGNMENT, AssignedRow
from stages.lib.records.scores import EXAMPLES, REPLIES
from stages.sources import __main__ as sources
from stages.split import __main__ as split
from tools.console import run_tool, visible
from tools.preview import description
from tools.trace import __main__ as trace
from tools.trace.ids import find_id
from tools.trace.ledgers import find_row
from tools.trace.story import MASKS, absent, outdated, tell_clean, tell_collect
from tools.trace.texts import mark_differences

THINGS = ["apples", "bridges", "clocks", "deserts", "engines", "forests", "gardens", "harbours", "islands", "jackets", "kettles"]
FOR_TEST = "pairs/q3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after collect, clean and split; with a tokenize ledger and scores by hand. Read it, never write."""
    folder = tmp_path_factory.mktemp("traced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_project()
        sources.main()
        collect.main("pairs")
        collect.main("chats")
        clean.main()
        split.main()
        write_later_stages()
    return folder


def write_project() -> None:
    params = yaml.load((REPO / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["collect"]["bad_rows"] = "drop"
    columns = {"id": "id", "user": "question", "assistant": "answer"}
    params["collect"]["sources"] = {
        "pairs": {"format": "csv", "path": "data/raw/pairs.csv", "columns": columns},
        "chats": {"format": "jsonl", "path": "data/raw/chats.jsonl", "limit": 1},
    }
    params["split"] |= {"stratify_by": [], "keep_together": ["prompt"], "train": 0.6, "validation": 0.2, "test": 0.2}
    params["split"]["locked_test"] = "data/locked.jsonl"
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    rows = [f"q{n},What are {thing} good for?,{thing.title()} number {n} are good for people." for n, thing in enumerate(THINGS)]
    rows += [
        *(
            f"near {word},What are {word} deserts good for?,Deserts number 3 are good for people."
            for word in ("the", "most", "all")
        ),
        "twin,WHAT ARE APPLES GOOD FOR?,Apples number 0 are good for people.",
        "broken,cafÃ©\u200b or tea?,Tea",
        "mute,Hello?,",
        "short,row",
    ]
    Path("data/raw").mkdir(parents=True)
    Path("data/raw/pairs.csv").write_text("\n".join(["id,question,answer", *rows]), encoding="utf-8")
    chat = {"messages": [{"role": "user", "content": "Where is the sea?"}, {"role": "assistant", "content": "In the west."}]}
    other = {"messages": [{"role": "user", "content": "Who sings at night?"}, {"role": "assistant", "content": "The owl."}]}
    write_jsonl(Path("data/raw/chats.jsonl"), [chat, other])
    locked = [{"role": "user", "content": "What are jackets good for?"}, {"role": "assistant", "content": "For the cold."}]
    texts = {
        "pairs/q3": ["What are deserts good for?", "Deserts number 3 are good for people."],
        "old/1": [locked[0]["content"], locked[1]["content"]],
    }
    write_jsonl(
        Path("data/locked.jsonl"),
        [
            {"id": id, "label": None, "language": "en", "group": None,
             "messages": [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]}
            for id, (user, assistant) in sorted(texts.items())
        ],
    )  # fmt: skip


def write_later_stages() -> None:
    kept = {"detail": None, "examples": 1, "fate": "kept", "labels": 9, "tokens": 31}
    rows = [row for row in read_jsonl(ASSIGNMENT) if row["split"] in ("train", "validation")]
    ledger = [{"id": row["id"], "split": row["split"]} | kept for row in rows]
    write_jsonl(tokenize_ledger.LEDGER, ledger)
    scored = {"id": FOR_TEST, "label": None, "language": "en", "turns": 1, "reference_bytes": 8}
    replied = {"id": FOR_TEST, "turn": 1, "reference": "Deserts."}
    for model, nll in (("base", 20.0), ("tuned", 10.0)):
        scored |= {f"{model}_nll": nll, f"{model}_labels": 10, f"{model}_unscored": None}
        reply = {"reply": f"I am {model}.", "reply_tokens": 4, "stopped": model == "tuned", "unanswered": None}
        replied |= {f"{model}_{key}": value for key, value in reply.items()}
    EXAMPLES.parent.mkdir(parents=True)
    unscored = scored | {"id": "old/1", "base_unscored": "too long", "tuned_unscored": "too long"}
    pd.DataFrame([scored, unscored]).to_parquet(EXAMPLES)
    pd.DataFrame([replied]).to_parquet(REPLIES)


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """What the command prints for its arguments."""

    def tell(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["trace", *arguments])
        run_tool(trace.main)
        return capsys.readouterr().out

    return tell


def complaint(wanted: str) -> str:
    with pytest.raises(ReprotuneError) as caught:
        find_id(wanted)
    return str(caught.value)


def splits() -> dict[str, str]:
    return {row["id"]: row["split"] for row in read_jsonl(ASSIGNMENT)}


def story(text: str) -> dict[str, str]:
    """Stage -> its lines, joined."""
    said: dict[str, str] = {}
    name = ""
    for line in text.splitlines()[1:]:
        name = line[:10].strip() or name
        said[name] = f"{said.get(name, '')}{line[10:]}\n"
    return said


# The story


def test_a_test_row_is_told_from_its_line_to_its_score(told) -> None:
    said = story(told(FOR_TEST))
    assert said["collect"] == "1 row at data/raw/pairs.csv:5\n"
    assert said["clean"].startswith("kept, unchanged\n")
    assert said["split"].startswith("test, of the stratum")
    assert "nearest in train: " in said["split"]
    assert said["tokenize"] == "test rows are not trained on\n"
    lines = said["evaluate"].splitlines()
    assert lines[0] == f"base: perplexity {math.exp(2):.2f} (NLL 20.00 over 10 labels)"
    assert lines[1] == "base replies, cut at the longest reply allowed: I am base."
    assert lines[2] == f"tuned: perplexity {math.exp(1):.2f} (NLL 10.00 over 10 labels)"
    assert lines[3:] == ["tuned replies: I am tuned.", "the reference is: Deserts."]


def test_the_nearest_train_row_is_the_assignments(told) -> None:
    row = find_row(ASSIGNMENT, FOR_TEST, AssignedRow)
    assert row["nearest_train"], "the case is to have one"
    assert f"nearest in train: {row['nearest_train']}, Jaccard index {row['nearest_similarity']:.2f}\n" in told(FOR_TEST)


def test_a_train_row_is_not_scored(told) -> None:
    id = next(id for id, split in splits().items() if split == "train")
    said = story(told(id))
    assert said["split"].startswith("train, ")
    assert said["tokenize"] == "whole: 31 tokens, 9 of them labels\n"
    assert said["evaluate"] == "not scored: it is in train\n"


def test_a_duplicate_names_the_row_that_stayed_and_where_that_one_is(told) -> None:
    said = story(told("pairs/twin"))
    lines = said["clean"].splitlines()
    assert lines[:2] == ["dropped: exact_duplicate", "of pairs/q0"]
    assert lines[2] == f"which was kept and is in {splits()['pairs/q0']}"
    assert lines[3] == "The story ends here."
    assert "split" not in said


def test_a_duplicate_of_a_duplicate_leads_to_the_row_that_stayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = {"fate": "kept", "reason": None, "duplicate_of": None, "similarity": None, "repaired_by": [], "tags": []}
    kept |= {"messages": 2, "messages_joined": 0, "messages_left_out": 0}
    near = kept | {"fate": "dropped", "reason": "near_duplicate", "duplicate_of": "s/a", "similarity": 0.875}
    exact = near | {"reason": "exact_duplicate", "duplicate_of": "s/b", "similarity": None}
    write_jsonl(cleaned.LEDGER, [{"id": "s/a"} | kept, {"id": "s/b"} | near, {"id": "s/c"} | exact])
    assert tell_clean("s/b")[0][:2] == ["dropped: near_duplicate", "of s/a, Jaccard index 0.88"]
    assert tell_clean("s/c")[0] == ["dropped: exact_duplicate", "of s/b", "which is a duplicate of s/a, which was kept"]
    write_jsonl(ASSIGNMENT, [{"id": "s/a", "split": "test", "stratum": "", "group": "s/a"}])
    assert tell_clean("s/c")[0][-1] == "which is a duplicate of s/a, which is in test"


def test_a_repaired_row_names_the_steps_and_a_row_that_was_dropped_the_reason(told) -> None:
    assert "unicode" in story(told("pairs/broken"))["clean"].splitlines()[0].removeprefix("repaired by ")
    assert story(told("pairs/mute"))["clean"].splitlines()[0].startswith("dropped")
    assert ": no_assistant_message" in story(told("pairs/mute"))["clean"].splitlines()[0]


def test_an_unreadable_row_has_its_reason_and_goes_no_further(told) -> None:
    said = story(told("data/raw/pairs.csv:19"))
    assert said == {
        "": "\n",
        "collect": "1 row at data/raw/pairs.csv:19\nunreadable: " + said["collect"].partition("unreadable: ")[2],
    }
    assert "2 cells; the header has 3" in said["collect"]


def test_a_row_over_the_limit_and_a_row_that_is_left_out_end_there(told) -> None:
    over = next(row["id"] for row in read_jsonl(Path("data/ledger/collect/chats.jsonl")) if row["fate"] == "over_limit")
    assert "left out: collect.limit" in told(over)
    assert splits()["pairs/q9"] == "left_out"
    out = story(told("pairs/q9"))
    assert out["split"].startswith("left out: it belongs together with a row of split.locked_test")
    assert "tokenize" not in out


def test_a_locked_row_of_no_source_is_told_from_the_split_on(told) -> None:
    said = story(told("old/1"))
    assert said["collect"] == "in no file of today's sources: split.locked_test (data/locked.jsonl) keeps it\n"
    assert said["clean"] == "not among the rows that are cleaned: split.locked_test (data/locked.jsonl) keeps it\n"
    assert "`dvc repro`" not in "".join(said[name] for name in ("collect", "clean", "split"))
    assert said["split"].startswith("test, ")
    assert "base: not scored: too long" in said["evaluate"]


def test_a_row_that_is_in_no_file_any_more_is_kept_by_the_locked_test_or_of_an_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("data/ledger/collect/s.jsonl"), [{"id": "s/1"}])
    write_jsonl(cleaned.LEDGER, [{"id": "s/1"}])
    Path("locked.jsonl").write_text('\n{"id": "s/2"}\n')
    Path("params.yaml").write_text("split: {seed: 1, locked_test: locked.jsonl}\n")
    assert tell_collect("s/2")[0] == ["in no file of today's sources: split.locked_test (locked.jsonl) keeps it"]
    assert tell_collect("s/3")[0] == ["in no file of today's sources: a row of split.locked_test, or of an earlier run"]
    assert tell_clean("s/3")[0] == [outdated(cleaned.LEDGER)]
    assert tell_collect("t/1")[0] == [absent(Path("data/ledger/collect/t.jsonl"))]


def test_a_stage_that_has_not_run_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(
        Path("data/ledger/collect/s.jsonl"),
        [{"id": "s/1", "place": "a.csv:2", "further": [4, 5], "rows": 3, "fate": "collected", "reason": None}],
    )
    said = story(told("s/1"))
    assert said["collect"] == "3 rows, the first of them at a.csv:2\n"
    assert [said[name].strip() for name in ("clean", "split", "tokenize", "evaluate")] == [
        f"{path}: not there; `dvc repro` makes it" for path in (cleaned.LEDGER, ASSIGNMENT, tokenize_ledger.LEDGER, EXAMPLES)
    ]


def test_a_ledger_of_an_earlier_version_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("data/ledger/collect/s.jsonl"), [{"id": "s/1", "fate": "collected", "rows": 1}])
    with pytest.raises(
        SystemExit, match=r"^error: what collect wrote is of an earlier version \(no 'place'\); `dvc repro` makes"
    ):
        told("s/1")


def test_a_damaged_ledger_is_an_error_of_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_jsonl(cleaned.LEDGER, [{"id": "s/1"}])
    cleaned.LEDGER.write_bytes(cleaned.LEDGER.read_bytes()[:-3])
    assert complaint("s/1") == "data/ledger/clean/conversations.jsonl: damaged; `dvc checkout` brings it back"


def test_without_any_ledger_it_says_what_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint("s/1") == "data/ledger/collect: not there; `dvc repro` makes it"


# Which row


@pytest.mark.parametrize(
    "place", ["data/raw/pairs.csv:5", "pairs.csv:5", "./data/raw/pairs.csv:5", "pairs.csv: row 5", "q3", "rs/q3"]
)
def test_a_row_is_found_by_its_place_or_a_part_of_its_id(place: str) -> None:
    assert find_id(place) == FOR_TEST


def test_a_row_is_found_by_its_full_path() -> None:
    assert find_id(f"{Path('data/raw/pairs.csv').resolve()}:5") == FOR_TEST


def test_an_id_that_is_part_of_others_is_itself() -> None:
    assert find_id("pairs/q1") == "pairs/q1"  # pairs/q10 is another
    assert complaint("airs/q1").splitlines()[0] == "airs/q1: 2 rows have this; name one of them, such as"


def test_a_part_that_many_have_lists_five() -> None:
    lines = complaint("pairs/").splitlines()
    assert len(lines) == 6
    assert all(line.startswith("  pairs/") for line in lines[1:])


def test_what_stands_in_a_row_but_not_in_its_id_finds_nothing() -> None:
    assert "no such id or place" in complaint("data/raw/pairs.csv")
    assert "no such id or place" in complaint("collected")


def test_a_line_where_nothing_begins_names_the_row_before() -> None:
    assert complaint("pairs.csv:99") == (
        "pairs.csv:99: no row begins there; the nearest before it is at 19, of "
        f"{next(r['id'] for r in read_jsonl(Path('data/ledger/collect/pairs.jsonl')) if r['place'].endswith(':19'))}"
    )


def test_each_row_of_a_conversation_is_found_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"rows": 3, "fate": "collected", "reason": None}
    rows = [{"id": "s/1", "place": "a.csv:4", "further": [2, 7], **row}, {"id": "s/2", "place": "a.csv:3", "further": [], **row}]
    write_jsonl(Path("data/ledger/collect/s.jsonl"), rows)
    assert [find_id(f"a.csv:{number}") for number in (2, 3, 4, 7)] == ["s/1", "s/2", "s/1", "s/1"]
    with pytest.raises(ReprotuneError, match="no row begins there; the nearest before it is at 4, of s/1"):
        find_id("a.csv:5")
    with pytest.raises(ReprotuneError, match="no row begins there; the nearest before it is at 7, of s/1"):
        find_id("a.csv:9")
    write_jsonl(Path("data/ledger/collect/s.jsonl"), [{key: value for key, value in rows[0].items() if key != "further"}])
    assert find_id("a.csv:4") == "s/1"  # a ledger of an earlier version


def test_messages_that_were_joined_or_left_out_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = {
        "id": "s/1",
        "fate": "repaired",
        "reason": None,
        "duplicate_of": None,
        "similarity": None,
        "repaired_by": ["roles"],
        "tags": [],
    }
    write_jsonl(cleaned.LEDGER, [row | {"messages": 6, "messages_joined": 1, "messages_left_out": 3}])
    assert tell_clean("s/1")[0] == ["repaired by roles", "of 6 messages 1 joined to the one before and 3 left out"]


@pytest.mark.parametrize(
    ("changed_by", "reason", "expected"),
    [
        ([], None, "kept, unchanged"),
        (["phone"], None, "masked: phone"),
        (["email", "presidio", "unicode", "urls"], None, "repaired by unicode; masked: email, presidio, urls"),
        (["phone", "unicode"], "exact_duplicate", "dropped: exact_duplicate (repaired by unicode; masked: phone)"),
    ],
)
def test_what_masks_is_not_called_a_repair(
    changed_by: list[str], reason: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fate = "dropped" if reason else "repaired" if changed_by else "kept"
    row = {"id": "s/1", "fate": fate, "reason": reason, "duplicate_of": None, "similarity": None, "tags": []}
    counts = {"messages": 2, "messages_joined": 0, "messages_left_out": 0}
    write_jsonl(cleaned.LEDGER, [row | counts | {"repaired_by": changed_by}])
    assert tell_clean("s/1")[0] == [expected]


def test_all_steps_that_mask_are_known_to_those_who_tell_of_them() -> None:
    presidio = PresidioParams(version="1", models={"en": "x"}, entities=["PERSON"], score=0.5)
    params = CleanParams.model_validate(tiny_params()["clean"]).model_copy(
        update={"presidio": presidio, "urls": "mask", "personal_data": [*PERSONAL_DATA]}
    )
    masking = {step.name for step in steps_switched_on(params) if step.masks}
    assert masking == set(description.MASKS) == set(MASKS)


def test_an_unknown_id_brings_the_nearest_ones_and_no_others() -> None:
    lines = complaint("pairs/brocken").splitlines()
    assert lines[0].startswith("pairs/brocken: no such id or place in data/ledger")
    assert lines[2] == "  pairs/broken"
    assert len(lines) <= 7
    assert "the nearest" not in complaint("###")


def test_a_quote_and_a_backslash_in_an_id_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = {"place": "a.csv:2", "rows": 1, "fate": "collected", "reason": None}
    write_jsonl(Path("data/ledger/collect/s.jsonl"), [{"id": 's/a"\\票'} | row, {"id": "s/b"} | row])
    assert find_id('a"\\票') == 's/a"\\票'


# Texts


def test_the_texts_show_what_cleaning_changed_and_what_nobody_sees(told) -> None:
    texts = told("pairs/broken", "--text").partition("As collected\n")[2]
    before, _, after = texts.partition("\nAs cleaned\n")
    assert "  user: caf[-Ã©\\u200b-] or tea?\n" in before
    assert "  user: caf{+é+} or tea?\n" in after


def test_unchanged_texts_stand_once_and_dropped_ones_are_said_so(told) -> None:
    assert told(FOR_TEST, "--text").endswith(
        "As collected, and the same after cleaning\n  user: What are deserts good for?\n"
        "  assistant: Deserts number 3 are good for people.\n"
    )
    assert told("pairs/twin", "--text").endswith("As cleaned\n  (dropped)\n")


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("我想退货。", "我要退货。", ("我[-想-]退货。", "我{+要+}退货。")),
        ("a\n", "a", ("a[-\\n-]", "a")),
        ("a\nb\nc", "a\nc", ("a\n[-b\\n-]\nc", "a\nc")),
        ("\x1bred", "red", ("[-\\x1b-]red", "red")),
    ],
)
def test_differences_stand_in_brackets(before: str, after: str, shown: tuple[str, str]) -> None:
    found = mark_differences(before, after, colour=False)
    assert found == shown


def test_on_a_terminal_differences_are_coloured_and_nothing_else_is() -> None:
    assert mark_differences("a b", "a c", colour=True) == ("a \x1b[31mb\x1b[0m", "a \x1b[32mc\x1b[0m")


def test_a_controlling_character_of_a_reply_does_not_reach_the_terminal(told) -> None:
    assert "\x1b" not in told(FOR_TEST)
    assert visible("\x1b]0;x\x07") == "\\x1b]0;x\\x07"
