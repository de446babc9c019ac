"""A stage and DVC's cache: it reads no damaged file, and writes into no object of the cache.

DVC hashes neither an object of its cache that is read-only nor what it took from there, so that an object whose bytes changed
would be used, whatever its size. And where files are links into the cache, as `cache.type` may have it, writing to a file that
DVC did not take away before, as it does in `dvc repro`, would change the object.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.errors import ReprotuneError

LOCK = Path("dvc.lock")
IGNORED = Path(".dvcignore")
ALWAYS_IGNORED = (".hg/", ".git/", ".git", ".dvc/")  # by DVC
PINNED = (Path("models/adapter"), Path("models/tokenizer"))  # their files are held against pins where they are loaded
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def detach(outs: Iterable[Path]) -> None:
    """Remove the files among the outs, or in them, that are links: what they lead to stays as it is."""
    for out in outs:
        for file in [out] if out.is_symlink() or not out.is_dir() else list(out.rglob("*")):
            if file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1):
                file.unlink(missing_ok=True)


def check_inputs() -> None:
    """Where DVC runs this stage, compare what other stages wrote and it depends on with the hashes, as far as DVC keeps some.

    Raises:
        ReprotuneError: one has other bytes.
    """
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if not name or os.environ.get("RANK", "0") != "0" or not LOCK.is_file():
        return
    for path, md5, record in recorded_inputs(name):
        if path.exists() and path not in PINNED and md5_of(path) != md5:
            raise ReprotuneError(
                f"{path}: other bytes than {record} says; it is damaged, or the object in DVC's cache that it came from: "
                "`python -m tools.doctor` names what brings it back"
            )


def md5_of(path: Path) -> str:
    """As DVC records it: of a folder, that of the list of its files, but for what an editor or a system left there."""
    if path.is_dir():
        from pathspec import GitIgnoreSpec

        lines = IGNORED.read_text(encoding="utf-8").splitlines() if IGNORED.is_file() else []
        ignored = GitIgnoreSpec.from_lines([*ALWAYS_IGNORED, *lines])
        files = [file for file in path.rglob("*") if file.is_file() and not ignored.match_file(file)]
        names = {file.relative_to(path).as_posix(): file for file in files}
        listed = json.dumps([{"md5": md5_of(names[name]), "relpath": name} for name in sorted(names)])
        return hashlib.md5(listed.encode(), usedforsecurity=False).hexdigest() + ".dir"
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def recorded_inputs(stage: str) -> Iterator[tuple[Path, str, Path]]:
    """(file or folder, its md5, where that is recorded), of what the stage depended on when it last ran."""
    stages = yaml.load(LOCK.read_bytes(), Loader)["stages"]
    deps = [Path(dep["path"]) for dep in stages.get(stage, {}).get("deps", [])]
    for entry in stages.values():
        for out in entry.get("outs", []):
            path = Path(out["path"])
            if any(path == dep or dep in path.parents for dep in deps):
                yield path, str(out.get("md5")), LOCK
    for dep in deps:
        record = Path(f"{dep}.dvc")
        if record.is_file():
            [out] = yaml.load(record.read_bytes(), Loader)["outs"]
            if "md5" in out and not (dep.is_dir() and any(dep.rglob(IGNORED.name))):
                yield dep, str(out["md5"]), record
