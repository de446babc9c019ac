"""ChatGPT's and DeepSeek's exports: a tree of messages a conversation, of which the line is read that was shown last."""

import json
import time
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from stages.collect.__main__ import assign_ids
from stages.collect.chat_trees import without_trees
from stages.collect.conversations import read_source
from stages.collect.exported_messages import FRAGMENTS
from stages.collect.sources import Source

Node = tuple[str, str | None, dict | None]  # id, parent, message
READ = {"format": "json", "columns": {"messages": "mapping", "role": "role", "content": "content", "id": "id"}}


def says(role: str, *parts: object, kind: str = "text", name: str | None = None, **more: object) -> dict:
    return {
        "author": {"role": role, "name": name},
        "content": {"content_type": kind, "parts": list(parts)},
        "recipient": "all",
    } | more


def holds(role: str, kind: str, name: str | None = None, recipient: str = "all", **content: object) -> dict:
    return {"author": {"role": role, "name": name}, "content": {"content_type": kind, **content}, "recipient": recipient}


def line(*messages: dict) -> list[Node]:
    """A node each, below a first one without a message."""
    return [("0", None, None), *((str(at), str(at - 1), message) for at, message in enumerate(messages, start=1))]


def exported(nodes: list[Node], current: str | None = None) -> dict:
    mapping = {
        id: {"id": id, "message": message, "parent": parent, "children": [one[0] for one in nodes if one[1] == id]}
        for id, parent, message in nodes
    }
    return {"id": "c", "title": "A talk", "mapping": mapping, "current_node": current or nodes[-1][0]}


def read(document: object, tmp_path: Path) -> tuple[list[list[dict]], list[str]]:
    """(messages of each conversation, why rows are unreadable)."""
    path = tmp_path / "conversations.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    source = TypeAdapter(Source).validate_python(READ | {"path": str(path), "outside": True})
    collected, unreadable = assign_ids("s", read_source(source))
    return [json.loads(row.line)["messages"] for row in collected], [row.reason for row in unreadable]


USER, REPLY = {"role": "user", "content": "Open?"}, {"role": "assistant", "content": "Yes."}
ASKED, SAID = says("user", "Open?"), says("assistant", "Yes.")
HIDDEN = {"metadata": {"is_visually_hidden_from_conversation": True}}


@pytest.mark.parametrize("alone", [True, False])
def test_an_export_is_read_from_the_first_message_down(alone: bool, tmp_path: Path) -> None:
    one = exported(line(says("system", "", weight=0.0, **HIDDEN), ASKED, SAID))
    assert read(one if alone else [one, one | {"id": "d"}], tmp_path) == ([[USER, REPLY]] * (1 if alone else 2), [])


@pytest.mark.parametrize(("current", "kept"), [("x", "No."), ("y", "Yes."), (None, "Yes."), ("not there", "Yes.")])
def test_of_a_reply_that_was_asked_for_again_the_one_shown_last_is_read(current: str | None, kept: str) -> None:
    forks: list[Node] = [("0", None, None), ("u", "0", ASKED), ("x", "u", says("assistant", "No.")), ("y", "u", SAID)]
    row = exported(forks)
    row["current_node"] = current
    assert without_trees(row)["mapping"] == [USER, REPLY | {"content": kept}]


