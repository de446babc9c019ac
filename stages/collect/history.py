"""Earlier turns that stand in a key of their own, as Alpaca's and ms-swift's `history` has them -> messages."""

from collections.abc import Sequence

from stages.collect.messages import MessageKeys, read_messages
from stages.collect.pairs import messages_of_pairs
from stages.collect.transcripts import read_transcript
from stages.collect.values import NOTHING, from_json, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message

ROLE_AND_CONTENT = (("role", "content"), ("from", "value"), ("role", "message"), ("role", "parts"))


def read_history(value: object, name: str, keys: MessageKeys) -> list[Message]:
    """
    Raises:
        ReprotuneError: what is there can't be read as turns; without them the reply would lose its context.
    """
    turns = from_json(value)
    if value != value or turns in NOTHING or (isinstance(turns, str) and not turns.strip()):  # noqa: PLR0124  NaN
        return []
    if isinstance(turns, str) and (talk := read_transcript(turns)):
        return read_messages(talk, name, keys._replace(role="role", content="content"))
    if isinstance(turns, list):
        if all(isinstance(turn, str) for turn in turns) and len(turns) % 2 == 0:
            messages = messages_of_pairs([turns[at : at + 2] for at in range(0, len(turns), 2)])
        else:
            messages = messages_of_pairs(turns)
        if messages is not None:
            return read_messages(messages, name, keys._replace(role="role", content="content"))
        if found := keys_of_messages(turns):
            return read_messages(turns, name, keys._replace(role=found[0], content=found[1]))
    raise ReprotuneError(
        f"{name} is {show(value)}; expected the earlier turns, [[question, reply], ...] or a list of messages (if it is no "
        "earlier talk, give that key another name)"
    )


def keys_of_messages(values: Sequence[object]) -> tuple[str, str] | None:
    """(key of the role, key of the content) of a list of messages in a usual format."""
    dicts = [value for value in values if isinstance(value, dict)]
    fits = [pair for pair in ROLE_AND_CONTENT if dicts and all(pair[0] in value for value in dicts)]
    fits.sort(key=lambda pair: not any(pair[1] in value for value in dicts))  # the content may be absent beside calls of tools
    return next(iter(fits), None) if len(dicts) == len(values) else None
