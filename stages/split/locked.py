"""The locked test: the one file of conversations that does not come from the stage before, and that people may have edited."""

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stages.lib.core.errors import ReprotuneError, raise_first
from stages.lib.core.files import read_lines
from stages.lib.records.conversation import Conversation, Message, conversation_line

CONVERSATION = TypeAdapter(Conversation)


def first_fault(error: ValidationError) -> str:
    """An unknown key before the one that is missing for it."""
    faults = error.errors(include_url=False)
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            allowed = Message if len(fault["loc"]) > 1 else Conversation
            return f"unknown key {'.'.join(map(str, fault['loc']))}; allowed: {', '.join(allowed.__annotations__)}"
    place = ".".join(map(str, faults[0]["loc"]))
    return f"{place}: {faults[0]['msg']}" if place else faults[0]["msg"]


def read_locked(path: Path) -> dict[str, bytes]:
    """Id -> row of the locked test, serialised as the pipeline does it.

    Raises:
        ReprotuneError: the file is missing, or rows are none of an earlier test.jsonl.
    """
    expected = "expected a copy of an earlier data/split/test.jsonl or data/cleaned.jsonl (split.locked_test; docs/migrate.md)"
    if not path.is_file():
        raise ReprotuneError(f"{path}: not found; {expected}")
    locked: dict[str, bytes] = {}
    problems = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():  # no_locked_test.jsonl is one blank line: DVC warns of files without a byte
            continue
        try:
            row = CONVERSATION.validate_json(line)
        except ValidationError as error:
            problems.append(f"{path}:{number}: {first_fault(error)}; {expected}")
        else:
            if row["id"] in locked:
                problems.append(f"{path}:{number}: {row['id']} stands twice; {expected}")
            locked[row["id"]] = conversation_line(row)
    raise_first(problems)
    return locked
