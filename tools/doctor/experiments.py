"""What a killed `dvc exp run` leaves behind: DVC takes it for alive, and commits on a detached HEAD get lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.doctor.finding import Finding
from tools.doctor.git import git

RUNS = Path(".dvc/tmp/exps/run")
ENDED = 3  # of DVC's TaskStatus: this and what is above it
REFS = "refs/exps/exec/"
LASTING = f"{REFS}EXEC_APPLY"  # the experiment that was applied last


def is_at_work() -> bool:
    """Whether DVC or a stage runs in this project, or in an experiment's copy of it."""
    here = Path.cwd().resolve()
    for process in psutil.process_iter(["cwd", "cmdline"]):
        folder, words = process.info["cwd"], process.info["cmdline"] or []
        name = Path(words[1]).name if len(words) > 1 else ""
        works = name == "dvc" or "celery" in " ".join(words) or any(word.startswith("stages.") for word in words)
        if folder and Path(folder).is_relative_to(here) and works:
            return True
    return False


def check_experiments() -> Iterator[Finding]:
    for info in sorted(RUNS.glob("*/*.run")):
        try:
            run = json.loads(info.read_text(encoding="utf-8"))
        except ValueError:  # it was being written
            run = {}
        if run.get("status", 0) >= ENDED:
            continue
        copy = Path(run.get("root_dir", ""))
        copies = (
            f" {copy.relative_to(Path.cwd())}" if run.get("location") == "tempdir" and copy.is_relative_to(Path.cwd()) else ""
        )
        name = run.get("name") or info.parent.name
        yield Finding(f"experiment {name}", "was killed, and counts as running", f"rm -r {info.parent}{copies}")
    for ref in git("for-each-ref", "--format=%(refname)", REFS).split():
        if ref != LASTING:
            yield Finding("git", f"{ref} is left of a killed experiment", f"git update-ref -d {ref}")


def check_head() -> Iterator[Finding]:
    if git("rev-parse", "--is-inside-work-tree") != "true" or git("symbolic-ref", "-q", "HEAD"):
        return
    branch, head = git("rev-parse", "--abbrev-ref", "@{-1}"), git("rev-parse", "HEAD")
    way = f"git switch {branch}" if branch and git("rev-parse", branch) == head else "git switch -c NEW-BRANCH"
    yield Finding("git", "HEAD is on no branch: commits that are made here get lost", way)
