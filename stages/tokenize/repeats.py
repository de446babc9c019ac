"""Conversations whose replies all stand in many others: what is said too often to be learned from each time."""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping

from stages.lib.records.conversation import Message, is_trained, normalize
from stages.tokenize.order import spread

BYTES_OF_A_REPLY = 16


def find_repeats(replies: Mapping[str, Collection[bytes]], most: int) -> set[str]:
    """Ids of those whose replies all stand in `most` others already, by order of `spread`. `replies`: `reply_keys` of each."""
    seen: Counter[bytes] = Counter()
    repeats = set()
    for id in sorted(replies, key=spread):
        if all(seen[reply] >= most for reply in replies[id]):
            repeats.add(id)
        else:
            seen.update(replies[id])
    return repeats


def reply_keys(messages: Iterable[Message]) -> frozenset[bytes]:
    """What identical replies have in common, in few bytes. `messages`: those that an example is made of, without what is cut."""
    texts = map(reply_text, filter(is_trained, messages))
    return frozenset(hashlib.blake2b(text.encode(), digest_size=BYTES_OF_A_REPLY).digest() for text in texts)


def reply_text(message: Message) -> str:
    """The normalised text, and the calls."""
    calls = [call["function"] for call in message.get("tool_calls", [])]
    return normalize(message["content"]) + (json.dumps(calls, sort_keys=True) if calls else "")
