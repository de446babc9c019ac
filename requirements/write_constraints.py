"""`pip freeze` on standard input -> requirements/constraints.txt: every package that no requirements file pins itself."""

import re
import sys
from pathlib import Path

HEADER = """\
# Every other package that the requirements bring, so that a new release upstream changes nothing here. Written by
# `make constraints`, in an environment made from the requirements alone.
"""
FOLDER = Path(__file__).parent
ROOMS = FOLDER.parent / "stages"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    pinned = {
        canonical(name)
        for path in (*FOLDER.glob("*.txt"), *ROOMS.rglob("requirements.txt"))
        if path.stem != "constraints"
        for name in re.findall(r"^([A-Za-z0-9._-]+)(?:\[.*\])?==", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    }
    # A build of PyTorch for CUDA brings packages of its own, which it pins itself.
    lines = [line.strip() for line in sys.stdin if "==" in line]
    others = [line for line in lines if canonical(line.partition("==")[0]) not in pinned and not line.startswith("nvidia-")]
    (FOLDER / "constraints.txt").write_text(HEADER + "\n".join(sorted(others, key=str.lower)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
