"""A thought that the generation prompt opens, or has closed already, while the template writes replies without it."""

import re
from typing import NamedTuple

from stages.lib.records.conversation import Message

# Opening tag -> closing tag, where the second is not the first with a slash (Command A, Gemma 4).
PAIRS = {"<|START_THINKING|>": "<|END_THINKING|>", "<|channel>thought": "<channel|>"}
NAME = r"(?:\w+:)?(?:think|thinking|thought|reasoning)[>\]]"
OPENING = re.compile("|".join([rf"(?i:[<\[]{NAME})", *map(re.escape, PAIRS)]))
CLOSING = re.compile("|".join([rf"(?i:[<\[]/{NAME})", *map(re.escape, PAIRS.values())]))


class Thought(NamedTuple):
    """At a prompt's end. `starts`: where in the prompt it may begin. `opens`, `closes`: its tags."""

    starts: list[int]
    opens: str
    closes: str
    is_closed: bool


def find_thought(prompt: str) -> Thought | None:
    text = prompt.rstrip()
    tags = list(OPENING.finditer(text))
    if tags and tags[-1].end() == len(text):
        return Thought([tags[-1].start()], tags[-1][0], closing_of(tags[-1][0]), is_closed=False)
    last = next((tag for tag in CLOSING.finditer(text) if tag.end() == len(text)), None)
    if last is None:
        return None
    same = [tag for tag in tags if closing_of(tag[0]).lower() == last[0].lower()]
    opened = [tag for tag in same if last[0] not in text[tag.end() : last.start()]][-1:]
    starts = [last.start(), *(tag.start() for tag in opened)]
    return Thought(starts, opening_of(last[0]), last[0], is_closed=True)


def closing_of(opening: str) -> str:
    """
    >>> closing_of("[THINK]"), closing_of("<|channel>thought")
    ('[/THINK]', '<channel|>')
    """
    return PAIRS.get(opening, f"{opening[0]}/{opening[1:]}")


def opening_of(closing: str) -> str:
    """
    >>> opening_of("[/THINK]"), opening_of("<channel|>")
    ('[THINK]', '<|channel>thought')
    """
    return next((opening for opening, of in PAIRS.items() if of == closing), closing.replace("/", "", 1))


def after_opened_thought(prompt: str, rendered: str, reply: Message) -> str:
    """The rendered conversation as its prompt goes on, where the prompt opens a thought that the template leaves out of replies.

    A reply without thoughts closes it at once, unless the prompt has done so (a model that is told not to think). What the
    template writes of the thought besides, such as an empty one in another spacing, is not said again; in an empty one, thoughts
    have their place (DeepSeek V3.1 writes no others).
    """
    thought = find_thought(prompt)
    if not thought:
        return rendered
    opens, closes = re.escape(thought.opens), re.escape(thought.closes)
    thoughts, is_past = reply.get("reasoning_content", ""), rendered.startswith(prompt)
    start = len(prompt) if is_past else next((start for start in thought.starts if rendered.startswith(prompt[:start])), None)
    if start is None or (is_past and thought.is_closed):
        return rendered
    rest, space = rendered[start:], prompt[len(prompt.rstrip()) :]
    if thought.is_closed:
        empty = re.match(rf"\s*(?:{opens})?\s*{closes}", rest)
        rest = rest[empty.end() :].removeprefix(space) if empty else rest
        thinks = thought.closes in (rest.partition(reply["content"])[0] if reply["content"] else rest)  # a call has none
        return rendered if thinks else prompt + rest
    own = re.match(rf"{opens}\s*", rest)
    if own and not is_past:
        rest = rest[own.end() :]
    if rest.lstrip().startswith(thought.closes):
        return f"{prompt}{thoughts}{rest}"
    if own or is_past:
        return prompt + rest
    line, lines = ("", "") if thought.opens in PAIRS else ("\n", "\n\n")
    return f"{prompt}{thoughts}{line}{thought.closes}{lines}{rest}"
