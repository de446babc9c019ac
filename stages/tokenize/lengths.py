"""What to say where much is longer than a training example may be: how much, and what would keep it."""

import re
from collections.abc import Iterable, Sequence

from stages.lib.chat_template import TemplateMisfit
from stages.lib.records.conversation import Conversation, Message, trained_positions
from stages.lib.records.tokenize_ledger import Lengths
from stages.lib.scripts import UNSPACED
from stages.tokenize.batches import AT_ONCE, BatchTokenizer

MOST_TOO_LONG = 0.1  # share of the conversations; above it is no matter of some outliers
ALMOST_ALL = 0.99
UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def first_turn(messages: Sequence[Message]) -> list[Message]:
    """Up to the first reply that is learned: what is left where cutting takes off all later turns."""
    end = next(iter(trained_positions(messages)), len(messages))
    return list(messages[: end + 1])


def measure(conversation: Conversation, tokens: int, tokens_of_first_turn: int) -> Lengths:
    """`tokens`: of the longest example."""
    text = "".join(message["content"] for message in conversation["messages"])
    return {
        "tokens": tokens,
        "first_turn": tokens_of_first_turn,
        "characters": len(text),
        "unspaced": sum(1 for _ in UNSPACED_LETTER.finditer(text)),
    }


class TooLong:
    """Conversations that are too long, measured a thousand at a time, so that no more of them are held."""

    def __init__(self, tokenizer: BatchTokenizer) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[tuple[Conversation, int]] = []
        self.measured: dict[str, Lengths] = {}

    def add(self, conversation: Conversation, tokens: int) -> None:
        """`tokens`: of its longest example."""
        self.waiting.append((conversation, tokens))
        if len(self.waiting) == AT_ONCE:
            self.measure_waiting()

    def measure_waiting(self) -> None:
        first = self.tokenizer.tokenize(
            (first_turn(conversation["messages"]) for conversation, _ in self.waiting),
            (conversation.get("tools") for conversation, _ in self.waiting),
        )
        for (conversation, tokens), outcome in zip(self.waiting, first, strict=True):
            examples = [] if isinstance(outcome, TemplateMisfit) else outcome
            of_first = max((len(example.input_ids) for example in examples), default=tokens)
            self.measured[conversation["id"]] = measure(conversation, tokens, of_first)
        self.waiting = []

    def lengths(self) -> dict[str, Lengths]:
        """By id."""
        self.measure_waiting()
        return self.measured


def tell_too_long(too_long: Iterable[Lengths], conversations: int, max_length: int) -> str | None:
    """How many are too long, which length would fit 99%, and what cutting would do; None if they are few.

    >>> one = {"tokens": 900, "first_turn": 200, "characters": 800, "unspaced": 700}
    >>> tell_too_long([one, {**one, "tokens": 950}], 19, 768).partition("; ")[0]
    '2 of 19 conversations (11%) are longer than tokenize.max_length 768'
    >>> tell_too_long([one], 10, 768)
    """
    rows = list(too_long)
    if len(rows) <= MOST_TOO_LONG * conversations:
        return None
    longest_first = sorted((row["tokens"] for row in rows), reverse=True)
    fitting = longest_first[min(int((1 - ALMOST_ALL) * conversations + 1e-9), len(rows) - 1)]
    kept = sum(row["first_turn"] <= max_length for row in rows)
    said = (
        f"{len(rows):,} of {conversations:,} conversations ({len(rows) / conversations:.0%}) are longer than tokenize.max_length "
        f"{max_length:,}; 99% would fit at {fitting:,} (train.pack_length may follow); `too_long: cut` keeps {kept:,} of them "
        "without their last turns"
    )
    said += f", and leaves out {len(rows) - kept:,} whose first reply ends too late" if kept < len(rows) else ""
    characters, unspaced = (sum(row[key] for row in rows) for key in ("characters", "unspaced"))
    if 2 * unspaced > characters:
        said += (
            f"; this tokenizer takes {sum(longest_first) / characters:.1f} tokens a character, where one made for Chinese takes "
            "about 0.6: English ones need three times as many, so another base model may fit these conversations as they are"
        )
    return said
