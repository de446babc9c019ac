"""General prompts, apart from anybody's data: what fine-tuning should not forget."""

from pathlib import Path

import orjson
from pydantic import Field, ValidationError

from stages.lib.core.errors import raise_first
from stages.lib.core.files import read_lines
from stages.lib.core.params import Section
from stages.lib.records.conversation import Message


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
