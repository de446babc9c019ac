"""That a model's tensors are its weights as numbers: neither NaN, nor what quantising leaves."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.core.errors import ReprotuneError

if TYPE_CHECKING:
    from torch import Tensor


def check_dense(folder: Path, used: dict[str, Path], unused: Iterable[str]) -> None:
    """`used`: tensors that are parameters, by their files' names.

    Raises:
        ReprotuneError: one holds whole numbers, or stands beside a scale that no layer reads: what quantising leaves.
    """
    from safetensors import safe_open

    scales = tuple(unused)
    for path in sorted(set(used.values())):
        with safe_open(path, framework="pt") as file:
            for name in sorted(name for name, place in used.items() if place == path):
                dtype = str(file.get_slice(name).get_dtype())
                scale = next((each for each in scales if each.startswith(f"{name}_scale")), None)
                if dtype.startswith(("I", "U", "BOOL")) or scale:
                    what = f"a scale beside it ({scale})" if scale else f"whole numbers ({dtype})"
                    raise ReprotuneError(
                        f"base_model: {folder} holds quantised weights, though config.json names no way: {name} has {what}; take "
                        "the model they were made from, or dequantise them first"
                    )


def check_numbers(places: dict[str, Path]) -> None:
    """
    Raises:
        ReprotuneError: a tensor holds NaN or infinity, and so would every loss.
    """
    from safetensors import safe_open

    for path in sorted(set(places.values())):
        with safe_open(path, framework="pt") as file:
            for name in sorted(name for name, place in places.items() if place == path):
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and tensor.itemsize > 1 and not is_finite(tensor):
                    raise ReprotuneError(
                        f"base_model: {path}: {name} holds values that are no numbers (NaN or infinity); get the file again, or "
                        "take the model in a precision that holds its weights"
                    )


def is_finite(tensor: "Tensor") -> bool:
    """By its extremes, which NaN takes over: a twelfth of the time that asking each number takes."""
    return not tensor.numel() or all(extreme.isfinite() for extreme in tensor.aminmax())
