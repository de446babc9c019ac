"""A state of the project: a commit, an experiment or the work tree, and what git tracks in it."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pathspec import GitIgnoreSpec  # with DVC, which reads .dvcignore by it

from stages.lib.core.cache import LOCK
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import PARAMS
from tools.compare import git
from tools.compare.lock import Lock, parse_lock, read_yaml
from tools.console import ANEW

WORKSPACE = "workspace"
IGNORED = Path(".dvcignore")


class Revision(NamedTuple):
    """`commit` None: the work tree as it is."""

    name: str
    commit: str | None

    def __str__(self) -> str:
        return self.name if self.commit is None or self.commit.startswith(self.name) else f"{self.name} ({self.commit[:7]})"

    def read(self, path: Path) -> bytes | None:
        """A file that git tracks; None where there is none."""
        if self.commit is not None:
            return git.ask("cat-file", "blob", f"{self.commit}:./{path.as_posix()}")
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def files_in(self, folder: Path) -> list[Path]:
        """Those at any depth that DVC counts: not what systems, editors and merges leave, which .dvcignore names."""
        if self.commit is None:
            found = [path for path in folder.rglob("*") if path.is_file()]
        else:
            listed = git.ask("ls-tree", "-rz", "--full-tree", "--name-only", f"{self.commit}:./{folder.as_posix()}") or b""
            found = [folder / name for name in listed.decode("utf-8", "surrogateescape").split("\0") if name]
        ignored = GitIgnoreSpec.from_lines((self.read(IGNORED) or b"").decode("utf-8", "replace").splitlines())
        return sorted(path for path in found if not ignored.match_file(path))

    def read_json(self, path: Path) -> Any:
        """None where there is no such file. A number that is none, NaN or infinite, is as one that could not be computed."""
        content = self.read(path)
        try:
            return None if content is None else json.loads(content, parse_float=finite, parse_constant=finite)
        except ValueError:
            mend = "run `dvc repro` there and commit it" if self.commit else f"`git checkout HEAD -- {path}`, then `dvc repro`"
            raise ReprotuneError(f"{path} of {self}: not JSON, so it is damaged or holds marks of a merge; {mend}") from None

    def read_lock(self) -> Lock:
        content = self.read(LOCK)
        if content is None:
            raise ReprotuneError(f"{LOCK}: {self} has none, so no run of it is known; run `dvc repro` there and commit it")
        return parse_lock(content, f"{LOCK} of {self}", self._mend_lock(content))

    def _mend_lock(self, content: bytes) -> str:
        """What mends a damaged one: git may hold a whole one only where this one is not committed."""
        if self.commit is None and content != git.ask("cat-file", "blob", f"HEAD:./{LOCK}"):
            return f"`git checkout HEAD -- {LOCK} metrics` restores the last one"
        return f"name another revision, or there {ANEW}"

    def read_params(self) -> dict[str, object]:
        try:
            document = read_yaml(self.read(PARAMS) or b"")
        except (yaml.YAMLError, ValueError):  # of a text that is not UTF-8, too
            raise ReprotuneError(f"{PARAMS} of {self}: not valid YAML; mend it, or name another revision") from None
        if not isinstance(document, dict):
            raise ReprotuneError(f"{PARAMS}: {self} has none; name a revision of this project")
        return document


def finite(number: str) -> float | None:
    """
    >>> finite("1.5"), finite("NaN"), finite("-Infinity"), finite("1e999")
    (1.5, None, None, None)
    """
    return found if math.isfinite(found := float(number)) else None


def find_revision(name: str) -> Revision:
    if name == WORKSPACE:
        return Revision(name, None)
    commit = git.commit_of(name)
    return Revision(commit[:7] if name == commit else name, commit)


def find_revisions(first: str | None, second: str | None) -> tuple[Revision, Revision]:
    """The two that are meant: by default what HEAD has in common with the main branch, and the work tree."""
    git.check_repository()
    if first is None:
        commit, branch = git.merge_base()
        before = Revision(branch if commit == git.commit_of(branch) else commit[:7], commit)
    else:
        before = find_revision(first)
    return before, find_revision(second or WORKSPACE)
