"""Every file that this revision records, against its hash: where one works, in the cache, in a remote.

DVC trusts a read-only object of the cache, and a file whose time of change it knows. Here the bytes count.
"""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from dvc.repo import Repo

from tools.doctor.finding import Finding

BLOCK = 1 << 20  # bytes


class Recorded(NamedTuple):
    """A file by its hash in dvc.lock or a .dvc file, directly or in the listing of a folder. `out`: what DVC calls it by."""

    path: Path
    md5: str
    out: str


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


def recorded_files(repo: Repo) -> Iterator[Recorded]:
    """What the cache has to hold: files, and the listings of folders; without its listing, a folder's files are not known."""
    root = Path(repo.root_dir)
    for out in repo.index.outs:
        if not out.use_cache or not out.hash_info or not out.hash_info.value:
            continue
        path = Path(out.fs_path)
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        md5 = str(out.hash_info.value)
        yield Recorded(path, md5, name)
        if md5.endswith(".dir") and md5_of_path(object_of(repo, md5)) == md5.removesuffix(".dir"):
            tree = out.get_obj()
            yield from (Recorded(path.joinpath(*key), str(hash.value), name) for key, _, hash in tree)


def object_of(repo: Repo, md5: str) -> Path:
    return Path(repo.cache.local.oid_to_path(md5))


def check_cache(repo: Repo, files: Iterable[Recorded]) -> Iterator[Finding]:
    """Where one works and in the cache. A file that is linked into the cache is read once."""
    remote = bool(repo.config["core"].get("remote"))
    fetch = "dvc pull --run-cache" if remote else "dvc repro"
    for path, md5, out in files:
        stored = object_of(repo, md5)
        in_cache = md5_of_path(stored)
        folder = md5.endswith(".dir")
        here = None if folder else in_cache if _same_file(path, stored) else md5_of_path(path)
        expected = md5.removesuffix(".dir")
        if in_cache not in (None, expected):
            back = f"dvc commit --force {out}" if here == expected else f"dvc checkout --force {out} or {fetch} {out}"
            said = f"altered: the object of {path.name} has other bytes than its hash says"
            yield Finding(str(stored), said, f"rm -f {stored}, then {back}")
        elif in_cache is None:
            back = f"dvc commit --force {out}" if here == expected else f"{fetch} {out}"
            yield Finding(out, f"{path.name} is not in the cache" + ("" if here == expected else ", nor here"), back)
        elif not folder and here != expected:
            yield Finding(
                str(path),
                "missing" if here is None else "not what the last run wrote",
                f"dvc checkout --force {out}, or to keep it, dvc repro",
            )


def _same_file(path: Path, stored: Path) -> bool:
    return path.exists() and stored.exists() and path.samefile(stored)


def check_remote(repo: Repo, name: str | None, files: Iterable[Recorded]) -> Iterator[Finding]:
    """Each object is read as a whole: as long as a pull takes."""
    remote = repo.cloud.get_remote(name)
    odb = remote.odb
    for md5, path in {md5: path for path, md5, _ in files}.items():
        stored = odb.oid_to_path(md5)
        try:
            with odb.fs.open(stored, "rb") as file:
                found = md5_of(file)
        except FileNotFoundError:
            yield Finding(f"remote {remote.name}", f"lacks {path.name}", "dvc push --run-cache")
            continue
        if found != md5.removesuffix(".dir"):
            said = f"{stored} is altered: {path.name} has other bytes than its hash says"
            again = f"delete it there, then dvc push -r {remote.name} from a checkout in which this command finds nothing"
            yield Finding(f"remote {remote.name}", said, again)
