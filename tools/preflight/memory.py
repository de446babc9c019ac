"""How much memory training takes, by part, before any weight is read: from the model's shapes, the params and the tokens at once.

What autograd keeps for each token was read off with `torch.autograd.graph.saved_tensors_hooks` on decoder layers as transformers
and peft run them here, and each term below says of what it is. tests/tools/test_memory.py compares the sums with such a layer's;
benchmarks/preflight.py compares the total with what processes took.
"""

import math
import os
from collections.abc import Sequence
from typing import NamedTuple

from stages.train.attention import LONGEST_IN_FLOAT32
from stages.train.likelihood import LOGITS_AT_ONCE
from stages.train.params import TrainParams
from tools.preflight.shape import Layer, Shape
from tools.preflight.units import MIB

# NF4 holds half a byte a parameter and a scale for each 64; the scales have 8 bits and for each 256 of them a float32.
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)
MOMENTS = 8  # bytes a trained parameter: AdamW's two float32 tensors
# What lies idle in the blocks of CUDA's allocator, 2 and 20 MiB large.
IDLE_ON_CUDA = 0.1
# On CPUs glibc's heap: of what a layer frees in passing a part is lost between what it keeps, about a third (chosen by runs of
# benchmarks/preflight.py), probably since a freed place is too small for the next tensor of its size. In the one run tried
# with MALLOC_MMAP_THRESHOLD_=65536 (default model, float32) nothing was lost: activations were what autograd keeps, to 1%.
LOST_ON_CPU = 1 / 3
LIBRARIES = 500 * MIB  # resident of Python, torch, transformers, peft and pyarrow once they have loaded a model, CPU builds
CUDA_CONTEXT = 512 * MIB


class Load(NamedTuple):
    """What runs at once: tokens, of them labels, and the longest document's tokens."""

    tokens: int
    labels: int
    longest: int


