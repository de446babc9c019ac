"""What the command was given: a file, a folder, a pattern, or several files of one folder."""

import re
import shlex
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from stages.collect.files import COMPRESSIONS
from stages.collect.paths import find_files
from stages.lib.core.errors import ReprotuneError
from tools.preview.file_kind import FileKind, tell_kind

FORMAT_OF = {".csv": "csv", ".tsv": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
MOST_LOOKED_AT = 50  # files whose kind is told


class Given(NamedTuple):
    """`path`: a file, or the folder of `files`. `pattern`: which ones of the folder, None for all. `rest`: its other files."""

    path: Path
    pattern: str | None
    files: list[Path]
    rest: list[Path]

    @property
    def is_folder(self) -> bool:
        return self.path.is_dir()


def find_given(names: Sequence[str]) -> Given:
    """
    Raises:
        ReprotuneError: there is no such file, or they are not of one folder and kind.
    """
    if len(names) > 1:
        return _listed([Path(name) for name in names])
    path = Path(names[0])
    if path.is_dir():
        return _in_folder(path)
    if not path.exists() and re.search(r"[*?[]", names[0]):
        first = next(number for number, part in enumerate(path.parts) if re.search(r"[*?[]", part))
        folder, pattern = Path(*path.parts[:first]), Path(*path.parts[first:]).as_posix()
        if not folder.is_dir():
            raise ReprotuneError(f"{path}: no such file")
        return Given(folder, pattern, find_files(str(folder), pattern, outside=True), [])
    _refuse_pipe(path)
    return Given(path, None, [path], [])


def _refuse_pipe(path: Path) -> None:
    if path.exists() and not path.is_file():
        raise ReprotuneError(f"{path}: is no file but a pipe or a device; write what it gives to a file, and name that")


def _listed(files: list[Path]) -> Given:
    for path in files:
        if not path.is_dir():
            _refuse_pipe(path)
    if absent := next((path for path in files if not path.is_file()), None):
        raise ReprotuneError(f"{absent}: {'is a folder among files' if absent.is_dir() else 'no such file'}")
    files = sorted(dict.fromkeys(files))
    folders = list(dict.fromkeys(path.parent for path in files))
    if len(files) > 1 and len(folders) == 1:
        ends = [*(f"*{''.join(path.suffixes[-2:])}" for path in files), *(f"*{path.suffix}" for path in files)]
        for pattern in (None, *dict.fromkeys(ends)):
            if find_files(str(folders[0]), pattern, outside=True) == files:
                return Given(folders[0], pattern, files, [])
    elif len(files) == 1:
        return Given(files[0], None, files, [])
    raise ReprotuneError(
        f"{files[0]} and {files[1]}: a source reads a folder, or what a pattern such as *.csv finds in it; put these files into "
        "a folder of their own, and name that"
    )


def _in_folder(folder: Path) -> Given:
    """All files of the folder; where some are of no format that can be read, those that are."""
    files = find_files(str(folder), None, outside=True)
    by_format: dict[str | None, list[Path]] = defaultdict(list)
    for path in files:
        by_format[format_of(path)].append(path)
    known = [format for format in by_format if format]
    if len(known) > 1:
        ways = " or ".join(f"`python -m tools.preview {shlex.quote(str(folder / pattern_of(by_format[one])))}`" for one in known)
        raise ReprotuneError(
            f"{folder}: holds files of several formats ({', '.join(known)}), and a source has one; look at {ways}"
        )
    if not known or len(by_format) == 1:
        return Given(folder, None, files, [])
    (format,) = known
    pattern = pattern_of(by_format[format])
    found = find_files(str(folder), pattern, outside=True)
    return Given(folder, pattern, found, [path for path in files if path not in found])


def format_of(path: Path) -> str | None:
    plain = Path(path.stem) if path.suffix.lower() in COMPRESSIONS else path
    return FORMAT_OF.get(plain.suffix.lower())


def pattern_of(files: Sequence[Path]) -> str:
    """One that finds the files, at whatever depth they lie.

    >>> pattern_of([Path("a/x.csv"), Path("a/y.csv")]), pattern_of([Path("a/x.csv"), Path("a/b/y.csv.gz")])
    ('*.csv', '**/*.csv*')
    """
    ends = {"".join(path.suffixes[-2:] if path.suffix.lower() in COMPRESSIONS else path.suffixes[-1:]) for path in files}
    shortest = min(ends, key=lambda end: (len(end), end))
    end = shortest if len(ends) == 1 else f"{shortest}*"
    return f"*{end}" if len({path.parent for path in files}) == 1 else f"**/*{end}"


def tell_kind_of_all(given: Given, format: str | None, encoding: str | None) -> FileKind:
    """The one kind that all files are of.

    Raises:
        ReprotuneError: they are of several.
    """
    first, *others = given.files[:MOST_LOOKED_AT]
    kind = tell_kind(first, format, encoding)
    for path in others:
        other = tell_kind(path, format, encoding)
        if what_a_source_says(other) != what_a_source_says(kind):
            raise ReprotuneError(
                f"{path}: {describe(other)}, while {first} is {describe(kind)}; a source has one kind: put each into a folder of "
                "its own"
            )
    return kind


def what_a_source_says(kind: FileKind) -> tuple[object, ...]:
    return kind.format, kind.encoding and kind.encoding.stated, kind.delimiter, kind.skipinitialspace


def describe(kind: FileKind) -> str:
    parts = [
        kind.format,
        kind.encoding.shown if kind.encoding else "",
        f"cells parted by {kind.delimiter!r}" if kind.delimiter else "",
    ]
    return ", ".join(filter(None, parts))
