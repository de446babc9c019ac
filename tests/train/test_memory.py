"""The check before weights are read: it refuses what can't fit, and nothing that fits."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training import train_params
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.train import memory
from stages.train.memory import GIB, check_memory, find_hopeless
from stages.train.methods import add_adapter, train_all
from stages.train.params import Method

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES: dict[str, Any] = {
    "vocab_size": 500, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a base model that is pinned; its embeddings are a third of it, and tied or not."""
    LlamaForCausalLM(LlamaConfig(**SIZES, tie_word_embeddings=request.param)).save_pretrained(tmp_path)
    monkeypatch.setattr(memory, "pinned_folder", lambda: tmp_path)
    monkeypatch.setattr(memory, "read_base_pin", lambda: SimpleNamespace(trust_remote_code=False))
    return tmp_path


def bytes_held(folder: Path, method: Method, precision: str) -> int:
    """By weights, gradients and moments when the optimiser has made a step."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, precision))
    model = train_all(model) if method == "full" else add_adapter(model, train_params(method=method))
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad])
    model(input_ids=torch.arange(20)[None], labels=torch.arange(20)[None]).loss.backward()
    optimizer.step()
    tensors = [*model.parameters(), *(each.grad for each in model.parameters() if each.grad is not None)]
    tensors += [value for state in optimizer.state.values() for value in state.values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", ["lora", "dora", "full"])
def test_a_run_for_whose_weights_and_optimiser_there_is_room_is_not_refused(
    base: Path, method: Method, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bytes_held(base, method, precision)
    monkeypatch.setattr(memory, "read_total_memory", lambda _device: held)
    check_memory(method, Hardware("cpu", precision), 1)
    check_memory("qlora", Hardware("cpu", precision), 1)
    monkeypatch.setattr(memory, "read_total_memory", lambda _device: held // 2)
    check_memory(method, Hardware("cpu", precision), 2)  # each process may hold half of it, on machines of their own


@pytest.mark.parametrize(("method", "share"), [("lora", 0.5), ("full", 0.9)])
def test_a_run_whose_weights_alone_are_too_large_is_refused_in_one_line(
    base: Path, method: Method, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = bytes_held(base, method, "float32")
    monkeypatch.setattr(memory, "read_total_memory", lambda _device: int(share * held))
    with pytest.raises(ReprotuneError, match=r"^train: this machine has 0\.0 GiB of memory; training needs at least ") as error:
        check_memory(method, Hardware("cpu", "float32"), 1)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("method", "precision", "parts", "gib"),
    [
        ("lora", "bfloat16", 1, 16), ("lora", "float32", 1, 32), ("dora", "bfloat16", 1, 16), ("qlora", "bfloat16", 1, 4),
        ("full", "bfloat16", 1, 128), ("full", "bfloat16", 8, 16), ("lora", "bfloat16", 2, 8),
    ],
)  # fmt: skip
def test_the_bound_of_a_model_of_eight_gibi_parameters_by_hand(method: Method, precision: str, parts: int, gib: int) -> None:
    hardware = Hardware("cuda", precision)
    assert find_hopeless(8 * GIB, method, hardware, parts, gib * GIB) is None
    assert find_hopeless(8 * GIB, method, hardware, parts, gib * GIB - 1) == (
        f"train: the GPU has {gib:.1f} GiB of memory; training needs at least {gib:.1f} GiB (`python -m tools.preflight` says "
        "for what, and what would make it fit)"
    )


@pytest.mark.usefixtures("base")
def test_a_model_that_can_not_be_built_without_storage_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> None:
        raise NotImplementedError("Cannot copy out of meta tensor; no data!")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", refuse)
    monkeypatch.setattr(memory, "read_total_memory", lambda _device: 1)
    check_memory("full", Hardware("cpu", "float32"), 1)
