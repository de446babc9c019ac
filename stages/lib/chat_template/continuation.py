"""A rendered conversation as its last reply's prompt goes on.

Most templates write the prompt and then the reply. Some write what is past otherwise than what comes last: they drop thoughts
once a reply follows (gpt-oss, LFM2.5), move schemas to the last question, or put a line break elsewhere. The model is asked with
the prompt, so the prompt stays, and the reply is what the conversation has after the same last message and the same header.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import product

from stages.lib.chat_template.forms import ways_to_write
from stages.lib.chat_template.rendering import specials_pattern
from stages.lib.chat_template.thoughts import after_opened_thought, find_thought
from stages.lib.records.conversation import Message


def continue_prompt(prompt: str, rendered: str, messages: Sequence[Message], specials: Iterable[str]) -> str:
    """The rendered conversation, from its prompt on; as it is where nothing in it marks the beginning of the reply.

    `messages`: of the conversation, of which the last is the reply.
    """
    reply = messages[-1]
    moved = after_opened_thought(prompt, rendered, reply)
    if moved.startswith(prompt):
        return moved
    thought = find_thought(prompt)
    ends = [len(prompt), *(thought.starts if thought else [])]
    for end, said in product(ends, ways_to_write(messages[-2]["content"].strip())):
        rest = _after_header(prompt[:end], rendered, said, specials)
        if rest is not None and (joined := after_opened_thought(prompt, prompt[:end] + rest, reply)).startswith(prompt):
            return joined
    return moved


def _after_header(prompt: str, rendered: str, said: str, specials: Iterable[str]) -> str | None:
    """What follows what was said last and the header after it, whatever space is in it; None where that is not to be found.

    Special tokens are in no text, so that a header with one stands before the reply alone.

    >>> _after_header("<|a|>hi <|b|>\\n", "<|a|>hi\\n<|b|>well", "hi", ["<|a|>", "<|b|>"])
    'well'
    """
    marks = specials_pattern(specials)
    *_, last = (0, *(mark.start() for mark in marks.finditer(prompt)))
    start = prompt.rfind(said, 0, last)  # a short text may stand in the header too
    start = start if start >= 0 else prompt.rfind(said)
    header = prompt[start + len(said) :]
    if start < 0 or not said or not header.strip():
        return None
    parts = filter(None, re.split(rf"\s+|({marks.pattern})", header))
    found = list(re.finditer(r"\s*".join(map(re.escape, [said, *parts])), rendered))
    if not found or (len(found) > 1 and not marks.search(header)):
        return None
    rest, space = rendered[found[-1].end() :], header[len(header.rstrip()) :]
    return rest.removeprefix(space) if rest.startswith(space) else rest.lstrip()
