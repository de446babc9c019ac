"""A talk that some model's chat template has written into one text already, its markers and all -> messages."""

import re
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple


class Template(NamedTuple):
    """`header`: of a turn, with who speaks in it. `ends`: what may stand behind a turn."""

    header: re.Pattern[str]
    ends: tuple[str, ...]


SPEAKERS = {
    "user": "user", "human": "user", "instruction": "user", "assistant": "assistant", "model": "assistant", "moss": "assistant",
    "gpt": "assistant", "bot": "assistant", "response": "assistant", "system": "system", "tool": "tool", "ipython": "tool",
}  # fmt: skip
TEMPLATES = (
    Template(re.compile(r"<\|im_start\|>[ \t]*(\w+)[ \t]*(?:\n|\Z)"), ("<|im_end|>", "<|endoftext|>")),  # ChatML
    Template(re.compile(r"<\|start_header_id\|>(\w+)<\|end_header_id\|>"), ("<|eot_id|>", "<|eom_id|>", "<|end_of_text|>")),
    Template(re.compile(r"<start_of_turn>(\w+)(?:\n|\Z)"), ("<end_of_turn>", "<eos>")),  # Gemma
    Template(re.compile(r"<\|(user|assistant|system)\|>:?"), ("</s>", "<|end|>", "<|endoftext|>")),  # Zephyr, Phi
    Template(re.compile(r"<s>[ \t]*(Human|User|Assistant|System)[:：]"), ("</s>",)),  # Atom
    Template(re.compile(r"<\|(Human|MOSS)\|>:"), ("<eoh>", "<eom>")),
    Template(re.compile(r"\[(Human|MOSS)\]:"), ("<eoh>", "<eoa>")),
    Template(re.compile(r"#{2,3}[ \t]*(Human|User|Assistant|System|Instruction|Input|Response):"), ("</s>", "<|endoftext|>")),
)
ENDS = tuple(dict.fromkeys(chain.from_iterable(one.ends for one in TEMPLATES)))
FIRST = re.compile(r"(?:(?:<s>|<bos>|<\|begin_of_text\|>|<\|endoftext\|>)\s*)?")  # may stand before the first turn
ALPACA = re.compile(r"(?:Below is an instruction that describes a task[^#\n]*\n+(?=###))?")
BEGINS = re.compile(f"{FIRST.pattern}{ALPACA.pattern}(?:{'|'.join(one.header.pattern for one in TEMPLATES)}|\\[INST\\])")
LLAMA_SYSTEM = re.compile(r"<<SYS>>(.*?)<</SYS>>", re.DOTALL)


def read_templated(text: str) -> list[tuple[str, str]] | None:
    """(role, what is said) of each turn; None where the text is no such talk.

    >>> read_templated("<|im_start|>user\\nHi<|im_end|>\\n<|im_start|>assistant\\nHello.<|im_end|>\\n")
    [('user', 'Hi'), ('assistant', 'Hello.')]
    >>> read_templated("<s>[INST] <<SYS>>Be kind.<</SYS>> Hi [/INST] Hello. </s>")
    [('system', 'Be kind.'), ('user', 'Hi'), ('assistant', 'Hello.')]
    """
    text = text.lstrip()
    if not BEGINS.match(text):
        return None
    if "[INST]" in text and (talk := _read_llama(text)):
        return talk
    for template in TEMPLATES:
        starts = (match.end() for pattern in (ALPACA, FIRST) if (match := pattern.match(text)))
        at = next((start for start in starts if template.header.match(text, start)), None)
        if at is not None:
            _, *pieces = template.header.split(text[at:])
            return _turns(pieces[::2], pieces[1::2], template.ends)
    return None


def without_end(text: str, ends: Sequence[str] = ENDS) -> str:
    """
    >>> without_end(" Hello.<|im_end|>\\n"), without_end("Hello.")
    ('Hello.', 'Hello.')
    """
    at = len(text)
    while True:
        while at and text[at - 1].isspace():
            at -= 1
        end = next((end for end in ends if text.endswith(end, 0, at)), None)
        if end is None:
            return text[:at].lstrip()
        at -= len(end)


def _turns(names: list[str], texts: list[str], ends: tuple[str, ...]) -> list[tuple[str, str]] | None:
    turns: list[tuple[str, str]] = []
    for name, text in zip(names, texts, strict=True):
        said = without_end(text, ends)
        if name == "Input" and turns:  # Alpaca's, behind its instruction
            role, before = turns.pop()
            turns.append((role, f"{before}\n\n{said}" if said else before))
            continue
        if name.lower() not in SPEAKERS:
            return None
        turns.append((SPEAKERS[name.lower()], said))
    return turns


def _read_llama(text: str) -> list[tuple[str, str]] | None:
    before, *pieces = text.split("[INST]")
    turns: list[tuple[str, str]] = []
    for piece in pieces:
        question, closed, reply = piece.partition("[/INST]")
        if not closed:
            return None
        question = question.strip()
        if system := LLAMA_SYSTEM.match(question):
            turns.append(("system", system[1].strip()))
            question = question[system.end() :].strip()
        turns += [("user", question), ("assistant", without_end(reply.strip().removesuffix("<s>"), ("</s>",)))]
    return turns if not FIRST.sub("", before.strip(), count=1) else None
