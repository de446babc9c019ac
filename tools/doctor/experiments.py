"""What a killed `dvc exp run` leaves behind: DVC takes it for alive, and commits on a detached HEAD get lost."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import psutil

from tools.doctor.finding import Finding
from tools.doctor.git import git

EXPERIMENTS = Path(".dvc/tmp/exps")
RECORDS = ("run/*/*.run", "standalone/run/*/*.run")
QUEUE = "dvc-task"  # the location of what `dvc queue start` runs
RUNNING, ENDED = 2, 3  # of DVC's TaskStatus; what is above has ended too
REFS = "refs/exps/exec/"
STATES = (("rebase", "rebase-merge"), ("rebase", "rebase-apply"), ("bisect", "BISECT_LOG"))  # in .git, while HEAD is on no branch
ENDS = {"rebase": "git rebase --continue   # or, to go back: git rebase --abort", "bisect": "git bisect reset"}
# What DVC leaves after a good run too: the experiment that was applied last, and what the last one began with.
LASTING = (f"{REFS}EXEC_APPLY", f"{REFS}EXEC_HEAD")


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


def name_of(run: dict[str, object], record: Path) -> str:
    return str(run.get("name") or record.parent.name)


def check_experiments() -> Iterator[Finding]:
    """One finding an experiment: DVC may have two records of it, and a copy of the project that it ran in."""
    left: dict[str, list[Path]] = {}
    queued = set()
    for record in (path for pattern in RECORDS for path in sorted(EXPERIMENTS.glob(pattern))):
        try:
            run = json.loads(record.read_text(encoding="utf-8"))
        except ValueError:  # it was being written
            run = {"status": RUNNING}
        copy = Path(run.get("root_dir", "/"))
        has_copy = copy.is_relative_to(EXPERIMENTS.resolve()) and copy.exists()
        # Where none of it is left, a record that says "preparing" is what a good run leaves.
        if run["status"] == RUNNING or (run["status"] < ENDED and has_copy):
            folders = left.setdefault(name_of(run, record), [])
            copies = [copy.relative_to(Path.cwd().resolve())] if has_copy else []
            folders += [folder for folder in (record.parent, *copies) if folder not in folders]
            if run.get("location") == QUEUE:
                queued.add(name_of(run, record))
    for name, folders in left.items():
        # The queue has a record of its own, and without this one's folder `dvc exp show` fails on it.
        leave = f"dvc queue kill {shlex.quote(name)}; dvc queue remove {shlex.quote(name)}; " if name in queued else ""
        yield Finding(f"experiment {name}", "was killed, and counts as running", f"{leave}rm -r {shlex.join(map(str, folders))}")
    for ref in git("for-each-ref", "--format=%(refname)", REFS).split():
        if ref not in LASTING:
            yield Finding("git", f"{ref} is left of a killed experiment", f"git update-ref -d {shlex.quote(ref)}")


def check_head() -> Iterator[Finding]:
    if git("rev-parse", "--is-inside-work-tree") != "true" or git("symbolic-ref", "-q", "HEAD"):
        return
    if under_way := next((name for name, state in STATES if Path(git("rev-parse", "--git-path", state)).exists()), None):
        yield Finding("git", f"a {under_way} is under way", ENDS[under_way])
        return
    branch, head = git("rev-parse", "--abbrev-ref", "@{-1}"), git("rev-parse", "HEAD")
    way = f"git switch {branch}" if branch and git("rev-parse", branch) == head else "git switch -c NEW-BRANCH"
    yield Finding("git", "HEAD is on no branch: commits that are made here get lost", way)
