"""Earlier turns that stand in a key of their own, as Alpaca's and ms-swift's `history` has them -> messages."""

from stages.collect.messages import NOTHING, MessageKeys, read_messages
from stages.collect.transcripts import read_transcript
from stages.collect.values import from_json, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message

ROLE_AND_CONTENT = (("role", "content"), ("from", "value"), ("role", "message"), ("role", "parts"))
SIDES = (
    ("user", "assistant"), ("question", "answer"), ("query", "response"), ("instruction", "output"), ("prompt", "completion"),
)  # fmt: skip


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
        pairs = [_read_pair(turn) for turn in turns]
        if all(isinstance(turn, str) for turn in turns) and len(turns) % 2 == 0:
            pairs = [(turns[at], turns[at + 1]) for at in range(0, len(turns), 2)]
        if None not in pairs:
            sides = [(role, text) for pair in pairs if pair for role, text in zip(("user", "assistant"), pair, strict=True)]
            turns = [{"role": role, "content": text} for role, text in sides if text]
            return read_messages(turns, name, keys._replace(role="role", content="content"))
        if found := keys_of_messages(turns):
            return read_messages(turns, name, keys._replace(role=found[0], content=found[1]))
    raise ReprotuneError(
        f"{name} is {show(value)}; expected the earlier turns, [[question, reply], ...] or a list of messages (if it is no "
        "earlier talk, give that key another name)"
    )


def keys_of_messages(values: list[object]) -> tuple[str, str] | None:
    """(key of the role, key of the content) of a list of messages in a usual format."""
    dicts = [value for value in values if isinstance(value, dict)]
    fits = [pair for pair in ROLE_AND_CONTENT if dicts and all(pair[0] in value for value in dicts)]
    fits.sort(key=lambda pair: not any(pair[1] in value for value in dicts))  # the content may be absent beside calls of tools
    return next(iter(fits), None) if len(dicts) == len(values) else None


def _read_pair(turn: object) -> tuple[object, object] | None:
    """A question and its reply, where the turn is such a pair; either may be nothing."""
    sides: tuple[object, object] | None = None
    if isinstance(turn, (list, tuple)) and len(turn) == 2:
        sides = (turn[0], turn[1])
    elif isinstance(turn, dict):
        sides = next(((turn[one], turn[other]) for one, other in SIDES if one in turn and other in turn), None)
    return sides if sides and all(isinstance(side, str) or side is None for side in sides) else None
