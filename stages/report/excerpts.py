"""Conversations as Markdown for metrics/, which git and pull requests show: texts only of the sources that may be shown."""

import re
from collections.abc import Sequence

import pandas as pd

from stages.lib.records.conversation import Message, reply_text
from stages.lib.records.tokenize_ledger import RenderedExample
from stages.report.names import shown_name

NOT_SHOWN = ["(text not shown: its source is not in report.show_text)", ""]


def quote(text: str) -> list[str]:
    """The text as an indented block, whatever Markdown it holds."""
    return [*(f"    {line}".rstrip() for line in text.splitlines()), ""]


def heading(id: str) -> list[str]:
    """An id may come from the user's own file: whatever it holds, it stays one line and no markup."""
    return ["## `" + re.sub(r"[\s`]+", " ", shown_name(id)) + "`", ""]


def may_show(id: str, show_text: Sequence[str]) -> bool:
    return id.partition("/")[0] in show_text


def render_replies(replies: pd.DataFrame, messages_of: dict[str, list[Message]], show_text: Sequence[str], number: int) -> str:
    """Evenly spaced test conversations with both models' replies, of each conversation the last one."""
    lines = ["# Replies on test conversations", ""]
    last_ones = replies.drop_duplicates("id", keep="last")
    for position in sorted({len(last_ones) * index // number for index in range(number) if len(last_ones)}):
        row = last_ones.iloc[position]
        lines += heading(row["id"])
        if not may_show(row["id"], show_text):
            lines += NOT_SHOWN
            continue
        messages = messages_of[row["id"]]
        last = row["turn"] if row["turn"] >= 0 else len(messages)
        turns: list[tuple[str, object]] = [(message["role"], reply_text(message)) for message in messages[:last]]
        turns += [("reference", row["reference"]), ("base", row["base_reply"]), ("tuned", row["tuned_reply"])]
        for name, text in turns:
            lines += [f"**{name}**", "", *quote(text if isinstance(text, str) else "(none)")]
    return "\n".join(lines)


def render_examples(rendered: Sequence[RenderedExample], show_text: Sequence[str]) -> str:
    """Training examples as the model sees them, piece by piece: so a change of template shows in a diff."""
    lines = ["# Training examples as the model sees them", "", "It learns to write what is labelled.", ""]
    for row in rendered:
        lines += heading(row["id"])
        if not may_show(row["id"], show_text):
            lines += NOT_SHOWN
            continue
        for piece in row["pieces"]:
            lines += ["**labelled**" if piece["labelled"] else "not labelled", "", *quote(piece["text"])]
    return "\n".join(lines)
