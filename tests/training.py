"""What tests of training share: params, small models with weights that matter, and likelihoods compared with their gradients."""

import random
from typing import Any

import torch
import transformers
from conftest import tiny_params

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.model.hardware import Hardware
from stages.train.methods import add_adapter
from stages.train.params import TrainParams

FLOAT32 = Hardware("cpu", "float32")
VOCABULARY = 90
WINDOW = 4  # shorter than the documents
SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip


def train_params(**changes: Any) -> TrainParams:
    return TrainParams(**tiny_params()["train"] | changes)


def with_new_adapter(model: Any, **changes: Any) -> Any:
    """An adapter of rank 2, which does nothing yet."""
    return add_adapter(model, train_params(**{"r": 2, "lora_alpha": 4} | changes))


def make_model(kind: str, sizes: dict[str, Any]) -> Any:
    """Random weights, so large that attention looks at something; biases are not 0."""
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()  # of recurrent models: what would make them faster
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **sizes))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
            elif parameter.dim() == 2 and kind != "mamba":
                parameter.mul_(5)
    return model


def make_example(length: int, seed: int) -> Example:
    choose = random.Random(seed)
    ids = [choose.randrange(3, VOCABULARY) for _ in range(length)]
    return Example(ids, [token if at > 1 and at % 3 else IGNORE_INDEX for at, token in enumerate(ids)])


EXAMPLES = [make_example(length, seed) for seed, length in enumerate((7, 21, WINDOW + 1, 12, WINDOW, 30, 2))]


def with_adapter(model: Any, dropout: float = 0.0) -> Any:
    """An adapter that already does something."""
    model = with_new_adapter(model, lora_dropout=dropout)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


def value_and_gradients(model: Any, nll: Any, examples: list[Example], hardware: Hardware = FLOAT32) -> tuple:
    model.zero_grad()
    with hardware.autocast():
        losses = nll(model, examples)
    (losses * torch.linspace(0.5, 1.5, len(losses))).sum().backward()  # so that no two labels weigh the same
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    gradients = {name: torch.zeros_like(each) if each.grad is None else each.grad.clone() for name, each in trained.items()}
    return losses.detach(), gradients


def assert_equal(found: tuple, expected: tuple, tolerance: float = 1e-5) -> None:
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[0], expected[0], atol=tolerance, rtol=tolerance)
    assert found[1].keys() == expected[1].keys()
    whole = torch.cat([gradient.flatten() for gradient in expected[1].values()]).norm()
    assert whole > 0
    for name, gradient in expected[1].items():
        assert (found[1][name] - gradient).norm() <= tolerance * max(gradient.norm(), whole / 100), name
