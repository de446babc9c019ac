"""Cleaning: golden cases of each step, what no step may change, and a ledger that adds up."""

import contextlib
import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from conftest import REPO, messages_key, write_conversations
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stages.clean import __main__ as clean
from stages.clean.__main__ import judge_all
from stages.clean.conversation import CleanedChunk, clean_conversation, clean_lines
from stages.clean.faults import FAULTS
from stages.clean.params import CleanParams
from stages.clean.steps import STEPS, steps_switched_on
from stages.clean.turns import drop_loose_ends, join_sides
from stages.lib.collected import NAMES, in_order_of_ids
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl, to_line, write_json, write_jsonl
from stages.lib.records.conversation import Conversation, Message, normalize

CASES = REPO / "tests/cases"
NOTHING = {
    "unicode": False, "gbk_mojibake": False, "html": False, "control_characters": False, "whitespace": False, "roles": False,
    "tool_messages": "keep", "thoughts": "keep", "traditional_to_simplified": False, "segment_words": False,
    "remove_stop_words": False, "urls": "keep", "personal_data": [], "presidio": None, "boilerplate": "keep", "refusals": "keep",
    "repetition": "keep", "languages": [], "length_quantiles": None, "duplicates": False, "near_duplicates": None,
}  # fmt: skip
REPAIRS = ("unicode", "gbk_mojibake", "html", "control_characters", "whitespace", "roles", "duplicates")
ALL = CleanParams(**NOTHING | dict.fromkeys(REPAIRS, True))


def cases(name: str) -> pytest.MarkDecorator:
    """One test for each line of tests/cases/clean_<name>.jsonl: `label`, `input`, `expected`."""
    with (CASES / f"clean_{name}.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return pytest.mark.parametrize("case", rows, ids=[row["label"] for row in rows])


def only(*steps: str, **values: object) -> CleanParams:
    return CleanParams(**NOTHING | dict.fromkeys(steps, True) | values)


def clean_messages(messages: list[Message], params: CleanParams) -> tuple[list[Message], list[str]]:
    """(cleaned messages, names of the steps); none where the conversation has to go."""
    verdict, _ = clean_conversation(conversation("a", *messages), params, steps_switched_on(params))
    return json.loads(verdict.line)["messages"] if verdict.line else [], verdict.repaired_by


def clean_text(text: str, params: CleanParams = ALL) -> str:
    """The text after cleaning, as a user's question; empty if it was dropped."""
    messages, _ = clean_messages([message("user", text), message("assistant", "yes")], params)
    return messages[0]["content"] if len(messages) == 2 else ""


def chunks_of(rows: list[Conversation], params: CleanParams, size: int = 3) -> list[CleanedChunk]:
    lines = [to_line(row) for row in sorted(rows, key=lambda row: row["id"])]
    return [clean_lines(lines[first : first + size], params) for first in range(0, len(lines), size)]


def clean_all(rows: list[Conversation], params: CleanParams) -> tuple[list[Conversation], list[dict]]:
    """(what is kept, the ledger)."""
    chunks = chunks_of(rows, params)
    ledger = judge_all(chunks, params)
    lines = [verdict.line for chunk in chunks for verdict in chunk.verdicts]
    return [json.loads(line) for line, row in zip(lines, ledger, strict=True) if row["fate"] != "dropped"], ledger


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
    assert clean_messages(messages, ALL) == (messages, [])


@cases("known_failures")
def test_a_known_failure_still_fails_or_belongs_among_the_golden_cases(case: dict) -> None:
    assert clean_text(case["input"]) != case["expected"]


@cases("roles")
def test_roles_are_put_in_turn(case: dict) -> None:
    before, after = ([message(*pair) for pair in case[name]] for name in ("input", "expected"))
    assert join_sides(drop_loose_ends(before)) == after


# Switches. Each input is one that this step alone changes.
CHANGED_BY = {
    "gbk_mojibake": exchange("a", "浣犲ソ涓栫晫"),
    "html": exchange("a", "is Ben &amp; Ann in?"),
    "unicode": exchange("a", "cafÃ©"),
    "control_characters": exchange("a", "to\u200bday"),
    "whitespace": exchange("a", " hi "),
    "roles": conversation("a", message("user", "hi"), message("user", "there"), message("assistant", "hello")),
}


@pytest.mark.parametrize("step", CHANGED_BY)
def test_a_switch_turns_its_step_off_and_on(step: str) -> None:
    messages = CHANGED_BY[step]["messages"]
    assert clean_messages(messages, only(*(set(REPAIRS) - {step}))) == (messages, [])
    assert clean_messages(messages, ALL)[1] == clean_messages(messages, only(step))[1] == [step]


def test_the_switch_for_duplicates_turns_them_off_and_on() -> None:
    rows = [exchange("a"), exchange("b", "HI ")]
    assert [row["id"] for row in clean_all(rows, ALL)[0]] == ["a"]
    assert [row["id"] for row in clean_all(rows, only("unicode", "control_characters", "whitespace", "roles"))[0]] == ["a", "b"]


def test_urls_and_personal_data_are_masked_where_the_params_say_so() -> None:
    messages = [message("user", "Write to ann@firm.org, see https://firm.org/a"), message("assistant", "ok")]
    assert clean_messages(messages, ALL) == (messages, [])
    masked, steps = clean_messages(messages, only(urls="mask", personal_data=["email"]))
    assert (masked[0]["content"], steps) == ("Write to [EMAIL], see [URL]", ["email", "urls"])


def test_word_segmentation_and_stop_words_are_switches_of_their_own() -> None:
    messages = [message("user", "我们今天去北京"), message("assistant", "this is the train")]
    assert clean_messages(messages, only("segment_words"))[0][0]["content"] == "我们 今天 去 北京"
    assert clean_messages(messages, only("remove_stop_words"))[0][1]["content"] == "train"
    assert clean_messages([message("user", "體驗"), messages[1]], only("traditional_to_simplified"))[0][0]["content"] == "体验"


# Tools


def call(name: str, arguments: str, content: str = "") -> Message:
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": {"name": name, "arguments": arguments}}],
    }


