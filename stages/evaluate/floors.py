"""Replies that take no model: what a score is worth shows against them."""

import hashlib
from collections import Counter

import pandas as pd

from stages.lib.records.conversation import Conversation, normalize, reply_text, trained_positions

FLOORS = ("floor_echo", "floor_constant", "floor_random")
MAJORITY = "floor_constant"  # in classification, the majority class


def train_replies(train: list[Conversation]) -> list[str]:
    """Every message that was to be learned, in the order of the conversations."""
    return [
        reply_text(row["messages"][place]) for row in train for place in trained_positions(row["messages"]) if row["messages"]
    ]


def most_frequent(texts: list[str]) -> str:
    """The text that stands most often, case and white space aside; of several, the first in order."""
    counts = Counter(map(normalize, texts))
    best = max(counts, key=lambda text: (counts[text], [-ord(letter) for letter in text]), default="")
    return Counter(text for text in texts if normalize(text) == best).most_common(1)[0][0] if texts else ""


def draw(texts: list[str], id: str, turn: int, seed: int) -> str:
    """The same text for the same message, whatever other messages there are."""
    digest = hashlib.sha256(f"{seed}/{id}/{turn}".encode()).digest()
    return texts[int.from_bytes(digest[:8], "big") % len(texts)] if texts else ""


def floor_replies(replies: pd.DataFrame, train: list[Conversation], seed: int) -> dict[str, list[str]]:
    """The prompt again; the most frequent reply of train (in classification the majority class); a random reply of train."""
    texts = train_replies(train)
    drawn = [draw(texts, str(id), int(turn), seed) for id, turn in zip(replies["id"], replies["turn"], strict=True)]
    return {
        "floor_echo": list(replies["prompt"]),
        "floor_constant": [most_frequent(texts)] * len(replies),
        "floor_random": drawn,
    }