def test_thoughts_calls_and_results_are_parts_of_the_talk_and_settings_are_not(tmp_path: Path) -> None:
    thoughts = [{"summary": "Look", "content": "Let me look."}, {"summary": "Done", "content": ""}]
    row = exported(line(
        holds("user", "user_editable_context", user_profile="I am a smith."), ASKED,
        holds("assistant", "thoughts", thoughts=thoughts), holds("assistant", "reasoning_recap", content="Thought for 2 s"),
        holds("assistant", "code", recipient="python", text="look(3)"),
        holds("tool", "execution_output", name="python", text="7"),
        holds("assistant", "code", recipient="web.run", text='{"at": 3}'), holds("tool", "tether_browsing_display", result="8"),
        says("assistant", "", "Yes\ue200cite\ue202turn0search1\ue201."),
    ))  # fmt: skip
    calls = [
        {"type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments in (("python", '{"code": "look(3)"}'), ("web.run", '{"at": 3}'))
    ]
    assert read([row], tmp_path) == (
        [
            [
                USER,
                {"role": "assistant", "content": "", "tool_calls": calls[:1], "reasoning_content": "Let me look.\nDone"},
                {"role": "tool", "content": "7", "name": "python"},
                {"role": "assistant", "content": "", "tool_calls": calls[1:]},
                {"role": "tool", "content": "8"},
                REPLY,
            ]
        ],
        [],
    )


@pytest.mark.parametrize(
    "ended",
    [
        {"metadata": {"finish_details": {"type": "interrupted"}}},
        {"metadata": {"finish_details": {"type": "max_tokens"}}},
        {"status": "in_progress"},
    ],
)
def test_a_reply_that_was_cut_short_and_one_of_no_weight_are_context(ended: dict, tmp_path: Path) -> None:
    cut = says("assistant", "Ye", **ended)
    off = says("assistant", "Y", weight=0.0)
    whole = SAID | {"metadata": {"finish_details": {"type": "stop"}}, "weight": 1.0, "status": "finished_successfully"}
    [messages], _ = read([exported(line(ASKED, cut, ASKED, off, ASKED, whole))], tmp_path)
    assert [one.get("weight") for one in messages if one["role"] == "assistant"] == [0, 0, None]


@pytest.mark.parametrize(
    "shown",
    [
        "Yes\ue200cite\ue202turn0search1\ue202turn0news2\ue201.",
        "Yes.\ue200navlist\ue202More\ue202turn0news1\ue201",
        "\ue203Yes\ue204\ue200filecite\ue202turn0file0\ue201\ue206.",
        "\ue200url\ue202Yes\ue202turn0search1\ue201.",
        '\ue200entity\ue202["word","Yes","a word"]\ue201.',
        "Yes【11†source】【4:0†gate.pdf】.",
        "Yes.:contentReference[oaicite:3]{index=3}",
    ],
)
def test_marks_of_sources_are_no_words_of_a_reply_and_linked_words_are(shown: str, tmp_path: Path) -> None:
    assert read([exported(line(ASKED, says("assistant", shown)))], tmp_path) == ([[USER, REPLY]], [])


@pytest.mark.parametrize("mark", ["\ue200", "\ue200url\ue202a", '\ue200entity\ue202["a", "b', "【1†"])
def test_marks_without_an_end_take_no_time(mark: str) -> None:
    row = exported(line(ASKED, says("assistant", mark * 50_000)))
    began = time.process_time()
    assert without_trees(row)["mapping"][1]["content"] == mark * 50_000  # type: ignore[index]
    assert time.process_time() - began < 1


def test_what_is_thought_in_a_channel_is_a_thought_and_one_that_led_to_no_reply_is_not_the_next_ones(tmp_path: Path) -> None:
    analysis, lost = says("assistant", "Let me look.", channel="analysis"), says("assistant", "Hm.", channel="analysis")
    said = says("assistant", "I look.", channel="commentary"), says("assistant", "Yes.", channel="final")
    row = exported(line(ASKED, lost, ASKED, said[0], analysis, said[1]))
    thinking = REPLY | {"reasoning_content": "Let me look."}
    assert read([row], tmp_path) == ([[USER, USER, REPLY | {"content": "I look."}, thinking]], [])


@pytest.mark.parametrize("kept", [("id", "parent", "message"), ("parent", "message", "children")])
@pytest.mark.parametrize("current", [4, "4", None])
def test_a_line_is_whole_where_names_are_numbers_or_children_are_not_named(kept: tuple[str, ...], current: object) -> None:
    row = exported(line(ASKED, SAID, ASKED, SAID))
    for node in row["mapping"].values():
        node["parent"] = None if node["parent"] is None else int(node["parent"])
        node["children"] = list(map(int, node["children"]))
        for key in {*node} - {*kept}:
            del node[key]
    row["current_node"] = current
    assert without_trees(row)["mapping"] == [USER, REPLY, USER, REPLY]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("Yes.【11†source】", "Yes."),
        (["Yes."], "Yes."),
        ({"content_type": "text", "parts": ["Yes.", None]}, "Yes."),
        ({"content_type": "citable_code_output", "output_str": "Yes."}, "Yes."),
        ({"content_type": "widget", "shape": "round"}, [{"type": "widget", "content_type": "widget", "shape": "round"}]),
        ({"content_type": "tether_browsing_display", "result": "", "summary": None}, None),
        (None, None),
    ],
)
def test_what_a_content_says_is_read_wherever_it_stands_and_else_not_lost(content: object, said: object) -> None:
    [_, *rest] = without_trees(exported(line(ASKED, SAID | {"content": content})))["mapping"]  # type: ignore[misc]
    assert rest == ([] if said is None else [{"role": "assistant", "content": said}])