WEATHER = [
    message("user", "weather?"),
    call("look", '{"at": "ann@firm.io"}'),
    message("tool", "22 C"),
    message("assistant", "Warm."),
]


def test_tool_use_stays_whole_and_its_texts_are_masked_inside_their_json() -> None:
    result = message("tool", '{"mail": "ann@firm.io",  "degrees": 22, "phones": ["+49 30 901820"]}')
    messages = [WEATHER[0], WEATHER[1], result, WEATHER[3]]
    assert clean_messages(messages, ALL) == (messages, [])
    kept, steps = clean_messages(messages, only("roles", "html", personal_data=["email", "phone"]))
    assert [row["role"] for row in kept] == ["user", "assistant", "tool", "assistant"]
    assert json.loads(kept[1]["tool_calls"][0]["function"]["arguments"]) == {"at": "[EMAIL]"}
    assert json.loads(kept[2]["content"]) == {"mail": "[EMAIL]", "degrees": 22, "phones": ["[PHONE]"]}
    assert steps == ["email", "phone"]


def test_masks_in_json_lose_no_key_and_leave_half_of_a_surrogate_pair_an_escape() -> None:
    result = message("tool", r'{"ann@firm.io": 1, "bob@firm.io": 2, "said": "tea \ud83d"}')
    kept, _ = clean_messages([WEATHER[0], WEATHER[1], result, WEATHER[3]], only(personal_data=["email"]))
    assert kept[2]["content"] == r'{"[EMAIL]": 1, "[EMAIL]_": 2, "said": "tea \ud83d"}'


def test_what_depends_on_a_tools_result_goes_whole_and_counts() -> None:
    before, after = exchange("")["messages"], [message("user", "And tomorrow?"), message("assistant", "Warmer still.")]
    rows = [conversation("a", *before, *WEATHER, *after), conversation("b", *WEATHER), conversation("c", *before)]
    rows[0]["tools"] = [{"type": "function", "function": {"name": "look"}}]
    kept, ledger = clean_all(rows, only("roles", tool_messages="drop"))
    assert [(row["id"], row["messages"], "tools" in row) for row in kept] == [("a", before, False), ("c", before, False)]
    assert [(row["reason"], row["messages_left_out"]) for row in ledger] == [(None, 6), ("tool_messages", 4), (None, 0)]


