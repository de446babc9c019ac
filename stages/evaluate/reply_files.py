"""Replies of other models, from files: a hosted model's, last year's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import orjson
from pydantic import Field, ValidationError

from stages.evaluate.floors import FLOORS
from stages.lib.core.errors import ReprotuneError, raise_first
from stages.lib.core.files import read_lines
from stages.lib.core.params import Section
from stages.lib.records.conversation import Conversation, trained_positions
from stages.lib.records.predictions import CONTENDERS

EXPECTED = '{"id": "chats/7", "reply": "..."}, and "turn" where it is not the last reply'
TAKEN = {*CONTENDERS, *FLOORS, "reference"}


class Row(Section):
    """`turn`: the position of the message in whose place it stands; None is the last one."""

    id: str = Field(min_length=1)
    turn: int | None = None
    reply: str


class OtherModel(NamedTuple):
    """`replies` by (id, turn); `foreign`: how many are to no message of test."""

    path: Path
    replies: dict[tuple[str, int], str]
    foreign: int


def read_other_models(path: Path, test: list[Conversation]) -> dict[str, OtherModel]:
    """Name -> replies, of a file, or of each file in a folder. One file with a blank line alone is no model.

    Raises:
        ReprotuneError: a file is no table of replies, or has none to a message of test.
    """
    turns = {row["id"]: trained_positions(row["messages"]) for row in test}
    if not path.exists():
        raise ReprotuneError(f"{path}: not found; evaluate.contenders names a file of replies or a folder of such files")
    if path.is_file():
        model = read_replies(path, turns)
        return {check_name(path): model} if model.replies else {}
    models = {check_name(file): read_replies(file, turns) for file in files_of(path)}
    if empty := [model.path for model in models.values() if not model.replies]:
        raise ReprotuneError(f"{empty[0]}: no reply in it; a line is {EXPECTED}")
    return models


def files_of(folder: Path) -> list[Path]:
    """
    Raises:
        ReprotuneError: in the folder is something else.
    """
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if strange := [path for path in files if path.suffix != ".jsonl" or not path.is_file()]:
        raise ReprotuneError(f"{strange[0]}: expected only .jsonl files of replies in {folder}; put it elsewhere")
    return files


def check_name(path: Path) -> str:
    if path.stem in TAKEN or not re.fullmatch(r"[\w-]+", path.stem):
        taken = ", ".join(sorted(TAKEN))
        raise ReprotuneError(f"{path}: its name is the model's; expected letters, digits, - and _, and none of {taken}")
    return path.stem


def read_replies(path: Path, turns: dict[str, list[int]]) -> OtherModel:
    """`turns`: of each test conversation, the messages that replies stand for."""
    replies: dict[tuple[str, int], str] = {}
    problems: list[str] = []
    foreign: list[str] = []
    for number, row in read_rows(path, problems):
        known = turns.get(row.id, [])
        turn = row.turn if row.turn is not None or not known else known[-1]
        if turn is None or turn not in known:
            foreign.append(row.id)
            continue
        if (row.id, turn) in replies:
            problems.append(f"{path}:{number}: a second reply to {row.id}, turn {turn}; expected one")
        replies[row.id, turn] = row.reply
    raise_first(problems)
    if foreign and not replies:
        raise ReprotuneError(
            f"{path}: none of its {len(foreign):,} replies is to a message of test; its ids are like {foreign[0]}, those of test "
            f"like {next(iter(turns), '(none)')}"
        )
    return OtherModel(path, replies, len(foreign))


def read_rows(path: Path, problems: list[str]) -> Iterator[tuple[int, Row]]:
    """Rows with their line numbers; what is wrong with the others goes to `problems`."""
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():  # DVC warns of files without a byte
            continue
        try:
            yield number, Row.model_validate(orjson.loads(line))
        except orjson.JSONDecodeError:
            problems.append(f"{path}:{number}: not JSON; expected {EXPECTED}")
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(map(str, detail["loc"])) or "the row"
            problems.append(f"{path}:{number}: {key}: {detail['msg'].removeprefix('Value error, ')}; expected {EXPECTED}")
