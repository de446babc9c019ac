"""Cleaning: golden cases of each step, what no step may change, and a ledger that adds up."""

import contextlib
import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages import clean
from stages.clean import CleanParams, clean_all, clean_conversation, guess_language, repair_roles
from stages.lib.conversations import Conversation, Message, messages_key, normalize, read_jsonl, write_conversations

CASES = Path(__file__).parent / "cases"
STEPS = tuple(CleanParams.model_fields)
ALL = CleanParams(**dict.fromkeys(STEPS, True))


def cases(name: str) -> pytest.MarkDecorator:
    """One test for each line of tests/cases/clean_<name>.jsonl: `label`, `input`, `expected`."""
    with (CASES / f"clean_{name}.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return pytest.mark.parametrize("case", rows, ids=[row["label"] for row in rows])


def only(*steps: str) -> CleanParams:
    return CleanParams(**{step: step in steps for step in STEPS})


def clean_text(text: str, params: CleanParams = ALL) -> str:
    """The text after cleaning, as a user's question; empty if it was dropped."""
    messages, _ = clean_conversation([message("user", text), message("assistant", "yes")], params)
    return messages[0]["content"] if len(messages) == 2 else ""


def message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def conversation(id: str, *messages: Message, language: str = "en") -> Conversation:
    return {"id": id, "label": None, "language": language, "group": None, "messages": list(messages)}


def exchange(id: str, user: str = "hi", assistant: str = "hello") -> Conversation:
    return conversation(id, message("user", user), message("assistant", assistant))


# Golden cases


@pytest.mark.parametrize("params", [only("unicode"), ALL], ids=["alone", "with all steps"])
@cases("unicode")
def test_unicode_is_repaired(case: dict, params: CleanParams) -> None:
    assert clean_text(case["input"], params) == case["expected"]


@pytest.mark.parametrize("params", [only("control_characters"), ALL], ids=["alone", "with all steps"])
@cases("control_characters")
def test_characters_that_nobody_sees_go(case: dict, params: CleanParams) -> None:
    assert clean_text(case["input"], params) == case["expected"]


@pytest.mark.parametrize("params", [only("whitespace"), ALL], ids=["alone", "with all steps"])
@cases("whitespace")
def test_white_space_at_the_ends_goes(case: dict, params: CleanParams) -> None:
    assert clean_text(case["input"], params) == case["expected"]


@cases("must_not_change")
def test_a_text_that_is_meant_as_it_stands_is_not_changed(case: dict) -> None:
    messages = [message("user", case["input"]), message("assistant", case["input"])]
    assert case["input"] == case["expected"]
    assert clean_conversation(messages, ALL) == (messages, [])


@cases("known_failures")
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert clean_text(case["input"]) != case["expected"]


@cases("roles")
def test_roles_are_put_in_turn(case: dict) -> None:
    before, after = ([message(*pair) for pair in case[name]] for name in ("input", "expected"))
    assert repair_roles(before) == after


@cases("language")
def test_the_script_tells_the_language_where_the_source_does_not(case: dict) -> None:
    row = conversation("a", message("user", case["input"]), language="und")
    assert guess_language(row, row["messages"]) == case["expected"]
    assert guess_language(row | {"language": "fr"}, row["messages"]) == "fr"


# Switches. Each input is one that this step alone changes.
CHANGED_BY = {
    "unicode": exchange("a", "cafÃ©"),
    "control_characters": exchange("a", "to\u200bday"),
    "whitespace": exchange("a", " hi "),
    "roles": conversation("a", message("user", "hi"), message("user", "there"), message("assistant", "hello")),
}


@pytest.mark.parametrize("step", CHANGED_BY)
def test_a_switch_turns_its_step_off_and_on(step: str) -> None:
    messages = CHANGED_BY[step]["messages"]
    assert clean_conversation(messages, only(*(set(STEPS) - {step}))) == (messages, [])
    assert clean_conversation(messages, ALL)[1] == clean_conversation(messages, only(step))[1] == [step]


def test_the_switch_for_duplicates_turns_them_off_and_on() -> None:
    rows = [exchange("a"), exchange("b", "HI ")]
    assert [row["id"] for row in clean_all(rows, ALL)[0]] == ["a"]
    assert [row["id"] for row in clean_all(rows, only("unicode", "control_characters", "whitespace", "roles"))[0]] == ["a", "b"]


def test_empty_messages_go_whatever_is_switched_off() -> None:
    messages = [message("user", "hi"), message("assistant", " \n"), message("assistant", "hello")]
    assert clean_conversation(messages, only()) == ([messages[0], messages[2]], ["empty_message"])


# Drops and duplicates


@pytest.mark.parametrize("params", [ALL, only()], ids=["all steps", "no step"])
@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ([], "empty"),
        (["user"], "no_assistant_message"),
        (["system", "user", "user"], "no_assistant_message"),
        (["system"], "no_assistant_message"),
        (["assistant"], "no_user_message"),
        (["system", "assistant"], "no_user_message"),
        (["user", "assistant"], None),
    ],
)
def test_a_dropped_conversation_has_the_reason_that_its_source_shows(
    params: CleanParams, roles: list, reason: str | None
) -> None:
    kept, (row,) = clean_all([conversation("a", *(message(role, "x") for role in roles))], params)
    assert (row["fate"], row["reason"]) == (("dropped", reason) if reason else ("kept", None))
    assert len(kept) == (reason is None)