def test_no_reply_that_came_before_a_call_in_its_exchange_stays_without_it() -> None:
    said = [WEATHER[0], message("assistant", "Let me see."), *WEATHER[1:]]
    kept, _ = clean_messages([*exchange("")["messages"], *said], only("roles", tool_messages="drop"))
    assert kept == exchange("")["messages"]


def test_what_a_tool_returned_can_count_as_the_users_words() -> None:
    asked, steps = clean_messages(WEATHER, only("roles", tool_messages="as_user"))
    assert asked == [message("user", "weather?\n22 C"), WEATHER[3]]
    assert "tool_messages" in steps


def test_as_the_users_words_results_change_no_mark_and_no_thought() -> None:
    messages = [*WEATHER[:3], off("Cold."), message("user", "Really?"), THINKING]
    asked, _ = clean_messages(messages, only("roles", tool_messages="as_user"))
    assert asked[1:] == [off("Cold."), message("user", "Really?"), THINKING]


def test_calls_of_other_arguments_are_no_duplicates() -> None:
    rows = [conversation(str(n), message("user", "On!"), call("switch", f'{{"lamp": {n}}}')) for n in (1, 2, 2)]
    rows[2]["id"] = "3"
    kept, ledger = clean_all(rows, only("duplicates", near_duplicates=0.9))
    assert [row["id"] for row in kept] == ["1", "2"]
    assert ledger[2]["reason"] == "exact_duplicate"


# Thoughts


THINKING: Message = {"role": "assistant", "content": "4.", "reasoning_content": "2+2 is 4, says ann@firm.io."}


def test_thoughts_are_kept_and_cleaned_or_dropped_or_refused_as_the_params_say() -> None:
    row = conversation("a", message("user", "2+2?"), THINKING)
    kept, _ = clean_messages(row["messages"], only(personal_data=["email"]))
    assert kept[1]["reasoning_content"] == "2+2 is 4, says [EMAIL]."
    dropped, steps = clean_messages(row["messages"], only(thoughts="drop"))
    assert (dropped[1], steps) == (message("assistant", "4."), ["thoughts"])
    with pytest.raises(ReprotuneError, match=r"a holds thoughts before a reply, which clean\.thoughts refuses; set it to keep"):
        clean_all([row], only(thoughts="refuse"))
    assert clean_all([exchange("a")], only(thoughts="refuse"))[0] == [exchange("a")]


def test_thoughts_in_a_message_of_their_own_are_those_of_the_reply_behind_them() -> None:
    asked, alone = message("user", "2+2?"), THINKING | {"content": ""}
    for reply in (message("assistant", "4."), call("add", "{}")):
        kept, steps = clean_messages([asked, alone, reply, message("tool", "4"), message("assistant", "So 4.")], only(roles=True))
        assert (kept[1], steps) == (reply | {"reasoning_content": THINKING["reasoning_content"]}, ["roles"])
        assert len(kept) == 4


@pytest.mark.parametrize(
    "behind", [message("user", "And?"), THINKING, THINKING | {"weight": 0}, {**message("assistant", "4."), "weight": 0}]
)
def test_thoughts_before_anything_else_are_an_empty_message(behind: Message) -> None:
    asked, alone = message("user", "2+2?"), THINKING | {"content": ""}
    kept, steps = clean_messages([asked, alone, behind, message("assistant", "So 4.")], only())
    assert (kept, steps) == ([asked, behind, message("assistant", "So 4.")], ["empty_message"])


# Marks and preferences


def off(content: str) -> Message:
    return {"role": "assistant", "content": content, "weight": 0}


def test_a_reply_of_weight_0_and_one_to_learn_stay_two_messages() -> None:
    messages = [message("user", "a"), off("b"), off("c"), message("assistant", "d"), message("assistant", "e")]
    kept, _ = clean_messages(messages, ALL)
    assert kept == [messages[0], off("b\nc"), message("assistant", "d\ne")]


def test_a_conversation_with_nothing_to_learn_from_puts_no_other_out_as_its_duplicate() -> None:
    rows = [conversation("a", message("user", LONG), off(LONG)), exchange("b", LONG, LONG), exchange("c", LONG, LONG + "!")]
    kept, ledger = clean_all(rows, only("duplicates", near_duplicates=0.7))
    assert [row["id"] for row in kept] == ["a", "b"]
    assert ledger[2]["duplicate_of"] == "b"


