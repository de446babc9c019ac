"""That a model's files hold every tensor it has, in its shape: transformers itself only warns, and draws the rest."""

import copy
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from stages.base_model.numbers import check_dense, check_numbers
from stages.lib.base_model.source import choose_class, is_in_four_bits, read_described
from stages.lib.core.errors import ReprotuneError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


class Weights(NamedTuple):
    """`rows`: of the model's embeddings. `unused`: names of the files' tensors that it has no place for."""

    rows: int
    unused: list[str]


def check_weights(folder: Path, config: "PreTrainedConfig", trust_remote_code: bool) -> Weights:
    """Read no more than the files' headers for names and shapes, then each used tensor once for what is no number.

    Raises:
        ReprotuneError: a tensor is missing, has another shape, or holds NaN or infinity.
    """
    import torch

    places = find_tensors(folder)
    _raise_missing(folder, find_missing_experts(places))
    stored = make_dense(_read_shapes(places)) if is_in_four_bits(config) else _read_shapes(places)
    shapes = {name: torch.empty(shape, device="meta", dtype=torch.bfloat16) for name, shape in stored.items()}
    with _quiet():
        try:
            model_class, config = find_class(folder, config, trust_remote_code)
            if is_in_four_bits(config):
                config = copy.copy(config)
                del config.quantization_config  # of tensors without values nothing can be made dense
            model, found = model_class.from_pretrained(
                None,  # of a folder it would read the weights
                config=config,
                state_dict=shapes,
                device_map={"": "meta"},
                output_loading_info=True,
                ignore_mismatched_sizes=True,
            )
        except (OSError, ValueError, RuntimeError, TypeError, AttributeError, ImportError, KeyError, AssertionError) as error:
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            known = f"config.json names {reason}, which it does not know" if isinstance(error, KeyError) else reason
            raise ReprotuneError(f"base_model: {folder}: transformers can't build the model: {known}") from None
    _raise_missing(folder, sorted(found["missing_keys"]))
    if mismatched := sorted(found["mismatched_keys"]):
        name, stored, expected = mismatched[0]
        more = f" (and {len(mismatched) - 1:,} more)" if len(mismatched) > 1 else ""
        raise ReprotuneError(
            f"base_model: {folder}: {name} has the shape {list(stored)}, but config.json makes it {list(expected)}{more}; "
            "take config.json and weights from one model"
        )
    unused = sorted(found["unexpected_keys"])
    own = {name.removeprefix(f"{model.base_model_prefix}.") for name, _ in model.named_parameters()}
    used = {name: path for name, path in places.items() if name.removeprefix(f"{model.base_model_prefix}.") in own}
    check_dense(folder, used, unused)
    check_numbers({name: path for name, path in places.items() if name not in unused})
    return Weights(len(model.get_input_embeddings().weight), unused)


