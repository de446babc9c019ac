"""models/adapter/: what training adds to the base model, in peft's format."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.lib.base_model import PIN
from stages.lib.json_file import read_json, write_json

ADAPTER = Path("models/adapter")


def write_adapter(model: Any) -> None:
    """The adapter in peft's format, with the same bytes each time: sets sorted, no path, no model card."""
    model.save_pretrained(ADAPTER)
    (ADAPTER / "README.md").unlink(missing_ok=True)
    config = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    config = {key: sorted(value) if key == "target_modules" else value for key, value in config.items()}
    pin = read_json(PIN)
    base = {"base_model_name_or_path": pin["name"], "revision": pin["revision"] if pin["source"] == "hub" else None}
    write_json(ADAPTER / "adapter_config.json", config | base)


@contextmanager
def ignore_renaming() -> Iterator[None]:
    """peft 0.21 asks transformers 5.23 by a name that goes in version 6: a warning that no user can act on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def load_adapter(model: Any) -> Any:
    """The base model with the adapter on it, in evaluation mode."""
    from peft import PeftModel

    with ignore_renaming():
        return PeftModel.from_pretrained(model, ADAPTER).eval()
