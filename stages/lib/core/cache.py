"""A stage and DVC's cache: it reads no damaged file, and writes into no object of the cache.

DVC hashes neither an object of its cache that is read-only nor what it took from there, so that an object whose bytes changed
would be used, whatever its size. And where files are links into the cache, as `cache.type` may have it, writing to a file that
DVC did not take away before, as it does in `dvc repro`, would change the object.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.errors import ReprotuneError

LOCK = Path("dvc.lock")
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def detach(outs: Iterable[Path]) -> None:
    """Remove the files among the outs, or in them, that are links: what they lead to stays as it is."""
    for out in outs:
        for file in [out] if out.is_symlink() or not out.is_dir() else list(out.rglob("*")):
            if file.is_symlink() or (file.is_file() and file.stat().st_nlink > 1):
                file.unlink(missing_ok=True)


def check_inputs() -> None:
    """Where DVC runs this stage, compare the files that it depends on with their hashes, as far as DVC keeps some.

    Not the folders: models have pins, which are checked where they are loaded.

    Raises:
        ReprotuneError: one has other bytes.
    """
    name = os.environ.get("DVC_STAGE", "").rpartition(":")[2]
    if not name or os.environ.get("RANK", "0") != "0" or not LOCK.is_file():
        return
    for path, md5, record in recorded_inputs(name):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != md5:
            raise ReprotuneError(
                f"{path}: other bytes than {record} says; it is damaged, or the object in DVC's cache that it came from: "
                "`python -m tools.doctor` names what brings it back"
            )


def recorded_inputs(stage: str) -> Iterator[tuple[Path, str, Path]]:
    """(file, its md5, where that is recorded), of what the stage depended on when it last ran."""
    stages = yaml.load(LOCK.read_bytes(), Loader)["stages"]
    deps = [Path(dep["path"]) for dep in stages.get(stage, {}).get("deps", [])]
    for entry in stages.values():
        for out in entry.get("outs", []):
            path, md5 = Path(out["path"]), str(out.get("md5", ""))
            if not md5.endswith(".dir") and any(path == dep or dep in path.parents for dep in deps):
                yield path, md5, LOCK
    for dep in deps:
        record = Path(f"{dep}.dvc")
        if record.is_file():
            [out] = yaml.load(record.read_bytes(), Loader)["outs"]
            if not str(out.get("md5", ".dir")).endswith(".dir"):
                yield dep, str(out["md5"]), record
