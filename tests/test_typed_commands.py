"""A command that is said to be typed works in a folder with spaces in its name: what it is given stands quoted in it."""

import ast
import re
from pathlib import Path

from conftest import REPO

# From a command that takes a path to the end of the code, of the line, or of what a shell reads.
COMMAND = re.compile(r"\b(?:rm -|rm|cp|chmod|chgrp|dvc add|dvc commit|dvc pull|dvc checkout|tools\.remote share) [^`\n#&;]*")
QUOTED = ("quote(", "shlex.quote(", "shlex.join(", "'")  # the last: a choice of words


def unquoted(text: ast.JoinedStr) -> list[str]:
    """What a command in an f-string is given as it is."""
    said, given = "", {}
    for number, part in enumerate(text.values):
        if isinstance(part, ast.FormattedValue):
            given[f"\x00{number}\x01"] = ast.unparse(part.value)
        said += f"\x00{number}\x01" if isinstance(part, ast.FormattedValue) else str(getattr(part, "value", ""))
    marks = [mark for command in COMMAND.findall(said) for mark in re.findall("\x00\\d+\x01", command)]
    return [given[mark] for mark in marks if not given[mark].startswith(QUOTED)]


def unquoted_in(path: Path) -> list[str]:
    """Of a module; a name is safe where the function around it binds it to something quoted."""
    found = []
    for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(function, ast.FunctionDef):
            continue
        bound = {
            ast.unparse(target): ast.unparse(node.value)
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
        }
        safe = {name for names, value in bound.items() if "quote(" in value for name in re.findall(r"\w+", names)}
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr):
                found += [f"{path.relative_to(REPO)}: {one}" for one in unquoted(node) if one not in safe]
    return found


def test_paths_stand_quoted_in_the_commands_that_are_to_be_typed() -> None:
    files = [path for room in ("stages", "tools") for path in (REPO / room).rglob("*.py")]
    found = [one for path in files for one in unquoted_in(path)]
    assert found == []


def test_a_path_that_stands_as_it_is_would_be_seen() -> None:
    [statement] = ast.parse('f"`rm -f {path}` and {other}"').body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.JoinedStr)
    assert unquoted(statement.value) == ["path"]
