"""Made-up conversations to measure with: English and Chinese, with planted duplicates and templated dialogues.

    python -m benchmarks.conversations 100000 conversations.jsonl

Words are made of syllables and characters, drawn by Zipf's law. About 590 bytes a conversation, half of them Chinese. Of all
rows 3% repeat an earlier one, 6% are an earlier one with 1% to 20% of its tokens exchanged, 5% are dialogues of 40 templates.
`id` says what a row is: plain-7, exact-9-of-7, edited02-12-of-7 (at most 2% of the tokens), template3-20.
"""

import itertools
import json
import math
import random
import sys
from collections.abc import Iterator
from pathlib import Path

EDITS = (1, 2, 5, 10, 20)  # per cent of the tokens
CONSONANTS = ["b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "w", "st", "tr", "ch", "sh"]
VOWELS = ["a", "e", "i", "o", "u", "ea", "ou", "ai", "er", "in", "on"]
SYLLABLES = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
CHARACTERS = [chr(code) for code in range(0x4E00, 0x4E00 + 3500)]


def make_words(choose: random.Random, chinese: bool, number: int = 20000) -> list[str]:
    pieces, most = (CHARACTERS, 2) if chinese else (SYLLABLES, 3)
    return ["".join(choose.choices(pieces, k=choose.randint(1, most))) for _ in range(number)]


def make_messages(choose: random.Random, words: list[str], weights: list[float], chinese: bool) -> list[dict]:
    exchanges = choose.choice([1, 1, 2, 2, 3])
    messages = []
    for turn in range(2 * exchanges):
        length = choose.randint(4, 27) if turn % 2 == 0 else choose.randint(6, 47)
        if chinese:
            length = round(length * 1.1)
        chosen = choose.choices(words, cum_weights=weights, k=length)
        text = "".join(chosen) + "。" if chinese else " ".join(chosen).capitalize() + "."
        messages.append({"role": ("user", "assistant")[turn % 2], "content": text})
    return messages


def edit(choose: random.Random, messages: list[dict], percent: int, words: list[str], chinese: bool) -> tuple[list[dict], int]:
    """The messages with so many per cent of their tokens (words, Chinese characters) exchanged for others, at least one.

    With the share that it came to: per cent, rounded up.
    """
    texts = [list(message["content"]) if chinese else message["content"].split(" ") for message in messages]
    places = [(number, place) for number, text in enumerate(texts) for place in range(len(text))]
    edits = max(1, len(places) * percent // 100)
    for number, place in choose.sample(places, edits):
        texts[number][place] = choose.choice(CHARACTERS) if chinese else choose.choice(words)
    edited = [
        {"role": message["role"], "content": ("" if chinese else " ").join(text)}
        for message, text in zip(messages, texts, strict=True)
    ]
    return edited, math.ceil(100 * edits / len(places))


def make_conversations(number: int, seed: int = 0) -> Iterator[dict]:
    """Rows with `id`, `language` and `messages`, the same ones for the same arguments."""
    choose = random.Random(seed)
    words = {chinese: make_words(choose, chinese) for chinese in (False, True)}
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(20000)))
    templates = [
        (chinese, make_messages(choose, words[chinese], weights, chinese)) for chinese in (False, True) for _ in range(20)
    ]
    plain: list[tuple[int, bool, list[dict]]] = []
    for row in range(number):
        kind, chinese = choose.random(), row % 2 == 1
        if kind < 0.09 and plain:
            original, chinese, messages = choose.choice(plain)
            if kind < 0.03:
                name = f"exact-{row}-of-{original}"
            else:
                messages, percent = edit(choose, messages, choose.choice(EDITS), words[chinese], chinese)
                name = f"edited{percent:02}-{row}-of-{original}"
        elif kind < 0.14:
            which = choose.randrange(len(templates))
            chinese, messages = templates[which]
            name = f"template{which}-{row}"
            messages, _ = edit(choose, messages, 15, words[chinese], chinese)  # the slots
        else:
            name, messages = f"plain-{row}", make_messages(choose, words[chinese], weights, chinese)
            if len(plain) < 50000:
                plain.append((row, chinese, messages))
        yield {"id": name, "language": "zh" if chinese else "en", "messages": messages}


def write_conversations(path: Path, number: int, seed: int = 0) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in make_conversations(number, seed):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    write_conversations(Path(sys.argv[2]), int(sys.argv[1]))
