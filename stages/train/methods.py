"""What trains: adapters on the base model's linear layers (LoRA, DoRA, on 4-bit weights QLoRA), or the whole model."""

import importlib.util
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.adapter import ignore_renaming
from stages.train.params import Method, TrainParams
from stages.train.targets import find_targets

Model = PreTrainedModel | PeftModel


def check_installed_for(method: Method) -> None:
    """
    Raises:
        ReprotuneError: the method needs a package that is not installed.
    """
    if method == "qlora" and importlib.util.find_spec("bitsandbytes") is None:
        raise ReprotuneError(
            "params.yaml: train.method: qlora needs bitsandbytes; `pip install bitsandbytes==0.50.2`, or take lora"
        )


def add_adapter(model: PreTrainedModel, params: TrainParams) -> Model:
    """The model with an adapter of float32 tensors, which alone train; seeded, so that it begins the same each time.

    Raises:
        ReprotuneError: the model has no such layers.
    """
    targets = find_targets(model, params.target_modules, params.target_parameters)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=params.r,
        lora_alpha=params.lora_alpha,
        lora_dropout=params.lora_dropout,
        use_rslora=params.use_rslora,
        use_dora=params.method == "dora",
        target_modules=targets.modules,
        target_parameters=targets.parameters or None,
        fan_in_fan_out=targets.are_transposed,
    )
    torch.manual_seed(params.seed)
    try:
        with ignore_renaming():
            return get_peft_model(model, config)
    except ValueError as error:
        raise ReprotuneError(f"params.yaml: train.target_modules: {str(error).splitlines()[0]}") from None


def train_all(model: Model) -> Model:
    """The model with all weights in float32, each of them to be trained; products are in the run's precision all the same."""
    return model.float().requires_grad_(True)


def checkpoint_activations(model: Model) -> None:
    """Keep each layer's input alone and compute the layer again for its gradient."""
    # transformers 5.23 has a new name for it and warns of the old one; 5.17 has the old one only
    enable = getattr(model, "activation_checkpointing_enable", model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})


def shard(model: Any) -> None:
    """Divide the decoder's layers over all processes (FSDP2). Embeddings, last norm and head stay whole on each."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    decoder = causal.base_model
    mesh = init_device_mesh(model.device.type, (torch.distributed.get_world_size(),))
    layers = next(module for module in decoder.modules() if isinstance(module, torch.nn.ModuleList))
    for layer in layers:
        fully_shard(layer, mesh=mesh)
    inside = {id(parameter) for layer in layers for parameter in layer.parameters()}
    fully_shard(
        decoder, mesh=mesh, ignored_params={parameter for parameter in decoder.parameters() if id(parameter) not in inside}
    )
