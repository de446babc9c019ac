"""The command to type next: with what was stated, since without it the file may not be read at all."""

import argparse
import shlex
from collections.abc import Sequence
from typing import NamedTuple

STATED = ("format", "name", "encoding", "array", "columns", "roles", "begins", "leave_out", "marks")


class Again(NamedTuple):
    """`stated`: option -> its values, of those that were stated."""

    files: list[str]
    stated: dict[str, list[str]]

    def command(self, **changed: Sequence[str]) -> str:
        """With other values, or further ones, for some options.

        >>> Again(["a b.json"], {"array": ["x"], "columns": ["user=q"]}).command(columns=["messages=m"])
        "python -m tools.preview 'a b.json' --array x --columns messages=m"
        """
        kept = {option: values for option, values in self.stated.items() if option not in changed}
        options = [(option, values) for option, values in (kept | changed).items() if values]
        parts = [part for option, values in options for part in (f"--{option.replace('_', '-')}", *values)]
        return shlex.join(["python", "-m", "tools.preview", *self.files, *parts])

    def with_more(self, option: str, *values: str) -> list[str]:
        """What was stated for an option, and more."""
        return [*self.stated.get(option, []), *values]


def again(options: argparse.Namespace) -> Again:
    values = {option: getattr(options, option) for option in STATED}
    stated = {option: [value] if isinstance(value, str) else list(value) for option, value in values.items() if value}
    return Again(options.files, stated)