class Estimate(NamedTuple):
    """Bytes on one device; not all at the same time.

    Gradients come as activations go, a layer is at work or the logits are, and a better state is copied when these are gone.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    layer_at_work: int
    logits: int
    best_state: int
    fixed: int

    @property
    def total(self) -> int:
        together = max(self.activations + max(self.layer_at_work, self.logits), self.gradients, self.best_state)
        return self.weights + self.adapter + self.optimizer + self.best_state + self.fixed + together


def find_load(tokens: Sequence[int], labels: Sequence[int], longest: int, packs_at_once: int) -> Load:
    """The most that so many packs can hold, from each pack's tokens and labels.

    >>> find_load([700, 760, 90], [300, 200, 80], longest=600, packs_at_once=2)
    Load(tokens=1460, labels=500, longest=600)
    """
    return Load(sum(sorted(tokens)[-packs_at_once:]), sum(sorted(labels)[-packs_at_once:]), longest)


def count_packs_at_once(packs_per_step: int, processes: int, pack_length: int, tokens_at_once: int) -> int:
    """Of a process's share of the global batch.

    >>> count_packs_at_once(packs_per_step=32, processes=2, pack_length=2048, tokens_at_once=16_384)
    8
    """
    return max(1, min(math.ceil(packs_per_step / processes), tokens_at_once // pack_length))


def halve(load: Load) -> Load | None:
    """As stages.train.trainer does when a GPU's memory runs out; None where one document is left."""
    if load.tokens <= load.longest:
        return None
    tokens = max(load.longest, load.tokens // 2)
    return Load(tokens, min(load.labels, tokens), load.longest)


def estimate(
    shape: Shape, params: TrainParams, precision: str, device: str, load: Load, processes: int = 1, sharded: bool = False
) -> Estimate:
    """The peak of a run by parts; `device`: "cpu" or "cuda"."""
    full = params.method == "full"
    size = 2 if precision == "bfloat16" else 4
    shards = processes if sharded else 1
    inside = sum(layer.parameters for layer in shape.layers)
    in_linears = sum(layer.in_linears for layer in shape.layers)
    adapter = shape.adapter
    # The adapter's matrices are within the layers, so they are divided too.
    trained = shape.outside + inside / shards if full else adapter / shards
    stored = 4 if full else size
    in_layers: float = stored * inside
    if params.method == "qlora":
        in_layers = FOUR_BIT * in_linears + size * (inside - in_linears)
    activations, at_work = count_activations(shape, params, precision, device, load)
    if device == "cuda":
        activations, at_work = (1 + IDLE_ON_CUDA) * activations, (1 + IDLE_ON_CUDA) * at_work
    else:
        freed = [count_passing(shape, layer, params, size, load) for layer in shape.layers]
        at_work += LOST_ON_CPU * max(freed)
        activations += 0 if params.gradient_checkpointing else LOST_ON_CPU * sum(freed)
    if sharded:  # the layer at work and the next one, whole
        at_work += 2 * in_layers / len(shape.layers) + (4 * inside / len(shape.layers) if full else 0)
    # One flat tensor of all gradients, to be summed over the processes.
    gradients = 4 * trained * (2 if processes > 1 and not sharded else 1)
    copies = 0 if params.keep == "last" else 1
    return Estimate(
        weights=round(in_layers / shards + stored * shape.outside),
        adapter=round(4 * adapter / shards),
        gradients=round(gradients),
        optimizer=round(MOMENTS * trained),
        activations=round(activations),
        layer_at_work=round(at_work),
        logits=round(count_logits(shape, full, size, device, load)),
        best_state=round(4 * trained * copies) if device == "cpu" else 0,
        fixed=LIBRARIES if device == "cpu" else CUDA_CONTEXT,
    )


def count_activations(shape: Shape, params: TrainParams, precision: str, device: str, load: Load) -> tuple[float, float]:
    """Bytes kept from the forward pass until the backward pass, and bytes of the layer that is at work besides."""
    full, size = params.method == "full", 2 if precision == "bfloat16" else 4
    stream = 4 if full else size  # between the layers
    kept = [count_kept(shape, layer, params, precision, device, load) for layer in shape.layers]
    # Autocast keeps a bfloat16 copy of each float32 tensor that is trained until the forward pass ends, and so does autograd.
    trained = shape.parameters if full else shape.adapter
    copies = 2 * trained if size == 2 else 0
    norm = load.tokens * shape.hidden * (8 if full else 4)
    widest = max(layer.widest for layer in shape.layers)
    # Gradients of the widest tensors, with what they are computed from, and a weight in another layout or precision.
    at_work = load.tokens * widest * 5 * size + size * max(layer.largest for layer in shape.layers)
    if params.method == "dora":  # an identity matrix goes through the adapter; weight, product and sum
        square = max(layer.largest_square for layer in shape.layers)
        at_work += (4 + size) * square**2 + 3 * size * max(layer.largest for layer in shape.layers)
    if params.gradient_checkpointing:
        inputs = load.tokens * shape.hidden * stream * len(shape.layers)
        return copies + norm + inputs, max(kept) + at_work
    return copies + norm + sum(kept), at_work


def count_kept(shape: Shape, layer: Layer, params: TrainParams, precision: str, device: str, load: Load) -> float:
    """Bytes that autograd keeps of a layer for its backward pass."""
    full, size = params.method == "full", 2 if precision == "bfloat16" else 4
    # A norm keeps its input in float32 and the root of its variance; trained, also what its weight is multiplied with. A quick
    # one keeps its input as it came.
    a_token: float = layer.norms * (8 if full else 4) - layer.quick_norms * (4 - size) + 4 * layer.norm_calls
    if full and size == 2:
        a_token += 2 * layer.read_by_each  # cast for each layer anew
    elif params.method != "full" and params.lora_dropout:
        mask = 1 if device == "cuda" else size
        a_token += (size + mask) * layer.read_by_each
    else:
        a_token += size * (layer.read - layer.products)
    a_token += size * layer.ranks + size * layer.elementwise
    if params.method == "dora":
        a_token += 2 * size * layer.written  # the base layer's output and the adapter's, for the magnitudes
    if device == "cpu" and load.longest <= LONGEST_IN_FLOAT32:
        kept_already = layer.last_of_attention and not (full and size == 2) and (full or not params.lora_dropout)
        query = 4 if full else size  # autocast leaves the positions' factors in float32, and so what they multiply
        a_token += query * (shape.queries + shape.keys) + size * shape.keys + 4 * shape.heads
        a_token += query * shape.queries * (not kept_already)  # the result
        a_token += size * (shape.queries + shape.keys) * layer.fused_attention
    else:
        a_token += count_attention(shape, size, device, load)
    return load.tokens * a_token


def count_attention(shape: Shape, size: int, device: str, load: Load) -> float:
    """Bytes a token: query, key, value, output and the logarithm of each row's sum; by others than ShortDocuments."""
    if device == "cuda" and size == 2:  # torch's packed attention takes as many key heads as query heads
        return size * 4 * shape.queries + 4 * shape.heads
    scores = 4 * shape.heads * load.longest if device == "cuda" and shape.keys != shape.queries else 0  # no fused kernel
    return size * 2 * (shape.queries + shape.keys) + 4 * shape.heads + scores


def count_passing(shape: Shape, layer: Layer, params: TrainParams, size: int, load: Load) -> float:
    """Bytes of the tensors that a layer's parts make and free again on the way forward, the most of each part at once."""
    # The base layer's output, the adapter's and the scaled one, or one for all; with DoRA, what the float32 magnitudes were
    # multiplied with.
    outputs = size if params.method == "lora" and not params.lora_dropout else 3 * size
    linears = {"full": 0, "dora": 3 * 4}.get(params.method, outputs) * layer.written
    norms = (4 + 4 + (size if size == 2 else 0)) * layer.norms  # squares, the product, and that in the stream's precision
    return load.tokens * (linears + norms + 3 * size * (shape.queries + shape.keys))  # rotated, and both summands


def count_logits(shape: Shape, full: bool, size: int, device: str, load: Load) -> float:
    """Bytes of the pieces in which stages.train.likelihood computes the loss, and of the gradient to what the head reads."""
    logits = load.labels * shape.vocabulary
    at_once = min(logits, max(LOGITS_AT_ONCE[device], shape.vocabulary))
    hidden = load.labels * shape.hidden * size
    if not full and not shape.head_has_bias:
        # The product, if it is no float32 a float32 copy, and log-softmax.
        piece = 4 + 4 + (2 if size == 2 else 0)
        return at_once * piece + 3 * hidden
    head = shape.vocabulary * shape.hidden
    # Logits in float32, log-softmax and two gradients. The head's own gradient, once more for the sum over the pieces.
    return at_once * (16 + (2 if size == 2 else 0)) + 3 * hidden + (head * (4 + size) if full else 0)


def is_sharded(shape: Shape, params: TrainParams, precision: str, processes: int, memory: float) -> bool:
    """As stages.train.ranks.shards_wanted decides it, for a device with so many bytes."""
    if processes == 1:
        return False
    if chosen := os.environ.get("REPROTUNE_SHARD"):
        return chosen == "1"
    alone = estimate(shape, params, precision, "cuda", Load(1, 1, 1))
    return params.method == "full" or alone.weights + alone.adapter > 0.5 * memory
