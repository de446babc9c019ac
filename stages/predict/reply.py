"""What a model wrote after a prompt."""

from typing import NamedTuple


class Reply(NamedTuple):
    """`tokens` with the stop token, if it came. `broken`: the model's scores were no numbers."""

    tokens: list[int]
    stopped: bool
    broken: bool = False

    @property
    def ids(self) -> list[int]:
        return self.tokens[:-1] if self.stopped else self.tokens