def make_dense(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    """The tensors that gpt-oss's blocks of 4 bits and their scales stand for, (experts, in, out), in their place.

    >>> make_dense({"up_blocks": [8, 96, 2, 16], "up_scales": [8, 96, 2], "up_bias": [8, 96]})
    {'up_bias': [8, 96], 'up': [8, 64, 96]}
    """
    packed = [name.removesuffix("_blocks") for name, shape in shapes.items() if name.endswith("_blocks") and len(shape) == 4]
    packed = [name for name in packed if f"{name}_scales" in shapes]
    dense = shapes.copy()
    for name in packed:
        experts, out, groups, size = dense.pop(f"{name}_blocks")
        del dense[f"{name}_scales"]
        dense[name] = [experts, groups * size * 2, out]
    return dense


def find_class(folder: Path, config: "PreTrainedConfig", trust_remote_code: bool) -> tuple[Any, "PreTrainedConfig"]:
    """What transformers' Auto class makes of the config: a model's class, and the part of the config that it takes."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    auto = choose_class(config, trust_remote_code)
    if trust_remote_code and (own := (getattr(config, "auto_map", None) or {}).get(auto.__name__)):
        return get_class_from_dynamic_module(own, folder, local_files_only=True), config
    found = auto._model_mapping[type(config)]
    model_class = found[0] if isinstance(found, tuple) else found
    of_text = config.sub_configs.get("text_config")
    return model_class, config.get_text_config() if of_text and model_class.config_class == of_text else config


def find_tensors(folder: Path) -> dict[str, Path]:
    """Each tensor's name -> the file that transformers reads it from.

    Raises:
        ReprotuneError: a shard is not there, is damaged, or lacks a tensor that the index says it has.
    """
    if (folder / WHOLE).is_file() or not (folder / INDEX).is_file():
        path = folder / WHOLE
        if not any(folder.glob("*.safetensors")):
            raise ReprotuneError(
                f"base_model: {folder} holds no safetensors weights; convert the model first (pickles are not loaded)"
            )
        if not path.is_file():
            raise ReprotuneError(
                f"base_model: {folder} holds neither {WHOLE} nor {INDEX}; save the model again (save_pretrained names them so)"
            )
        return dict.fromkeys(_names_in(path), path)
    places = {name: folder / shard for name, shard in _read_index(folder / INDEX).items()}
    for shard in sorted(set(places.values())):
        if not shard.is_file():
            raise ReprotuneError(f"base_model: {shard}: not found, but {INDEX} names it; get the model's files again")
        there = _names_in(shard)
        if missing := sorted(name for name, path in places.items() if path == shard and name not in there):
            raise ReprotuneError(
                f"base_model: {shard} lacks {name_some(missing)}, which {INDEX} says it holds; get the model's files again"
            )
    return places


def _read_index(path: Path) -> dict[str, str]:
    """Each tensor's name -> its shard's."""
    places = read_described(path).get("weight_map")
    if not isinstance(places, dict) or not places or not all(isinstance(shard, str) for shard in places.values()):
        raise ReprotuneError(f"base_model: {path}: weight_map names no tensors and their files; get the file again")
    return places


def find_missing_experts(names: Iterable[str]) -> list[str]:
    """Tensors that one expert of a layer has and another lacks, of which transformers could not make the layer's one tensor.

    >>> find_missing_experts(["0.experts.0.up", "0.experts.0.down", "0.experts.1.up"])
    ['0.experts.1.down']
    """
    layers: dict[str, dict[str, set[str]]] = {}
    for name in names:
        if found := re.fullmatch(r"(.*\.experts)\.(\d+)\.(.*)", name):
            layer, number, own = found.groups()
            layers.setdefault(layer, {}).setdefault(number, set()).add(own)
    return sorted(
        f"{layer}.{number}.{own}"
        for layer, experts in layers.items()
        for number, there in experts.items()
        for own in set().union(*experts.values()) - there
    )


def _raise_missing(folder: Path, missing: list[str]) -> None:
    if missing:
        raise ReprotuneError(
            f"base_model: {folder} lacks {name_some(missing)}, which would be drawn at random; get the model's files again, or "
            "save it again with all of its weights"
        )


def _names_in(path: Path) -> set[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except SafetensorError as error:
        raise ReprotuneError(f"base_model: {path}: damaged, or not safetensors ({error}); get the file again") from None


def _read_shapes(places: dict[str, Path]) -> dict[str, list[int]]:
    from safetensors import safe_open

    shapes: dict[str, list[int]] = {}
    for path in sorted(set(places.values())):
        with safe_open(path, framework="pt") as file:
            shapes |= {name: file.get_slice(name).get_shape() for name, place in places.items() if place == path}
    return shapes


def name_some(names: list[str]) -> str:
    """
    >>> name_some(["a"]), name_some(["a", "b", "c", "d"])
    ('a', 'a, b, c and 1 more')
    """
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers' own report of what it loads, of which this module says what matters."""
    from transformers.utils import logging

    level: Any = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
