"""The file's entry under `collect.sources` in params.yaml: its name, its path, what it says, and the YAML to paste."""

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from stages.collect.files import COMPRESSIONS
from stages.collect.paths import DVC_CACHE, find_files
from stages.collect.readers import DELIMITERS
from stages.collect.rows import plain_text
from stages.collect.sources import Columns, Source
from stages.lib.collected import NAME, NAME_RULE
from stages.lib.core.errors import ReprotuneError
from tools.console import WIDTH
from tools.preview.file_kind import FileKind

RAW = Path("data/raw")
SUFFIXES = (*COMPRESSIONS, ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".txt")
YAML_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")


def make_entry(kind: FileKind, target: Path, pattern: str | None, array: str | None) -> dict[str, object]:
    """`target`: where the file, or the folder, is to lie; `pattern`: which files of the folder; `array`: which one of a document.

    Raises:
        ReprotuneError: an array is named, and the file is no document.
    """
    if array is not None and kind.format != "json":
        raise ReprotuneError(f"--array {array}: names one of a JSON document's arrays, and this is {kind.format}; leave it out")
    entry: dict[str, object] = {"format": kind.format, "path": str(target)}
    if pattern:
        entry["files"] = pattern
    if array is not None:
        entry["array"] = array
    if leads_out(target):
        entry["outside"] = True
    if kind.delimiter and kind.delimiter != DELIMITERS[kind.format]:
        entry["delimiter"] = kind.delimiter
    if kind.skipinitialspace:
        entry["skipinitialspace"] = True
    return entry | ({"encoding": kind.encoding.stated} if kind.encoding and kind.encoding.stated else {})


def check_entry(entry: dict[str, object]) -> Source:
    """The entry as the params model has it."""
    adapter: TypeAdapter[Source] = TypeAdapter(Source)
    try:
        return adapter.validate_python(entry)
    except ValidationError as error:
        raise _describe(error, error.errors()[0]["loc"][1:]) from None


def check_columns(stated: dict[str, str]) -> Columns:
    """The entry's `columns` as the params model has them."""
    try:
        return Columns.model_validate(stated)
    except ValidationError as error:
        raise _describe(error, ("columns", *error.errors()[0]["loc"])) from None


def _describe(error: ValidationError, where: Iterable[str | int]) -> ReprotuneError:
    problem = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return ReprotuneError(f"{'.'.join(map(str, where))}: {problem}")


def names_of(target: Path, sources: dict[str, object], array: str | None = None) -> list[str]:
    """The sources in params.yaml that read this file, and this array of it."""
    entries = {name: source for name, source in sources.items() if isinstance(source, dict)}
    return [name for name, one in entries.items() if (one.get("path"), one.get("array")) == (str(target), array)]


def choose_name(path: Path, target: Path, wanted: str | None, sources: dict[str, object], array: str | None = None) -> str:
    """The name that is wanted, or that the file has in params.yaml already, or a new one."""
    if wanted and wanted.lower() in map(str.lower, sources):
        raise ReprotuneError(f"--name {wanted}: is a source already; choose another one")
    if wanted is not None and not NAME.fullmatch(wanted):
        raise ReprotuneError(f"--name {wanted}: {NAME_RULE}")
    new = Path(f"{path.name.partition('.')[0]}_{array}") if array else path
    return wanted or next(iter(names_of(target, sources, array)), None) or make_name(new, sources)


def make_name(path: Path, taken: Iterable[str]) -> str:
    """A name for params.yaml from the file's.

    >>> make_name(Path("Support Chats (2024).csv.gz"), []), make_name(Path("2024.csv"), []), make_name(Path("a.tsv"), ["a"])
    ('support_chats_2024', 'source_2024', 'a_2')
    """
    stem = path.name.lower()
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "conversations"
    name = (name if name[0].isalpha() else f"source_{name}")[:90]
    taken = set(map(str.lower, taken))
    numbered, number = name, 1
    while numbered in taken:
        number += 1
        numbered = f"{name}_{number}"
    return numbered


def destination(path: Path) -> Path:
    """Where the file is to lie: where it is if that is in data/raw, else there, under a name that is free."""
    name = path.name or path.resolve().name  # of the folder "."
    folder, raw = Path(os.path.realpath(path.parent)), Path(os.path.realpath(RAW))
    if path.is_dir() and folder / name == raw:
        raise ReprotuneError(f"{path}: holds what git tracks too; put the files into a folder of their own in it, and name that")
    if folder.is_relative_to(raw):
        return RAW / folder.relative_to(raw) / name
    target, number = RAW / name, 1
    while target.exists() and not is_copy(path, target):
        stem, dot, rest = name.partition(".")
        number += 1
        target = RAW / f"{stem}_{number}{dot}{rest}"
    return target


def leads_out(target: Path) -> bool:
    """Whether it, or its folder, is a link to what lies outside the project, which the reader refuses unless told otherwise."""
    real = Path(os.path.realpath(target))
    return not real.is_relative_to(os.path.realpath(".")) and not DVC_CACHE.search(real.as_posix())


def is_copy(path: Path, target: Path) -> bool:
    """Whether it was copied already: sizes and beginnings are the same, which is enough to propose a command."""
    if path.is_dir() or target.is_dir():
        return path.is_dir() and target.is_dir() and sizes_in(path) == sizes_in(target)
    if path.stat().st_size != target.stat().st_size:
        return False
    with path.open("rb") as one, target.open("rb") as other:
        return one.read(2**20) == other.read(2**20)


def sizes_in(folder: Path) -> dict[str, int]:
    files = find_files(str(folder), None, outside=True)
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}


def yaml_entry(name: str, entry: dict[str, object]) -> list[str]:
    """The lines that go under `sources:` in params.yaml."""
    lines = [f"    {name}:"]
    for key, value in entry.items():
        if isinstance(value, dict):
            pairs = [f"{yaml_text(one)}: {yaml_value(other)}" for one, other in value.items()]
            inline = f"      {key}: {{{', '.join(pairs)}}}"
            short = len(inline) <= WIDTH and not any(sign in pair for pair in pairs for sign in '[]{},"')
            lines += [inline] if short else [f"      {key}:", *(f"        {pair}" for pair in pairs)]
        else:
            lines.append(f"      {key}: {yaml_value(value)}")
    return lines


def yaml_value(value: object) -> str:
    """
    >>> print(yaml_value(False), yaml_value("false"), yaml_value(None), yaml_value(["note", True]))
    false "false" null [note, true]
    """
    if isinstance(value, list):
        return f"[{', '.join(map(yaml_value, value))}]"
    return yaml_text(value) if isinstance(value, str) else plain_text(value)


def yaml_text(text: str) -> str:
    """A text as a YAML scalar, quoted where it could be read as something else.

    >>> print(yaml_text("question"), yaml_text("no"), yaml_text("5e-05"), yaml_text('a "b"'), yaml_text("问题"))
    question "no" "5e-05" "a \\"b\\"" 问题
    """
    if re.fullmatch(r"[^\W\d][\w./-]*( [\w./-]+)*", text) and text.lower() not in YAML_WORDS:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(letter if letter.isprintable() else f"\\U{ord(letter):08x}" for letter in escaped) + '"'
