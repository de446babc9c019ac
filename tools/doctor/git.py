"""git, asked in a sentence; without a repository it says nothing."""

import subprocess
from pathlib import Path


def git(*command: str) -> str:
    return subprocess.run(["git", *command], capture_output=True, text=True, check=False).stdout.strip()


def is_tracked(path: Path) -> bool:
    return bool(git("ls-files", "--", str(path)))
