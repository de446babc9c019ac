"""What cleaning a message has to know of the whole conversation: whether markup or sums are what is talked about."""

from collections.abc import Callable, Sequence
from functools import partial

from stages.clean.steps import Step
from stages.clean.wrapping import wrapped_messages
from stages.lib.personal_data.kinds import COUNTABLE
from stages.lib.personal_data.sums import LONG_NUMBER, speaks_of_sums
from stages.lib.records.conversation import Message


def in_sums(step: Step) -> Step:
    function: Callable[..., str] = step.function
    return step._replace(function=partial(function, in_sums=True))


def steps_for(messages: Sequence[Message], steps: Sequence[Step]) -> list[Sequence[Step]]:
    """The steps for each of the messages: HTML is taken out where an export put it, and long numbers in sums are no one's."""
    texts = [message["content"] for message in messages]
    said = "\n".join(texts)
    if LONG_NUMBER.search(said) and speaks_of_sums(texts):
        steps = [in_sums(step) if step.name in COUNTABLE else step for step in steps]
    as_said = [step for step in steps if step.name != "html"]
    if "<" not in said and "&" not in said:
        return [as_said] * len(messages)
    wrapped = wrapped_messages(messages)
    return [steps if number in wrapped else as_said for number in range(len(messages))]