@pytest.mark.parametrize("twin", ["hi there", "Hi There", "ｈｉ ｔｈｅｒｅ", "hi \n there", "HI\u3000THERE"])
def test_conversations_that_are_equal_but_for_case_width_and_spaces_are_duplicates(twin: str) -> None:
    kept, ledger = clean_all([exchange("b", "hi there"), exchange("a", twin)], ALL)
    assert [row["id"] for row in kept] == ["a"]
    assert (ledger[1]["reason"], ledger[1]["duplicate_of"]) == ("exact_duplicate", "a")


@pytest.mark.parametrize("other", ["hi, there", "hithere", "hi there!", "你好", "hi there 👋"])
def test_conversations_with_other_words_or_signs_are_no_duplicates(other: str) -> None:
    assert len(clean_all([exchange("a", "hi there"), exchange("b", other)], ALL)[0]) == 2


def test_the_same_texts_in_other_roles_are_no_duplicates() -> None:
    system = conversation("b", message("system", "hi"), message("user", "hello"), message("assistant", "x"))
    user = conversation("a", message("user", "hi"), message("assistant", "hello"), message("user", "x"))
    assert messages_key(system["messages"]) != messages_key(user["messages"])


def test_duplicates_are_found_after_repair() -> None:
    kept, _ = clean_all([exchange("a", "cafÃ©"), exchange("b", "café")], ALL)
    assert [row["id"] for row in kept] == ["a"]


