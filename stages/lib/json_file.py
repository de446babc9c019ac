"""Small JSON files that people read and diff: indented, keys sorted, LF at the end."""

import json
from pathlib import Path
from typing import Any

from stages.lib.errors import ReprotuneError


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it") from None