def test_a_fault_of_a_reply_that_is_not_learned_is_none() -> None:
    rows = [conversation("a", message("user", "one"), off(REFUSAL), message("user", "two"), message("assistant", "three"))]
    assert [row["id"] for row in clean_all(rows, only(refusals="drop"))[0]] == ["a"]


def test_rejected_conversations_are_cleaned_as_the_preferred_one_is() -> None:
    row = exchange("a", "Write to ann@firm.io") | {"rejected": [exchange("", "Write to ann@firm.io", " No. ")["messages"]]}
    ([kept], _) = clean_all([row], only("whitespace", personal_data=["email"]))
    assert kept["rejected"] == [exchange("", "Write to [EMAIL]", "No.")["messages"]]
    assert clean_all([row | {"rejected": [[message("user", "a")]]}], ALL)[0] == [exchange("a", "Write to ann@firm.io")]


REFUSAL = "I'm sorry, but I can't help with that."
BOILERPLATE = "This conversation has been closed."
REPETITION = "I like trains and I like planes. " * 40


@pytest.mark.parametrize(
    ("param", "tag", "reply"),
    [("refusals", "refusal", REFUSAL), ("boilerplate", "boilerplate", BOILERPLATE), ("repetition", "repetition", REPETITION)],
)
def test_a_fault_is_kept_tagged_or_dropped_as_the_params_say(param: str, tag: str, reply: str) -> None:
    rows = [conversation("a", *exchange("", "one", "two")["messages"], *exchange("", "three", reply)["messages"])]
    found = {wish: clean_all(rows, only("whitespace", "roles", **{param: wish})) for wish in ("keep", "tag", "drop")}
    assert [row["tags"] for _, [row] in found.values()] == [[], [tag], [] if tag == "boilerplate" else [tag]]
    assert len(found["keep"][0]) == len(found["tag"][0]) == 1
    if tag == "boilerplate":  # the message goes, and the question that it answered
        assert [len(row["messages"]) for row in found["drop"][0]] == [2]
        assert found["drop"][1][0]["repaired_by"] == ["boilerplate", "roles"] + ["whitespace"] * (reply != reply.strip())
    else:
        assert (found["drop"][0], found["drop"][1][0]["reason"]) == ([], tag)


def test_only_the_languages_asked_for_stay() -> None:
    rows = [
        exchange("a"),
        exchange("b") | {"language": "zh"},
        exchange("c", "你好，请问怎么退款？", "好的") | {"language": "und"},
    ]
    kept, ledger = clean_all(rows, only(languages=["zh"]))
    assert [(row["id"], row["language"]) for row in kept] == [("b", "zh"), ("c", "zh")]
    assert ledger[0]["reason"] == "language"


def test_lengths_outside_the_quantiles_go_for_each_side_and_language_by_itself() -> None:
    rows = [exchange(f"en{n:03}", "x" * (50 + n), "y" * (150 - n)) for n in range(100)]
    rows += [exchange(f"zh{n:03}", "中" * (5 + n % 3), "文" * (9 - n % 3)) | {"language": "zh"} for n in range(100)]
    rows += [exchange("long", "x" * 900, "y" * 100), exchange("short", "x" * 100, "y")]
    kept, ledger = clean_all(rows, only(length_quantiles=[0.01, 0.99]))
    assert {row["id"] for row in ledger if row["reason"] == "length"} >= {"long", "short"}
    assert sum(row["id"].startswith("zh") for row in kept) == 100
    assert len(kept) > 190
    assert len(clean_all(rows, only())[0]) == 202


LONG = (
    "I would like to know when the parcel that I ordered on Monday last week will be delivered to my house in the old town please"
)


def test_a_near_duplicate_goes_with_its_original_and_similarity_on_record() -> None:
    rows = [
        exchange("a", LONG, "Tomorrow."),
        exchange("b", LONG.replace("Monday", "Friday"), "Tomorrow."),
        exchange("c", "Hi", "Yes"),
    ]
    kept, ledger = clean_all(rows, only(near_duplicates=0.8))
    assert [row["id"] for row in kept] == ["a", "c"]
    assert (ledger[1]["reason"], ledger[1]["duplicate_of"]) == ("near_duplicate", "a")
    assert 0.8 <= ledger[1]["similarity"] < 1
    assert [row["id"] for row in clean_all(rows, only(near_duplicates=0.95))[0]] == ["a", "b", "c"]
    assert [row["id"] for row in clean_all(rows, only())[0]] == ["a", "b", "c"]


