"""Check that the installed packages are the pinned ones: a result is cached under the pins that it was made with."""

import os
import re
from importlib import metadata
from pathlib import Path

from stages.lib.core.errors import ReprotuneError

ANY_VERSIONS = "REPROTUNE_ANY_VERSIONS"
FILE = "requirements.txt"  # of a room that imports packages; every stage depends on the one of core
PROJECT = Path(__file__).parents[3]


def check_installed(*rooms: str) -> None:
    """Compare the pins of core and of the rooms, named as in dvc.yaml, with what is installed; see `check_pins`."""
    check_pins(*(PROJECT / room / FILE for room in ("stages/lib/core", *rooms)))


def check_pins(*paths: Path) -> None:
    """Compare each `name==version` line of the files with what is installed.

    Local version labels (`2.13.0+cpu`) count as the same version. With REPROTUNE_ANY_VERSIONS=1 nothing is compared:
    for machines whose packages are given, as GPU images often are.

    Raises:
        ReprotuneError: a file is missing, or a package is absent or of another version.
    """
    differing = [line for path in paths for line in _compare(path)]
    if differing and os.environ.get(ANY_VERSIONS) != "1":
        raise ReprotuneError(
            "\n".join(differing) + "\nRun `make env`, or set "
            f"{ANY_VERSIONS}=1 to run with what is installed; results may then differ from other machines'."
        )


def installed_version(package: str) -> str:
    """Of a distribution; "absent" where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


def _compare(path: Path) -> list[str]:
    file = os.path.relpath(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ReprotuneError(f"{file}: not found; `git checkout -- {file}` restores it") from None
    differing = []
    for line in lines:
        if match := re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line):
            name, pinned = match.groups()
            installed = installed_version(name)
            if installed.split("+")[0] != pinned:
                differing.append(f"{file}: {name} {pinned} is pinned; installed: {installed}")
    return differing
