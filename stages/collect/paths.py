"""Which files a source names: those that are there, inside the project."""

import os
import re
from pathlib import Path

from stages.lib.core.errors import ReprotuneError

# Where a file of the project may lead: DVC links to its cache, which a team shares outside.
DVC_CACHE = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$")


def find_files(name: str, pattern: str | None, outside: bool) -> list[Path]:
    """The source's file; where its path is a folder, the files in it, sorted: all at any depth, or those of the pattern.

    Hidden files, and those that `dvc add` writes, are none of them.

    Raises:
        ReprotuneError: there is none, or one lies outside the project and `outside` does not allow that.
    """
    folder = Path(name)
    if pattern is None and not folder.is_dir():
        return [check_path(name, outside)]
    _check_inside(folder, outside)
    if not folder.is_dir():
        raise ReprotuneError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; `files` names files in a folder")
    files = [path for path in folder.glob(pattern or "**/*") if path.is_file() and path.suffix != ".dvc"]
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    if not files:
        like = f" that {pattern!r} fits (the source's `files`)" if pattern else ""
        raise ReprotuneError(f"{folder}: no file in it{like}")
    return [check_path(str(path), outside) for path in sorted(files, key=lambda path: path.relative_to(folder).as_posix())]


def check_path(name: str, outside: bool) -> Path:
    """The source's file.

    Raises:
        ReprotuneError: it is no file, or it lies outside the project and `outside` does not allow that.
    """
    path = Path(name)
    _check_inside(path, outside)
    if not path.is_file():
        raise ReprotuneError(f"{path}: {'is a folder; name a file' if path.is_dir() else 'no such file'} (the source's `path`)")
    return path


def _check_inside(path: Path, outside: bool) -> None:
    real = os.path.realpath(path)
    leads_out = path.is_absolute() or ".." in path.parts
    if not Path(real).is_relative_to(os.path.realpath(".")) and not DVC_CACHE.search(Path(real).as_posix()):
        leads_out = True
    if leads_out and not outside:
        raise ReprotuneError(f"{path}: leads out of the project; move the file into data/raw/, or set `outside: true`")
