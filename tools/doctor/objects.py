"""Every file that this revision records, against its hash: where one works, in the cache, in a remote.

DVC trusts a read-only object of the cache, and a file whose time of change it knows. Here the bytes count.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from shlex import quote
from typing import IO, Any, NamedTuple

from dvc.repo import Repo

from stages.lib.core import cache
from stages.lib.core.errors import ReprotuneError
from tools.console import explain, remote_errors
from tools.doctor.finding import Finding

BLOCK = 1 << 20  # bytes


class Recorded(NamedTuple):
    """A file by its hash in dvc.lock or a .dvc file, directly or in the listing of a folder. `out`: what DVC calls it by.

    `stage`: what `dvc repro` makes it by; None for what people brought and `dvc add` recorded.
    """

    path: Path
    md5: str
    out: str
    stage: str | None

    @property
    def is_listing(self) -> bool:
        return self.md5.endswith(".dir")

    @property
    def expected(self) -> str:
        """The hash of its bytes."""
        return self.md5.removesuffix(".dir")


def md5_of(file: IO[bytes]) -> str:
    """Of an open file, in hex."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def md5_of_path(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return md5_of(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None


def md5_of_folder(path: Path) -> str | None:
    """Of the listing that DVC would make of it."""
    return cache.md5_of(path).removesuffix(".dir") if path.is_dir() else None


def recorded_files(repo: Repo) -> Iterator[Recorded]:
    """What the cache has to hold: files, and the listings of folders; without its listing, a folder's files are not known."""
    root = Path(repo.root_dir)
    for out in repo.index.outs:
        if not out.use_cache or not out.hash_info or not out.hash_info.value:
            continue
        path = Path(out.fs_path)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        stage = None if out.stage.is_data_source else str(out.stage.addressing)
        whole = Recorded(path, str(out.hash_info.value), name, stage)
        yield whole
        if whole.is_listing and md5_of_path(object_of(repo, whole.md5)) == whole.expected:
            tree = out.get_obj()
            yield from (Recorded(path.joinpath(*key), str(hash.value), name, stage) for key, _, hash in tree)


def object_of(repo: Repo, md5: str) -> Path:
    return Path(repo.cache.local.oid_to_path(md5))


def check_cache(repo: Repo, files: Iterable[Recorded]) -> Iterator[Finding]:
    """Where one works and in the cache. A file that is linked into the cache is read once."""
    remote = bool(repo.config["core"].get("remote"))
    for file in files:
        stored = object_of(repo, file.md5)
        in_cache = md5_of_path(stored)
        if file.is_listing:
            here = None if in_cache == file.expected else md5_of_folder(Path(file.out))
        else:
            here = in_cache if _same_file(file.path, stored) else md5_of_path(file.path)
        name = f"the listing of {file.path.name}" if file.is_listing else file.path.name
        if in_cache not in (None, file.expected):
            said = f"altered: the object of {name} has other bytes than its hash says"
            yield Finding(
                str(stored), said, f"rm -f {quote(str(stored))} && {bring_back(file, here, remote, same=here == in_cache)}"
            )
        elif in_cache is None:
            lost = "" if file.is_listing or here == file.expected else ", nor here"
            yield Finding(file.out, f"{name} is not in the cache{lost}", bring_back(file, here, remote))
        elif not file.is_listing and here != file.expected:
            yield Finding(str(file.path), *differing(file, here))


def bring_back(file: Recorded, here: str | None, remote: bool, same: bool = False) -> str:
    """The command that puts into the cache what it lacks. `here`: hash of the file where one works; `same`: it is the altered
    object's, which DVC believes to be the right one.

    What stands behind `#` is said to a reader: a shell passes over it.
    """
    out, path = quote(file.out), quote(str(file.path))
    if here == file.expected:
        return f"dvc commit --force {out}"
    if file.stage is None and here is not None and not same:
        return f"dvc add {out}   # records the file as it is now"
    again = f"dvc repro {quote(file.stage)}" if file.stage else f"dvc add {out}"
    if remote and file.is_listing:
        return f"dvc pull {'--force ' if file.stage else ''}--run-cache {out}   # if nobody has pushed it: {again}"
    if remote:
        return f"rm -f {path} && dvc pull --run-cache {out}   # if nobody has pushed it: {again}"
    if file.stage:
        return again
    return f"{again}   # once {path} is again what it was: no remote has it"


def differing(file: Recorded, here: str | None) -> tuple[str, str]:
    """What is said where the cache has the recorded file and the work tree has another or none."""
    out, path = quote(file.out), quote(str(file.path))
    restore = f"rm -f {path} && dvc checkout --force {out}"
    if here is None:
        return "missing", restore
    if file.stage is None:
        return "not what `dvc add` recorded", f"dvc add {out}   # or, to have the recorded one back: {restore}"
    return "not what the last run wrote", f"{restore}   # so does dvc repro, which also runs what is stale"


def _same_file(path: Path, stored: Path) -> bool:
    return path.exists() and stored.exists() and path.samefile(stored)


def check_remote(repo: Repo, name: str | None, files: Iterable[Recorded]) -> Iterator[Finding]:
    """Each object is read as a whole: as long as a pull takes.

    Raises:
        ReprotuneError: there is no such remote, or it can't be read.
    """
    if name is None and not repo.config["core"].get("remote"):
        raise ReprotuneError("no remote is set up; `python -m tools.remote add NAME URL` does it")
    try:
        remote = repo.cloud.get_remote(name)
        odb = remote.odb
        for md5, file in {file.md5: file for file in files}.items():
            stored = odb.oid_to_path(md5)
            try:
                with odb.fs.open(stored, "rb") as opened:
                    found = md5_of(opened)
            except FileNotFoundError:
                yield Finding(f"remote {remote.name}", f"lacks {file.path.name}", f"dvc push --run-cache -r {remote.name}")
                continue
            if found != file.expected:
                said = f"{stored} is altered: {file.path.name} has other bytes than its hash says"
                yield Finding(f"remote {remote.name}", said, push_again(repo, file, stored, remote))
    except remote_errors() as error:
        raise ReprotuneError(f"remote {name or 'by default'}: {explain(error)}") from None


def push_again(repo: Repo, file: Recorded, stored: str, remote: Any) -> str:
    push = f"dvc push --run-cache -r {remote.name}"
    if remote.fs.protocol != "local" or md5_of_path(object_of(repo, file.md5)) != file.expected:
        return f"delete it there, then `{push}` from a checkout in which `python -m tools.doctor` finds nothing"
    return f"rm -f {quote(stored)} && {push}"