# Properties, over random conversations in all the roles and with all kinds of broken text.
PIECES = [
    "hi", "Hi", "你好，", "cafÃ©", "Ã", "©", "e", "\u0301", "\u200b", "\x00", "\x80", "\r\n", "\r", "\n", " ", "\u3000", "👍",
    "\u200d", "€", "â", "x = [1]", "\t",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map("".join)
MESSAGES = st.lists(st.builds(message, st.sampled_from(["system", "user", "assistant"]), TEXTS), max_size=5)
ROWS = st.lists(MESSAGES, max_size=8).map(
    lambda rows: [conversation(f"r{n}", *row, language="und") for n, row in enumerate(rows)]
)
PARAMS = st.builds(CleanParams, **{step: st.booleans() for step in STEPS})


@settings(deadline=None)
@given(rows=ROWS, params=PARAMS)
def test_the_ledger_adds_up_and_has_one_row_for_each_conversation(rows: list[Conversation], params: CleanParams) -> None:
    kept, ledger = clean_all(rows, params)
    assert [row["id"] for row in ledger] == sorted(row["id"] for row in rows)
    fates = {fate: [row for row in ledger if row["fate"] == fate] for fate in ("kept", "repaired", "dropped")}
    assert len(rows) == sum(map(len, fates.values()))
    assert [row["id"] for row in kept] == sorted(row["id"] for row in [*fates["kept"], *fates["repaired"]])
    assert all(row["reason"] for row in fates["dropped"])
    assert all(row["repaired_by"] and not row["reason"] for row in fates["repaired"])
    assert not any(row["repaired_by"] or row["reason"] for row in fates["kept"])


@settings(deadline=None)
@given(rows=ROWS)
def test_a_row_called_kept_is_unchanged_and_one_called_repaired_is_not(rows: list[Conversation]) -> None:
    before = {row["id"]: row["messages"] for row in rows}
    kept, ledger = clean_all(rows, ALL)
    fates = {row["id"]: row["fate"] for row in ledger}
    assert all((row["messages"] == before[row["id"]]) == (fates[row["id"]] == "kept") for row in kept)


@settings(deadline=None)
@given(rows=ROWS, seed=st.integers(0, 99))
def test_which_of_the_duplicates_stays_does_not_depend_on_the_order(rows: list[Conversation], seed: int) -> None:
    assert clean_all(rows, ALL) == clean_all(random.Random(seed).sample(rows, len(rows)), ALL)


@settings(deadline=None)
@given(rows=ROWS)
def test_what_is_left_is_in_turn_not_empty_and_has_no_duplicate(rows: list[Conversation]) -> None:
    kept, _ = clean_all(rows, ALL)
    for row in kept:
        roles = [one["role"] for one in row["messages"]]
        turns = roles[1:] if roles[0] == "system" else roles
        assert turns == ["user", "assistant"] * (len(turns) // 2)
        assert turns
        assert all(normalize(one["content"]) for one in row["messages"])
    assert len({messages_key(row["messages"]) for row in kept}) == len(kept)


@settings(deadline=None)
@given(rows=ROWS, params=PARAMS)
def test_cleaning_what_is_clean_changes_nothing(rows: list[Conversation], params: CleanParams) -> None:
    kept, _ = clean_all(rows, params)
    again, ledger = clean_all(kept, params)
    assert again == kept
    assert {row["fate"] for row in ledger} <= {"kept"}


# Characters of which one step's work leaves more for another: mojibake and accents that something invisible splits.
@settings(deadline=None)
@given(
    text=st.lists(st.sampled_from(["Ã", "©", "\u200b", "e", "\u0301", "\r", "\n", " ", "\x80", "â", "™"]), max_size=6).map(
        "".join
    )
)
@example(text="Ã\u200b©")
@example(text="e\u200b\u0301")
def test_one_cleaning_is_enough_where_one_step_leaves_work_for_another(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


# The stage


def clean_folder(folder: Path, collected: dict[str, list[Conversation]], sources: list[str]) -> list[dict]:
    """Run the stage in a project that holds these collected files and names these sources; what it kept."""
    for name, rows in collected.items():
        write_conversations(folder / "data/collected" / f"{name}.jsonl", rows)
    params = {"collect": {"limit": None, "sources": {name: {} for name in sources}}, "clean": ALL.model_dump()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    (folder / "requirements").mkdir(exist_ok=True)
    for name in ("core.txt", "data.txt"):
        (folder / "requirements" / name).write_text("", encoding="utf-8")
    with contextlib.chdir(folder):
        clean.main()
        return read_jsonl(clean.CLEANED)


def test_the_conversations_of_all_sources_come_out_sorted_by_id(tmp_path: Path) -> None:
    collected = {"b": [exchange("b/1", "one")], "a": [exchange("a/2", "two"), exchange("a/1", "three")]}
    assert [row["id"] for row in clean_folder(tmp_path, collected, ["b", "a"])] == ["a/1", "a/2", "b/1"]


def test_a_removed_sources_file_is_not_trained_on(tmp_path: Path) -> None:
    collected = {"old": [exchange("old/1", "secret")], "new": [exchange("new/1")]}
    assert [row["id"] for row in clean_folder(tmp_path, collected, ["new"])] == ["new/1"]
    assert [row["id"] for row in read_jsonl(tmp_path / clean.LEDGER)] == ["new/1"]
    assert [path.name for path in (tmp_path / "data/collected").iterdir()] == ["new.jsonl"]
