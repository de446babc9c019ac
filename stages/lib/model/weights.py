"""The base model's weights, in memory."""

from typing import Any

from stages.lib.base_model.pin import pinned_folder, read_base_pin
from stages.lib.base_model.source import choose_class, is_in_four_bits, load_config
from stages.lib.core.errors import ReprotuneError


def load_base_model(precision: str, device: str, four_bit: bool = False) -> Any:
    """The pinned base model in `precision` ("bfloat16" or "float32") on `device`, in evaluation mode.

    `four_bit`: linear layers in 4 bits (NF4, doubly quantised, as in T. Dettmers et al., QLoRA, 2023), by bitsandbytes.

    Raises:
        ReprotuneError: 4 bits are asked for, and the files hold other ones.
    """
    import torch
    from transformers import BitsAndBytesConfig
    from transformers.utils import logging
    from transformers.utils.quantization_config import Mxfp4Config

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
    folder, trusted = pinned_folder(), read_base_pin().trust_remote_code
    config = load_config(folder, trusted, local_files_only=True)
    if is_in_four_bits(config):
        if four_bit:
            raise ReprotuneError("params.yaml: train.method: qlora can't quantise weights that are in 4 bits already; take lora")
        options["quantization_config"] = Mxfp4Config(dequantize=True)
    model: Any = choose_class(config, trusted).from_pretrained(
        folder,
        config=config,
        dtype=getattr(torch, precision),
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=trusted,
        **options,
    )
    for module in model.modules() if four_bit and device == "cpu" else ():
        # At the first validation bitsandbytes would repack the weights for inference; gradients through those are wrong.
        module.support_avx512bf16_for_cpu = False
    return model.eval() if four_bit else model.to(device).eval()
