"""The base model: pinned in models/base.json, its weights in a content-addressed store outside git and DVC.

16 GB of weights are so neither copied into DVC's cache nor pushed. They are fetched when a stage needs them, from the source
that the pin names, and verified against the pin's sizes and hashes.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from stages.lib.base_model.source import WEIGHT_PATTERNS, fetch
from stages.lib.base_model.store import sha256_of, store
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json

PIN = Path("models/base.json")


def pin_files(folder: Path, trust_remote_code: bool) -> dict[str, dict[str, Any]]:
    """Name -> size in bytes and sha256 of each file that decides what the model computes."""
    patterns = [*WEIGHT_PATTERNS, *(["*.py"] if trust_remote_code else [])]
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise ReprotuneError(
            f"base_model: {folder} holds no safetensors weights; convert the model first (pickles are not loaded)"
        )
    return {path.name: {"size": path.stat().st_size, "sha256": sha256_of(path)} for path in files}


def pinned_folder() -> Path:
    """The folder with the pinned weights, fetched if need be and verified.

    Raises:
        ReprotuneError: a file differs from models/base.json.
    """
    pin = read_json(PIN)
    folder = fetch(pin["source"], pin["name"], pin["revision"], pin["trust_remote_code"])
    _verify(folder, pin["files"])
    return folder


def _verify(folder: Path, files: dict[str, dict[str, Any]]) -> None:
    """Hash what was not hashed before; a stamp in the store remembers size and time of what was."""
    stamp = store() / "verified" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    state = {}
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ReprotuneError(f"{path}: not found, but models/base.json pins it; run `dvc repro --force base_model`")
        state[name] = [expected["sha256"], path.stat().st_size, path.stat().st_mtime_ns]
    text = json.dumps(state, sort_keys=True)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == text:
        return
    for name, expected in files.items():
        if (folder / name).stat().st_size != expected["size"] or sha256_of(folder / name) != expected["sha256"]:
            raise ReprotuneError(
                f"{folder / name}: its bytes differ from models/base.json; delete {folder} to fetch it again, or, if the change "
                "is meant, run `dvc repro --force base_model`"
            )
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(text, encoding="utf-8")
