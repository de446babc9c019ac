"""General prompts, apart from anybody's data, and the base model's replies to them: what fine-tuning should not forget."""

from pathlib import Path

import orjson
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from stages.lib.core.errors import ReprotuneError, raise_first
from stages.lib.core.files import read_lines
from stages.lib.core.params import Section
from stages.lib.records.conversation import Message
from stages.lib.records.predictions import predictions_of, read_conditions


class RetentionPrompt(Section):
    id: str = Field(min_length=1)
    language: str
    prompt: str = Field(min_length=1)

    @property
    def messages(self) -> list[Message]:
        return [{"role": "user", "content": self.prompt}]


def read_prompts(path: Path) -> list[RetentionPrompt]:
    """A JSON object a line: id, language, prompt.

    Raises:
        ReprotuneError: a line is none, or its id stands twice.
    """
    prompts: dict[str, RetentionPrompt] = {}
    problems = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():  # a file without prompts holds one blank line: DVC warns of files without a byte
            continue
        try:
            prompt = RetentionPrompt.model_validate(orjson.loads(line))
        except orjson.JSONDecodeError:
            problems.append(f'{path}:{number}: not JSON; expected {{"id": "a", "language": "en", "prompt": "..."}}')
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(map(str, detail["loc"])) or "the row"
            found = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{path}:{number}: {key}: {found}; a row has id, language and prompt")
        else:
            if prompt.id in prompts:
                problems.append(f"{path}:{number}: the id {prompt.id!r} stands twice; give each prompt its own")
            prompts[prompt.id] = prompt
    raise_first(problems)
    return list(prompts.values())


def read_base_replies(decoding: str) -> dict[str, list[int]]:
    """Of each general prompt, the tokens of the base model's reply.

    Raises:
        ReprotuneError: the base model's predictions are not there, or were decoded in another way, by another engine.
    """
    path = predictions_of("base")
    if not path.is_file():
        raise ReprotuneError(f"{path}: not found; `dvc repro predict@base` makes it, `dvc pull` fetches it")
    if (found := read_conditions(path)["decoding"]) != decoding:
        raise ReprotuneError(
            f"{path}: its decoding is {found}, and here it is {decoding}; base and tuned are compared by one engine: set "
            "REPROTUNE_ENGINE as it was, or run `dvc repro --force --single-item predict@base`"
        )
    rows = pq.read_table(path, columns=["set", "id", "reply_ids"]).to_pylist()
    return {row["id"]: row["reply_ids"] for row in rows if row["set"] == "retention" and row["reply_ids"]}
