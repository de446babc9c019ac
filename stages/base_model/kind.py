"""Whether a folder holds a model that this pipeline can train: a causal language model, whole and unquantised.

Told from its config and the names of its files, before anything is read or hashed.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib.base_model.source import FOUR_BITS, choose_class, load_config, read_described
from stages.lib.core.errors import ReprotuneError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# What the name of a class in `architectures` ends with -> what it is.
OTHER_KINDS = {
    "ForMaskedLM": "a masked language model",
    "ForPreTraining": "a masked language model",
    "ForSequenceClassification": "a classifier",
    "ForTokenClassification": "a classifier",
    "ForQuestionAnswering": "a classifier",
    "ForMultipleChoice": "a classifier",
    "ForImageClassification": "a classifier",
    "RewardModel": "a classifier",
    "ForRewardModel": "a classifier",
}
CAUSAL_WITHOUT_SAYING = ("gpt_neox", "gpt_neox_japanese")  # decoders, whatever their config's `is_decoder` is
NEVER_CAUSAL = ("xlnet", "xlm")  # they see what comes after
WITHOUT_GRADIENTS = ("reformer",)  # reversible layers, through which no gradient reaches an adapter
WAY_OUT = "choose a decoder that writes text, such as Llama, Qwen or Mistral"


def check_kind(folder: Path, trust_remote_code: bool) -> "PreTrainedConfig":
    """The config of the model in `folder`.

    Raises:
        ReprotuneError: it is none that can be trained here; which one it is, and what to take instead.
    """
    _check_adapter(folder)
    described = read_described(folder / "config.json")
    _check_quantised(folder, described)
    architecture = next(iter(described.get("architectures") or []), "")
    if kind := next((kind for end, kind in OTHER_KINDS.items() if architecture.endswith(end)), None):
        raise ReprotuneError(f"base_model: {folder} holds {kind} ({architecture}); {WAY_OUT}")
    config = load_config(folder, trust_remote_code, local_files_only=True)
    if config.is_encoder_decoder:
        raise ReprotuneError(f"base_model: {folder} holds an encoder-decoder ({architecture or config.model_type}); {WAY_OUT}")
    if not _is_causal(config):
        raise ReprotuneError(
            f"base_model: {folder} holds a model that sees the tokens it is to predict ({config.model_type}); {WAY_OUT}"
        )
    if config.model_type in WITHOUT_GRADIENTS:
        raise ReprotuneError(
            f"base_model: {folder} holds a model whose layers pass on no gradient ({config.model_type}); {WAY_OUT}"
        )
    if choose_class(config, trust_remote_code) is None:
        raise ReprotuneError(
            f"base_model: {folder} holds {architecture or config.model_type}, of which transformers makes no model that "
            f"writes text; {WAY_OUT}"
        )
    return config


def _is_causal(config: "PreTrainedConfig") -> bool:
    if config.model_type in NEVER_CAUSAL:
        return bool(getattr(config, "causal", False))
    return config.model_type in CAUSAL_WITHOUT_SAYING or getattr(config, "is_decoder", None) is not False


def _check_adapter(folder: Path) -> None:
    adapter = folder / "adapter_config.json"
    if (folder / "config.json").is_file() and not adapter.is_file():
        return
    base = read_described(adapter).get("base_model_name_or_path") if adapter.is_file() else None
    of = f" of {base}" if base else ""
    if (folder / "config.json").is_file():
        raise ReprotuneError(
            f"base_model: {folder} holds an adapter{of} beside a model; merge it into the model (peft: merge_and_unload, then "
            "save_pretrained) and name that folder, or move adapter_config.json out to train the model alone"
        )
    if adapter.is_file() or (folder / "adapter_model.safetensors").is_file():
        raise ReprotuneError(
            f"base_model: {folder} holds an adapter{of} alone; merge it into its base model (peft: merge_and_unload, then "
            "save_pretrained, the tokenizer too) and name that folder as source: path"
        )
    raise ReprotuneError(f"base_model: {folder} holds no config.json; expected a model in the Hugging Face format")


def _check_quantised(folder: Path, described: dict[str, Any]) -> None:
    for part in (described, described.get("text_config") or {}):
        if settings := part.get("quantization_config") or part.get("compression_config"):
            known = settings if isinstance(settings, dict) else {}
            method = known.get("quant_method", "in a way it does not name")
            if method == FOUR_BITS and described.get("model_type") == "gpt_oss":
                continue
            raise ReprotuneError(
                f"base_model: {folder} holds quantised weights ({method}); take the model they were made from, or dequantise "
                "them first (train.method: qlora quantises a model itself, while it loads)"
            )
