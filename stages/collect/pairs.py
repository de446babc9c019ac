"""Turns that are a question with its reply each, as Firefly, XTuner and Alpaca's `history` have them -> a list of messages."""

from collections.abc import Sequence

from stages.collect.messages import is_number
from stages.collect.rows import plain_text

SIDES = (
    ("user", "assistant"), ("human", "assistant"), ("human", "gpt"), ("human", "bot"), ("user", "bot"), ("question", "answer"),
    ("query", "response"), ("instruction", "output"), ("instruction", "response"), ("prompt", "completion"),
    ("prompt", "response"), ("input", "output"), ("input", "response"), ("问题", "回答"), ("问题", "答案"), ("问", "答"),
)  # fmt: skip
MORE_OF_A_QUESTION = "input"  # Alpaca's, behind its instruction


def messages_of_pairs(turns: Sequence[object]) -> list[dict[str, object]] | None:
    """The messages, if each turn is such a pair; else None. A side may be absent: a talk that the assistant begins, say.

    What else stands in a pair, a mark or thoughts, goes to its reply; a system message of its own, before its question.

    >>> messages_of_pairs([{"human": "hi", "assistant": "hello"}])
    [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'hello'}]
    >>> messages_of_pairs([["hi", "hello"], ["bye", None]])
    [{'role': 'user', 'content': 'hi'}, {'role': 'assistant', 'content': 'hello'}, {'role': 'user', 'content': 'bye'}]
    >>> messages_of_pairs([{"role": "user", "content": "hi"}]), messages_of_pairs([])
    (None, None)
    """
    messages: list[dict[str, object]] = []
    for turn in turns:
        found = _messages_of_pair(turn)
        if found is None:
            return None
        messages += found
    return messages if turns else None


def _messages_of_pair(turn: object) -> list[dict[str, object]] | None:
    pair, beside = _sides_of(turn)
    if pair is None or not all(side is None or isinstance(side, str) or is_number(side) for side in pair):
        return None
    question, reply = ("" if side is None else plain_text(side) for side in pair)
    more = beside.pop(MORE_OF_A_QUESTION, None)
    if isinstance(more, str) and more.strip():
        question = f"{question}\n\n{more}" if question.strip() else more
    system = beside.pop("system", None)
    messages: list[dict[str, object]] = []
    if isinstance(system, str) and system.strip():
        messages.append({"role": "system", "content": system})
    if question:
        messages.append({"role": "user", "content": question})
    if reply:
        messages.append({**beside, "role": "assistant", "content": reply})
    return messages


def _sides_of(turn: object) -> tuple[tuple[object, object] | None, dict[str, object]]:
    """The question and the reply, and what stands beside them."""
    if isinstance(turn, (list, tuple)) and len(turn) == 2:
        return (turn[0], turn[1]), {}
    names = next((names for names in SIDES if all(name in turn for name in names)), None) if isinstance(turn, dict) else None
    if names is None or not isinstance(turn, dict):
        return None, {}
    return (turn[names[0]], turn[names[1]]), {key: value for key, value in turn.items() if key not in names}