def test_a_dropped_conversation_is_nobodys_original() -> None:
    rows = [exchange("a", LONG, REFUSAL), exchange("b", LONG, REFUSAL.upper()), exchange("c", LONG, "Tomorrow.")]
    kept, ledger = clean_all(rows, only("duplicates", refusals="drop", near_duplicates=0.5))
    assert [row["reason"] for row in ledger] == ["refusal", "refusal", None]
    assert [row["id"] for row in kept] == ["c"]


@pytest.mark.parametrize("quantiles", [[0.9, 0.1], [-0.1, 1], [0, 2], [0.5, 0.5]])
def test_quantiles_out_of_order_are_refused(quantiles: list) -> None:
    with pytest.raises(ValueError, match="length_quantiles"):
        only(length_quantiles=quantiles)


def test_empty_messages_go_whatever_is_switched_off() -> None:
    messages = [message("user", "hi"), message("assistant", " \n"), message("assistant", "hello")]
    assert clean_messages(messages, only()) == ([messages[0], messages[2]], ["empty_message"])


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
PARAMS = st.builds(lambda **steps: CleanParams(**NOTHING | steps), **{step: st.booleans() for step in REPAIRS})


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
    left = {row["id"]: len(row["messages"]) for row in kept}
    for row in ledger:
        if row["fate"] != "dropped":
            assert row["messages"] == left[row["id"]] + row["messages_joined"] + row["messages_left_out"]


def test_the_ledger_counts_messages_that_were_joined_and_left_out() -> None:
    sides = [
        ("assistant", "hi"),
        ("system", "be kind"),
        ("user", "a"),
        ("user", "b"),
        ("assistant", "c"),
        ("user", " "),
        ("user", "d"),
    ]
    [kept], [row] = clean_all([conversation("r", *(message(*side) for side in sides))], only("roles"))
    assert [one["content"] for one in kept["messages"]] == ["be kind", "a\nb", "c"]
    assert (row["messages"], row["messages_joined"], row["messages_left_out"]) == (7, 1, 3)


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
        turns = [role for role in roles if role != "system"]
        assert (turns[0], turns[-1], roles[-1]) == ("user", "assistant", "assistant")
        assert all(one != other for one, other in pairwise(roles))
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
        ledger = [{"id": row["id"], "place": f"{name}:1", "rows": 2, "fate": "collected", "reason": None} for row in rows]
        write_jsonl(folder / "data/ledger/collect" / f"{name}.jsonl", ledger)
    write_json(folder / NAMES, in_order_of_ids(sources))
    params = {"clean": json.loads(ALL.model_dump_json())}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with contextlib.chdir(folder):
        clean.main()
        return read_jsonl(clean.CLEANED)


def test_the_bytes_do_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [exchange(f"a/{n:05}", f"Question {n % 2000} about my café order", f"<p>Answer {n % 1500}</p>") for n in range(2500)]
    written = []
    for processes in ("1", "3"):
        monkeypatch.setenv("REPROTUNE_PROCESSES", processes)
        clean_folder(tmp_path / processes, {"a": rows}, ["a"])
        written.append([(tmp_path / processes / path).read_bytes() for path in (clean.CLEANED, clean.LEDGER)])
    assert written[0] == written[1]


def test_the_conversations_of_all_sources_come_out_sorted_by_id(tmp_path: Path) -> None:
    collected = {"b": [exchange("b/1", "one")], "a": [exchange("a/2", "two"), exchange("a/1", "three")]}
    collected |= {"a-b": [exchange("a-b/1", "four")], "a_b": [exchange("a_b/1", "five")], "C": [exchange("C/1", "six")]}
    ids = [row["id"] for row in clean_folder(tmp_path, collected, [*collected])]
    assert ids == ["C/1", "a-b/1", "a/1", "a/2", "a_b/1", "b/1"] == sorted(ids)


