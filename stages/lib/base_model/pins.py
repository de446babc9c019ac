"""Pins: which files with which bytes a folder in models/ holds. models/adapter.json is that of what training wrote.

The hashes in a pin vouch for the files, and dvc.lock, which git tracks, for the pin: what a remote brings never vouches for
itself. DVC does not do that: an object in its cache that is read-only counts as good unread.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import TypeVar

import yaml
from pydantic import ValidationError

from stages.lib.core.cache import LOCK, Loader
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import project_root, read_json, write_json
from stages.lib.core.params import Section

ADAPTER_PIN = Path("models/adapter.json")
LEFT_BY_SYSTEMS = ("Thumbs.db", "desktop.ini", "__pycache__")  # besides hidden files; no loader opens them


class FileHash(Section):
    """`size` in bytes."""

    size: int
    sha256: str


FileHashes = dict[str, FileHash]


class AdapterPin(Section):
    files: FileHashes


PinType = TypeVar("PinType", bound=Section)


def hash_of(path: Path, algorithm: str = "sha256") -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def hash_files(paths: Iterable[Path]) -> FileHashes:
    """By name, in order."""
    return {path.name: FileHash(size=path.stat().st_size, sha256=hash_of(path)) for path in sorted(paths)}


def write_pin(path: Path, pin: Section) -> None:
    write_json(path, pin.model_dump())
    made = _made_here(path)
    made.parent.mkdir(parents=True, exist_ok=True)
    made.touch()


def read_pin(path: Path, model: type[PinType]) -> PinType:
    """
    Raises:
        ReprotuneError: there is none, it is damaged, or neither git knows it nor was it made in this checkout.
    """
    try:
        pin = model.model_validate(read_json(path))
    except ValidationError as error:
        key, message = ".".join(map(str, error.errors()[0]["loc"])) or "its keys", error.errors()[0]["msg"]
        raise ReprotuneError(f"{path}: {key}: {message}; {how_to_fetch(path)}") from None
    except ValueError:
        raise ReprotuneError(f"{path}: not JSON, so it is damaged; {how_to_fetch(path)}") from None
    _check_origin(path)
    return pin


def check_files(folder: Path, files: FileHashes, pin: Path) -> None:
    """That the folder holds the pinned bytes, and no file besides them that a loader might take.

    Raises:
        ReprotuneError: it does not.
    """
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ReprotuneError(f"{path}: not found, but {pin} pins it; {how_to_fetch(folder)}")
        if path.stat().st_size != expected.size or hash_of(path) != expected.sha256:
            raise ReprotuneError(f"{path}: its bytes differ from those that {pin} pins; {how_to_fetch(folder)}")
    for path in sorted(folder.iterdir()):
        if path.name not in files and not path.name.startswith(".") and path.name not in LEFT_BY_SYSTEMS:
            raise ReprotuneError(f"{path}: {pin} does not pin it, so it may not be loaded; take it out of {folder}")


def how_to_fetch(path: Path) -> str:
    """What brings an out back whose copy in the cache may be damaged too.

    DVC hashes an object in its cache again only if it can be written to and its time is new.
    """
    name = quote(str(path))
    remove = f"rm {name}" if path.suffix else f"rm -r {name}"
    distrust = 'find "$(dvc cache dir)" -type f -exec chmod u+w {} + -exec touch {} +'
    return f"run `{remove}; {distrust}; dvc pull {name}` to have it checked and fetched again"


def _check_origin(path: Path) -> None:
    expected = _locked_md5(path)
    if expected in (None, hash_of(path, "md5")) or _made_here(path).exists():
        return
    raise ReprotuneError(f"{path}: not the file that {LOCK} names (md5 {expected}); {how_to_fetch(path)}")


def _locked_md5(path: Path) -> str | None:
    """Of the out, in dvc.lock; None where DVC has not recorded one."""
    if not LOCK.is_file():
        return None
    try:
        stages = yaml.load(LOCK.read_bytes(), Loader)["stages"]
        outs = [out for stage in stages.values() for out in stage.get("outs", [])]
    except (yaml.YAMLError, TypeError, KeyError, AttributeError):
        raise ReprotuneError(f"{LOCK}: damaged, or with marks of a merge; `git checkout HEAD -- {LOCK}` restores it") from None
    return next((out.get("md5") for out in outs if out["path"] == path.as_posix()), None)


def _made_here(path: Path) -> Path:
    """The mark of a pin that a stage wrote in this checkout, with DVC or without; it is outside git and every remote."""
    return project_root() / ".scratch" / "pins" / hash_of(path)
