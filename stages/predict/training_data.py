"""What predictions need of the training conversations: how long replies are, which labels there are, rows that may be memorised.

The file is read as a stream: it may be a hundred times as large as test.
"""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import orjson

from stages.lib.core.files import read_lines
from stages.lib.records.conversation import Conversation, Message, normalize, reply_text, trained_positions
from stages.lib.records.predictions import Task

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MEASURED = 10_000  # conversations whose replies' lengths give the limit
SHARE_WITHIN = 0.99  # of these replies
SAMPLE = 500  # conversations at most whose likelihood is compared with test's
REPEATED = 64  # replies
LONG = 20  # tokens: who says so many word for word remembers them
MOST_LABELS = 200
LEAST_OF_EACH = 5  # conversations, mean
LONGEST_LABEL = 64  # characters


class TrainingData(NamedTuple):
    """`sample` in an order that the seed decides; `repeated`: (conversation, turn); `longest`, tokens with the stop token."""

    sample: list[Conversation]
    repeated: list[tuple[Conversation, int]]
    longest: int
    task: Task
    task_reason: str
    labels: list[str]


def read_training_data(
    path: Path, tokenizer: "PreTrainedTokenizerBase", seed: int, task: Literal["auto", "dialogue", "classification"]
) -> TrainingData:
    measured = heapq.nsmallest(MEASURED, read(path), key=lambda row: rank(seed, row["id"]))
    longest = find_longest(tokenizer, measured)
    labels, conversations = count_labels(path)
    found, reason = find_task(labels, conversations) if task == "auto" else (task, "set by predict.task")
    names = sorted(labels) if found == "classification" else []
    return TrainingData(measured[:SAMPLE], find_repeated(path, tokenizer), longest, found, reason, names)


def read(path: Path) -> Iterator[Conversation]:
    yield from map(orjson.loads, read_lines(path))


def rank(seed: int, id: str) -> bytes:
    return hashlib.sha256(f"{seed} {id}".encode()).digest()


def written(message: Message) -> str:
    """All that the model writes of a reply, thoughts included."""
    return message.get("reasoning_content", "") + reply_text(message)


def count_tokens(tokenizer: "PreTrainedTokenizerBase", texts: list[str]) -> list[int]:
    """Of each text as a reply, with its stop token."""
    return [len(ids) + 1 for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def find_longest(tokenizer: "PreTrainedTokenizerBase", conversations: list[Conversation]) -> int:
    """Tokens within which SHARE_WITHIN of the replies stay."""
    texts = [written(row["messages"][at]) for row in conversations for at in trained_positions(row["messages"])]
    lengths = sorted(count_tokens(tokenizer, texts))
    return lengths[int(SHARE_WITHIN * (len(lengths) - 1))] if lengths else 1


def count_labels(path: Path) -> tuple[Counter[str], int]:
    """(how often each last reply stands, conversations), or too many replies to be labels: counting ends there."""
    forms: dict[str, Counter[str]] = {}
    conversations = 0
    for row in read(path):
        if not (turns := trained_positions(row["messages"])):
            continue
        conversations += 1
        text = reply_text(row["messages"][turns[-1]])
        forms.setdefault(normalize(text), Counter())[text] += 1
        if len(forms) > MOST_LABELS:
            break
    # Of several ways to write a label, the most frequent one.
    return Counter({min(some, key=lambda text: (-some[text], text)): some.total() for some in forms.values()}), conversations


def find_task(labels: Counter[str], conversations: int) -> tuple[Task, str]:
    """Classification: few and short replies, each again and again."""
    if len(labels) > MOST_LABELS:
        return "dialogue", f"more than {MOST_LABELS} different replies in train"
    counted = f"{len(labels):,} different replies in {conversations:,} training conversations"
    if len(labels) < 2 or conversations < LEAST_OF_EACH * len(labels):
        return "dialogue", counted
    if (longest := max(map(len, labels))) > LONGEST_LABEL:
        return "dialogue", f"{counted}, up to {longest:,} characters long"
    return "classification", counted


def find_repeated(path: Path, tokenizer: "PreTrainedTokenizerBase") -> list[tuple[Conversation, int]]:
    """Long replies that stand in several conversations, the most frequent first: one conversation of each, and the turn."""
    counts: Counter[int] = Counter()
    for row in read(path):
        counts.update({key_of(row["messages"][at]) for at in trained_positions(row["messages"])})
    several = {key for key, number in counts.items() if number > 1}
    first: dict[int, tuple[Conversation, int]] = {}
    for row in read(path) if several else ():
        for at in trained_positions(row["messages"]):
            if (key := key_of(row["messages"][at])) in several:
                first.setdefault(key, (row, at))
    keys = sorted(first, key=lambda key: (-counts[key], first[key][0]["id"]))
    lengths = count_tokens(tokenizer, [written(first[key][0]["messages"][first[key][1]]) for key in keys])
    long = [key for key, length in zip(keys, lengths, strict=True) if length > LONG]
    return [first[key] for key in long[:REPEATED]]


def key_of(message: Message) -> int:
    return int.from_bytes(hashlib.blake2b(normalize(reply_text(message)).encode(), digest_size=8).digest())