def test_a_removed_sources_file_is_not_trained_on(tmp_path: Path) -> None:
    collected = {"old": [exchange("old/1", "secret")], "new": [exchange("new/1")]}
    assert [row["id"] for row in clean_folder(tmp_path, collected, ["new"])] == ["new/1"]
    assert [row["id"] for row in read_jsonl(tmp_path / clean.LEDGER)] == ["new/1"]
    for folder in ("data/collected", "data/ledger/collect"):
        assert [path.name for path in (tmp_path / folder).iterdir()] == ["new.jsonl"]
    assert json.loads((tmp_path / clean.SOURCES).read_text(encoding="utf-8")) == {"new": {"collected": 2}}


# Near duplicates see who speaks


def near_duplicates_of(*rows: Conversation) -> list[str]:
    ledger = clean_all(list(rows), only("duplicates", near_duplicates=0.8))[1]
    return [row["id"] for row in ledger if row["reason"]]


ENGLISH = "the meeting of next week has been moved to thursday at three in the afternoon, in the large room on the second floor"
GERMAN = "die besprechung der kommenden woche ist auf donnerstag um drei uhr verschoben, im grossen raum im zweiten stock"
PROMPTS = ["", "Translate.", "You are a pirate.", "You are a professor."]


@pytest.mark.parametrize("one", PROMPTS)
@pytest.mark.parametrize("other", PROMPTS)
def test_a_translation_both_ways_or_under_another_system_prompt_is_no_near_duplicate(one: str, other: str) -> None:
    def under(prompt: str, id: str, user: str, assistant: str) -> Conversation:
        system = [message("system", prompt)] if prompt else []
        return conversation(id, *system, message("user", user), message("assistant", assistant))

    assert near_duplicates_of(under(one, "a", ENGLISH, GERMAN), under(other, "b", GERMAN, ENGLISH)) == []
    alike = near_duplicates_of(under(one, "a", ENGLISH, GERMAN), under(other, "b", f"{ENGLISH}!", f"{GERMAN} ja"))
    assert alike == (["b"] if one == other else [])


def test_a_system_prompt_that_all_share_makes_no_near_duplicates() -> None:
    system = message("system", ENGLISH)
    rows = [conversation(f"{n}", system, message("user", f"is {n} prime"), message("assistant", f"no {n}")) for n in range(20)]
    assert near_duplicates_of(*rows) == []


def test_where_a_message_ends_is_seen() -> None:
    words = ENGLISH.split()
    cut = [conversation(str(n), message("user", " ".join(words[:n])), message("assistant", " ".join(words[n:]))) for n in (4, 12)]
    assert near_duplicates_of(*cut) == []


# Switches


SWITCHES = {
    "unicode": ["unicode"], "gbk_mojibake": ["gbk_mojibake"], "html": ["html"], "control_characters": ["control_characters"],
    "whitespace": ["whitespace"], "traditional_to_simplified": ["traditional_to_simplified"], "segment_words": ["segment_words"],
    "remove_stop_words": ["remove_stop_words"], "urls": ["urls"], "roles": [], "duplicates": [],
    "personal_data": ["secret", "email", "iban", "id_card", "payment_card", "ip_address", "phone"],
}  # fmt: skip
ON = {"urls": "mask", "personal_data": ["phone", "email", "iban", "id_card", "ip_address", "payment_card", "secret"]}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_turns_on_its_own_steps(switch: str) -> None:
    assert [step.name for step in steps_switched_on(only(**{switch: ON.get(switch, True)}))] == SWITCHES[switch]
    others = {name: ON.get(name, True) for name in SWITCHES if name != switch}
    off = {step.name for step in STEPS} - {step.name for step in steps_switched_on(only(**others))}
    assert off == set(SWITCHES[switch])


def test_every_step_has_a_switch_and_none_is_on_without_it() -> None:
    assert [step.name for step in STEPS if step.is_on(only())] == []
    assert sorted(step.name for step in STEPS) == sorted(name for names in SWITCHES.values() for name in names)


@pytest.mark.parametrize(
    ("switch", "fault"), [("refusals", "refusal"), ("boilerplate", "boilerplate"), ("repetition", "repetition")]
)
def test_a_fault_is_treated_as_its_own_switch_says(switch: str, fault: str) -> None:
    assert [one.name for one in FAULTS if one.treatment(only(**{switch: "tag"})) == "tag"] == [fault]
