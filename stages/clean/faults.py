"""What may be wrong with a message that reads well: a refusal, an automatic one, a loop."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from stages.clean.automatic_messages import any_boilerplate
from stages.clean.params import CleanParams, Treatment
from stages.clean.refusals import any_refusal
from stages.clean.repetition import is_repetitive
from stages.lib.records.conversation import Message, is_trained


class Fault(NamedTuple):
    """A judgement on a conversation's messages. `everyone`: on those of users too, not on the assistant's alone."""

    name: str
    is_shown_by: Callable[[Sequence[str]], bool]  # by one of the texts
    everyone: bool
    treatment: Callable[[CleanParams], Treatment]


FAULTS = (  # of several the first one is the reason
    Fault("refusal", any_refusal, False, lambda params: params.refusals),
    Fault("boilerplate", any_boilerplate, True, lambda params: params.boilerplate),
    Fault("repetition", lambda texts: any(map(is_repetitive, texts)), False, lambda params: params.repetition),
)


def find_faults(messages: list[Message], params: CleanParams) -> list[Fault]:
    """Those that the params do not say to keep, and that a message shows."""
    texts = [message["content"] for message in messages]
    replies = [message["content"] for message in messages if is_trained(message)]
    wanted = [fault for fault in FAULTS if fault.treatment(params) != "keep"]
    return [fault for fault in wanted if fault.is_shown_by(texts if fault.everyone else replies)]
