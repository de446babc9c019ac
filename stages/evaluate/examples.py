"""The test conversations and what each contender made of them, as two tables: one of conversations, one of replies."""

from typing import NamedTuple

import pandas as pd

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_jsonl
from stages.lib.records.assignment import ASSIGNMENT, AssignedRow
from stages.lib.records.conversation import Conversation, conversations_of, read_conversations, reply_text, trained_positions
from stages.lib.records.predictions import CONTENDERS, Contender, predictions_of

REPLY_COLUMNS = ["reply", "reply_tokens", "stopped", "unanswered", "label_nll"]


class Examples(NamedTuple):
    """`conversations`: id, source, label, language, turns, characters, group, reference_bytes, and of each contender nll, labels,
    unscored. `replies`: id, turn, group, language, prompt, reference, and of each contender the columns above. A turn is the
    position of the message that a reply stands for.
    """

    conversations: pd.DataFrame
    replies: pd.DataFrame


def last_prompt(conversation: Conversation, turn: int) -> str:
    """The user's last words before a message."""
    asked = [message for message in conversation["messages"][:turn] if message["role"] == "user"]
    return reply_text(asked[-1]) if asked else ""


def describe(conversation: Conversation, group: str) -> dict[str, object]:
    messages = conversation["messages"]
    texts = [reply_text(messages[place]) for place in trained_positions(messages)]
    return {
        "id": conversation["id"],
        "source": conversation["id"].partition("/")[0],
        "label": conversation["label"],
        "language": conversation["language"],
        "turns": len(texts),
        "characters": sum(len(message["content"]) for message in messages),
        "group": group,
        "reference_bytes": sum(len(text.encode()) for text in texts),
    }


def read_predictions(contender: Contender, test: list[Conversation]) -> pd.DataFrame:
    """
    Raises:
        ReprotuneError: they are of other conversations than those of test.
    """
    path = predictions_of(contender)
    rows = pd.read_parquet(path)
    rows = rows[rows["set"] == "test"]
    known, found = {row["id"] for row in test}, set(rows["id"])
    if absent := sorted(known - found):
        raise ReprotuneError(f"{path}: no prediction for {len(absent):,} test conversations, {absent[0]} first; run `dvc repro`")
    if foreign := sorted(found - known):
        raise ReprotuneError(
            f"{path}: predictions of {len(foreign):,} conversations not in test, {foreign[0]} first; run `dvc repro`"
        )
    return rows.reindex(columns=["id", "turn", "nll", "labels", "unscored", *REPLY_COLUMNS])


def read_others(contender: Contender, name: str) -> pd.DataFrame:
    """Likelihoods of texts that are not of test, a row a text: retention or train; no row where predict gave none."""
    rows = pd.read_parquet(predictions_of(contender))
    return sum_likelihoods(rows[(rows["set"] == name) & rows["unscored"].isna()])[["nll", "labels"]]


def sum_likelihoods(rows: pd.DataFrame) -> pd.DataFrame:
    """Over the messages of each conversation: nll, labels; NaN where one message has none, `unscored` the first reason.

    Without a reason it is the likelihood that is no number.
    """
    known = rows.assign(missing=rows["nll"].isna()).groupby("id")
    sums = known[["nll", "labels"]].sum().join(known["unscored"].first())
    sums.loc[known["missing"].any(), "nll"] = float("nan")
    return sums


def wanted_replies(rows: pd.DataFrame) -> pd.DataFrame:
    """Those that there are, and those that there should be."""
    wanted = rows[rows["reply"].notna() | rows["unanswered"].notna()]
    return wanted.set_index(["id", "turn"])[REPLY_COLUMNS]


def read_groups() -> dict[str, str]:
    """Conversation -> the first id of those that belong together, by the source's group, the prompt or near duplicates."""
    assignment: list[AssignedRow] = read_jsonl(ASSIGNMENT)
    return {row["id"]: row["group"] for row in assignment}


def read_examples(group_of: dict[str, str]) -> Examples:
    test = read_conversations(conversations_of("test"))
    if strange := [row["id"] for row in test if row["id"] not in group_of]:
        raise ReprotuneError(
            f"{ASSIGNMENT}: no group for {len(strange):,} test conversations, {strange[0]} first; run `dvc repro`"
        )
    columns = ["id", "source", "label", "language", "turns", "characters", "group", "reference_bytes"]
    conversations = pd.DataFrame([describe(row, group_of[row["id"]]) for row in test], columns=columns)
    predicted = {contender: read_predictions(contender, test) for contender in CONTENDERS}
    for contender, rows in predicted.items():
        conversations = conversations.join(sum_likelihoods(rows).add_prefix(f"{contender}_"), on="id")
    parts = [wanted_replies(rows).add_prefix(f"{contender}_") for contender, rows in predicted.items()]
    return Examples(conversations, describe_replies(test, pd.concat(parts, axis=1), group_of))


def describe_replies(test: list[Conversation], replies: pd.DataFrame, group_of: dict[str, str]) -> pd.DataFrame:
    """Each reply with its prompt and its reference, in the order of the test conversations."""
    by_id = {row["id"]: row for row in test}
    described = [
        {
            "id": id,
            "turn": turn,
            "group": group_of[id],
            "language": by_id[id]["language"],
            "label": by_id[id]["label"],
            "prompt": last_prompt(by_id[id], turn) if turn >= 0 else "",
            "reference": reply_text(by_id[id]["messages"][turn]) if turn >= 0 else "",
        }
        for id, turn in replies.index
    ]
    columns = ["id", "turn", "group", "language", "label", "prompt", "reference"]
    table = pd.DataFrame(described, columns=columns).join(replies.reset_index(drop=True))
    return table.sort_values(["id", "turn"], kind="stable", ignore_index=True)
