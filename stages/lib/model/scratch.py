"""Where a stage keeps what a killed run had done: .scratch/<stage>/<fingerprint>/ under the main checkout.

The fingerprint covers everything that decides the result: params, data, code, packages and hardware. So a run with another
param starts afresh, and one that was killed continues as if nothing had been.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import AcquireReturnProxy, FileLock, Timeout

from stages.lib.core.files import project_root

OTHERS_KEPT = 2  # folders of other runs: going back to a param that was tried continues it


def code_files(room: Path) -> list[Path]:
    """All of a stage's room, and of stages/lib what is loaded. The room by its folder: its own module is called `__main__`."""
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("stages.lib.")}
    library = {Path(file) for file in loaded.values() if file}
    return sorted({*room.rglob("*.py"), *library})


def take_fingerprint(room: Path, decisive: object, files: Iterable[Path]) -> str:
    """Of JSON values, of files by path and content, and of the code."""
    taken = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode())
    named = [(path.as_posix(), path) for path in sorted(files)]
    named += [(path.relative_to(room.parent).as_posix(), path) for path in code_files(room)]
    for name, path in named:
        with path.open("rb") as file:
            taken.update(f"{name}\n{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return taken.hexdigest()[:16]


def hold(path: Path, stage: str) -> AcquireReturnProxy:
    """Lock a file until the end of the `with` or of this process, however it ends; wait for who holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        return lock.acquire(blocking=False)
    except Timeout:
        print(f"{stage}: another run is at work here ({path}); waiting for its end", file=sys.stderr, flush=True)
        return lock.acquire()


def folder_of(stage: str, fingerprint: str) -> Path:
    return project_root() / ".scratch" / stage / fingerprint


@contextmanager
def hold_folder(stage: str, fingerprint: str) -> Iterator[Path]:
    """The run's folder, for this run alone: no two runs of a stage work in one checkout, nor on one fingerprint.

    The folder stays after an error or a kill and goes after success; of other runs' folders the newest OTHERS_KEPT stay.
    """
    folder = folder_of(stage, fingerprint)
    with hold(Path(".scratch") / f"{stage}.lock", stage), hold(folder.with_suffix(".lock"), stage):
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
        prune(folder)
        yield folder
        shutil.rmtree(folder)


def prune(current: Path) -> None:
    """Remove what older runs left, but for the newest ones and those at work."""
    others = [path for path in current.parent.iterdir() if path.is_dir() and path != current]
    for path in sorted(others, key=lambda path: path.stat().st_mtime)[: -OTHERS_KEPT or None]:
        lock = path.with_suffix(".lock")
        with contextlib.suppress(Timeout), FileLock(lock, blocking=False):
            shutil.rmtree(path)
            lock.unlink()
