"""Conversations as Markdown: what may be shown as it stands, whatever it holds, and nothing of what may not."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.report.excerpts import NOT_SHOWN, may_show, quote, render_examples, render_replies

HOSTILE = [
    "```\nls\n```",
    "~~~",
    "# A heading\n\nand text",
    "A heading\n=========\nAnother\n---",
    "<script>alert(1)</script>",
    "<!-- a comment that nobody ends",
    "</details>\n<img src=x onerror=alert(1)>",
    "- a list\n\n  1. in a list\n\n    code",
    "> a quote\nlazily continued",
    "| a | table |\n|---|---|\n| b | c |",
    "[a link]: http://example.org\n\n[a link]",
    "![a picture](http://example.org/x.png)",
    "**labelled**\n\n## `chats/1`\n",
    "\n\n\n# after blank lines\n\n\n",
    "a\r# b\r\n# c\x0b# d\x0c# e\x85# f\u2028# g\u2029# h\x1c# i",
    "\t# a tab first",
    " # a space first",
    "",
    " \n\t\n",
    "$$x^2$$ and `code` and \\",
    "---\ntitle: front matter\n---",
]


def unquote(lines: list[str]) -> list[str]:
    return [line.removeprefix("    ") for line in lines]


def check_block(block: list[str], text: str) -> None:
    """Each line is blank or indented by four, a blank line ends the block, and the text is all there."""
    assert block[-1] == ""
    assert all(not line or (line.startswith("    ") and line.strip()) for line in block)
    assert all(len(line.splitlines()) <= 1 for line in block)
    assert unquote(block[:-1]) == [f" {line}".rstrip()[1:] for line in text.splitlines()]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_text_is_an_indented_block_whatever_it_holds(text: str) -> None:
    check_block(quote(text), text)


@given(text=st.text())
def test_any_text_is_an_indented_block(text: str) -> None:
    check_block(quote(text), text)


@pytest.mark.parametrize(
    ("id", "shown"),
    [
        ("pairs/1", True),
        ("chats/1", False),
        ("pairs2/1", False),
        ("pair/1", False),
        ("chats/pairs/1", False),
        ("chats/pairs", False),
    ],
)
def test_a_source_is_shown_only_by_its_own_whole_name(id: str, shown: bool) -> None:
    assert may_show(id, ["pairs", "others"]) is shown
    assert not may_show(id, [])


# Replies on test conversations


def talk(*texts: str) -> list[dict]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]


def examples(*ids: str, turn: int = 1, **values: str | None) -> pd.DataFrame:
    row = {"turn": turn, "reference": "the reference", "base_reply": "of base", "tuned_reply": "of tuned"} | values
    return pd.DataFrame([{"id": id} | row for id in ids])


def test_a_test_conversation_is_shown_up_to_its_last_question_with_the_three_replies() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *talk("One?", "First.", "Two?", "the reference", "Three?")]
    assert render_replies(examples("pairs/1", turn=4), {"pairs/1": messages}, ["pairs"], 1) == (
        "# Replies on test conversations\n\n## `pairs/1`\n\n"
        "**system**\n\n    Be brief.\n\n**user**\n\n    One?\n\n**assistant**\n\n    First.\n\n**user**\n\n    Two?\n\n"
        "**reference**\n\n    the reference\n\n**base**\n\n    of base\n\n**tuned**\n\n    of tuned\n"
    )


def test_a_test_conversation_is_shown_up_to_the_reply_that_is_the_reference_with_its_calls() -> None:
    messages = talk("Where?", "", "Sure?", "No.")
    messages[1]["tool_calls"] = [{"type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}]
    messages[3]["weight"] = 0
    messages += talk("And?", "Two.", "Thanks", "Bye")
    messages[-1]["weight"] = 0
    text = render_replies(examples("pairs/1", turn=5), {"pairs/1": messages}, ["pairs"], 1)
    assert [line.strip() for line in text.splitlines() if line.startswith("    ")][:5] == [
        "Where?", 'find({"a": 1})', "Sure?", "No.", "And?",
    ]  # fmt: skip
    assert "Bye" not in text


def test_of_a_source_that_is_not_shown_the_id_stands_alone() -> None:
    messages_of = {id: talk("geheim?", "geheim.") for id in ("chats/1", "pairs/1")}
    text = render_replies(examples("chats/1", reference="geheim", base_reply="geheim"), messages_of, ["pairs"], 1)
    assert text == "\n".join(["# Replies on test conversations", "", "## `chats/1`", "", *NOT_SHOWN])


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_conversation_that_could_not_be_scored_has_no_replies(missing: float | None) -> None:
    table = pd.concat([examples("pairs/1"), examples("pairs/2", base_reply=missing, tuned_reply=missing)])
    text = render_replies(table, dict.fromkeys(["pairs/1", "pairs/2"], talk("a", "b")), ["pairs"], 2)
    assert text.count("**base**\n\n    (none)\n") == text.count("**tuned**\n\n    (none)\n") == 1
    assert text.count("    of base\n") == 1


@pytest.mark.parametrize(
    ("number", "expected"),
    [(0, []), (1, [0]), (2, [0, 6]), (3, [0, 4, 8]), (5, [0, 2, 4, 7, 9]), (12, list(range(12))), (99, list(range(12)))],
)
def test_as_many_conversations_as_asked_are_shown_evenly_spaced(number: int, expected: list[int]) -> None:
    text = render_replies(examples(*(f"chats/{n}" for n in range(12))), {}, [], number)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [f"## `chats/{n}`" for n in expected]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_conversation_leaves_its_block(text: str) -> None:
    table = examples("pairs/1", turn=3, reference=text, base_reply=text, tuned_reply=text)
    rendered = render_replies(table, {"pairs/1": talk(text, text, text, text)}, ["pairs"], 1)
    names = ["**user**", "**assistant**", "**user**", "**reference**", "**base**", "**tuned**"]
    assert [line for line in rendered.split("\n") if line and not line.startswith("    ")] == [
        "# Replies on test conversations",
        "## `pairs/1`",
        *names,
    ]
    block = "\n".join(quote(text))
    for name in names:
        assert f"\n\n{name}\n\n{block}" in rendered


# Training examples


def rendered_row(id: str, *texts: str) -> dict:
    return {"id": id, "pieces": [{"labelled": bool(at % 2), "text": text} for at, text in enumerate(texts)]}


def test_a_training_example_says_of_each_piece_whether_it_is_labelled() -> None:
    row = rendered_row("pairs/1", "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n", "First.<|im_end|>")
    assert render_examples([row], ["pairs"]) == (
        "# Training examples as the model sees them\n\nIt learns to write what is labelled.\n\n## `pairs/1`\n\n"
        "not labelled\n\n    <|im_start|>user\n    One?<|im_end|>\n    <|im_start|>assistant\n\n"
        "**labelled**\n\n    First.<|im_end|>\n"
    )


def test_of_a_source_that_is_not_shown_no_piece_is_there() -> None:
    text = render_examples([rendered_row("chats/1", "geheim?", "geheim."), rendered_row("pairs/1", "One?", "First.")], ["pairs"])
    assert "geheim" not in text
    assert "\n".join(["## `chats/1`", "", *NOT_SHOWN, "## `pairs/1`", "", "not labelled", "", "    One?", ""]) in text


@pytest.mark.parametrize("text", HOSTILE)
def test_no_piece_leaves_its_block(text: str) -> None:
    rendered = render_examples([rendered_row("pairs/1", text, text, text)], ["pairs"])
    assert [line for line in rendered.split("\n") if line and not line.startswith("    ")][2:] == [
        "## `pairs/1`",
        "not labelled",
        "**labelled**",
        "not labelled",
    ]
