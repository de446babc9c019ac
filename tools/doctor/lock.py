"""dvc.lock that nothing can read: with marks of a merge, or damaged."""

from pathlib import Path

import yaml

from stages.lib.core.errors import ReprotuneError

LOCK = Path("dvc.lock")
MARKS_OF_A_MERGE = "<<<<<<< "
# HEAD: in the midst of a merge git knows three versions of the file, and restores none without being told which.
RESTORE = f"`git checkout HEAD -- {LOCK} metrics`, then `dvc repro` and `git add {LOCK} metrics`"


def check_lock() -> None:
    """
    Raises:
        ReprotuneError: nothing else can be looked at.
    """
    if not LOCK.exists():
        return
    text = LOCK.read_text(encoding="utf-8", errors="replace")
    if any(line.startswith(MARKS_OF_A_MERGE) for line in text.splitlines()):
        raise ReprotuneError(
            f"{LOCK} holds marks of a merge: {RESTORE}; `python -m tools.merge_lock --install` has git merge it by itself"
        )
    try:
        whole = isinstance(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), dict)
    except yaml.YAMLError:
        whole = False
    if not whole:
        raise ReprotuneError(f"{LOCK} is damaged: {RESTORE}")