IMAGE = {"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}
SOUND = {"content_type": "audio_asset_pointer", "asset_pointer": "file-service://x"}
SPOKEN = {"content_type": "audio_transcription", "text": "Open?", "direction": "in"}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (says("user", IMAGE, "Open?", kind="multimodal_text"), "a part of type image_asset_pointer; only text can be read"),
        (says("user", SOUND, kind="multimodal_text"), "a part of type audio_asset_pointer; only text can be read"),
        (ASKED | {"metadata": {"attachments": [{"name": "x.pdf"}]}}, "a message with 'attachments'; only text can be read"),
        (says("user", SPOKEN, SOUND, kind="multimodal_text"), None),
    ],
)
def test_what_only_the_eye_or_the_ear_takes_in_is_refused_and_the_words_of_what_was_spoken_are_read(
    message: dict, reason: str | None, tmp_path: Path
) -> None:
    messages, unreadable = read([exported(line(message, SAID))], tmp_path)
    assert messages == ([] if reason else [[USER, REPLY]])
    assert [one[: len(reason or "")] for one in unreadable] == ([reason] if reason else [])


def wrote(**fragments: str) -> dict:
    """As DeepSeek exports a message."""
    listed = [{"type": kind, "content": text} for kind, text in fragments.items()]
    return {"files": [], "model": "deepseek-chat", "inserted_at": "2026-01-01T10:00:00+08:00", FRAGMENTS: listed}


def test_deepseeks_messages_are_told_by_their_fragments(tmp_path: Path) -> None:
    row = exported(
        line(wrote(REQUEST="Open?"), wrote(THINK="Let me look."), wrote(REQUEST="Go on."), wrote(THINK="So.", RESPONSE="Yes."))
    )
    del row["current_node"]
    row["mapping"]["4"]["message"][FRAGMENTS].append({"type": "SEARCH", "content": None, "results": [{"url": "x"}]})
    assert read([row], tmp_path) == (
        [
            [
                USER,
                {"role": "assistant", "content": "", "reasoning_content": "Let me look.", "weight": 0},
                {"role": "user", "content": "Go on."},
                REPLY | {"reasoning_content": "So."},
            ]
        ],
        [],
    )


def older(content: str, thoughts: str | None = None) -> dict:
    """As DeepSeek exported a message until 2025."""
    return {"files": [], "search_results": None, "model": "deepseek-reasoner", "reasoning_content": thoughts, "content": content}


def test_deepseeks_older_messages_take_turns_also_over_a_reply_that_never_came(tmp_path: Path) -> None:
    row = exported(
        line(
            older("Open?"),
            older(""),
            older("Open?"),
            older("Yes[citation:2].", "Let me look."),
            older("Go on."),
            older("", "So."),
        )
    )
    asked, cut = USER | {"content": "Go on."}, {"role": "assistant", "content": "", "reasoning_content": "So.", "weight": 0}
    assert read([row], tmp_path) == ([[USER, USER, REPLY | {"reasoning_content": "Let me look."}, asked, cut]], [])


def test_deepseeks_note_that_a_machine_wrote_it_is_no_part_of_a_reply(tmp_path: Path) -> None:
    row = exported(line(wrote(REQUEST="Open?"), wrote(TIP="A machine wrote this.", RESPONSE="Yes.[reference:0]")))
    assert read([row], tmp_path) == ([[USER, REPLY]], [])


@pytest.mark.parametrize("change", [{"files": [{"name": "x.pdf"}]}, {FRAGMENTS: [{"type": "PICTURE", "content": "x"}]}])
def test_what_is_no_text_of_deepseeks_is_refused(change: dict, tmp_path: Path) -> None:
    messages, [reason] = read([exported(line(wrote(REQUEST="Open?") | change, wrote(RESPONSE="Yes.")))], tmp_path)
    assert messages == []
    assert "only text can be read" in reason


@pytest.mark.parametrize(
    "tree",
    [
        {},
        {"a": {"parent": None, "children": []}},
        {"a": {"parent": None, "children": [], "text": "hi"}},
        {"a": {"parent": "b", "children": ["b"]}, "b": {"parent": "a", "children": ["a"]}},
        {"a": {"parent": None, "children": [], "message": {"role": "user", "content": "hi"}}},
    ],
)
def test_another_tree_stays_as_it_is(tree: dict) -> None:
    row = {"mapping": tree, "current_node": "a"}
    assert without_trees(row) is row


def test_a_talk_in_which_nobody_said_anything_keeps_no_file_from_being_read(tmp_path: Path) -> None:
    assert read([exported([("0", None, None)]), exported(line(ASKED, SAID)) | {"id": "d"}], tmp_path) == ([[], [USER, REPLY]], [])


def test_a_tree_in_a_ring_and_one_whose_children_are_not_there_end() -> None:
    ring = exported([("a", "b", ASKED), ("b", "a", SAID)])
    assert sorted(one["role"] for one in without_trees(ring)["mapping"]) == ["assistant", "user"]  # type: ignore[attr-defined]
    torn = exported(line(ASKED, SAID))
    torn["mapping"]["2"]["children"] = ["gone", None]
    torn["current_node"] = None
    assert without_trees(torn)["mapping"] == [USER, REPLY]
