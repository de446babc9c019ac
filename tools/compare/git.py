"""What git has of this project: commits and experiments, and the files in them as they are stored."""

import re
import subprocess
from typing import NamedTuple

from stages.lib.core.errors import ReprotuneError
from tools.console import check_git

MAIN = ("origin/HEAD", "main", "master", "origin/main", "origin/master")
EXPERIMENT = re.compile(r"(?P<commit>[0-9a-f]{40}) refs/exps/(?P<first>[0-9a-f]{2})/(?P<rest>[0-9a-f]{38})/(?P<name>.+)")


class Experiment(NamedTuple):
    """`baseline`: the commit that it began at."""

    name: str
    commit: str
    baseline: str


def ask(*command: str) -> bytes | None:
    """What git answers; None where it refuses."""
    done = subprocess.run(["git", *command], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


def line(*command: str) -> str | None:
    """The same, of an answer of one line; None where it is empty."""
    return ((ask(*command) or b"").decode("utf-8", "replace").strip()) or None


def check_repository() -> None:
    check_git()
    if line("rev-parse", "--is-inside-work-tree") != "true":
        raise ReprotuneError("this folder is in no git repository; run it in the project's folder")


def experiments() -> list[Experiment]:
    """Those that DVC keeps in this repository, by name."""
    listed = (ask("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/") or b"").decode("utf-8", "replace")
    found = filter(None, map(EXPERIMENT.fullmatch, listed.splitlines()))
    return sorted(Experiment(one["name"], one["commit"], one["first"] + one["rest"]) for one in found)


def commit_of(name: str) -> str:
    """
    Raises:
        ReprotuneError: neither git nor DVC knows it, or several experiments are called so.
    """
    known = None if name.startswith("-") else line("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if known:
        return known
    named = {one.commit for one in experiments() if one.name == name}
    if len(named) == 1:
        return named.pop()
    if named:
        raise ReprotuneError(
            f"{name}: {len(named)} experiments are called so; name one by its commit: {', '.join(sorted(named))}"
        )
    raise ReprotuneError(
        f"{name}: no revision and no experiment here; expected a branch, tag, commit, experiment or `workspace` (`git fetch`?)"
    )


def merge_base() -> tuple[str, str]:
    """The last commit that HEAD has in common with the main branch, and that branch."""
    if not line("rev-parse", "--verify", "--quiet", "HEAD^{commit}"):
        raise ReprotuneError("HEAD: no commit yet, so there is nothing to compare with; commit a run first")
    for branch in MAIN:
        if line("rev-parse", "--verify", "--quiet", f"{branch}^{{commit}}"):
            if found := line("merge-base", branch, "HEAD"):
                return found, branch
            raise ReprotuneError(f"HEAD has no commit in common with {branch} (in a shallow clone: `git fetch --unshallow`)")
    raise ReprotuneError(f"no main branch ({', '.join(MAIN)}); name the revision to compare with")
