"""How much memory training takes, by part, before any weight is read: from the model's shapes, the params and the tokens at once.

What autograd keeps for each token was read off with `torch.autograd.graph.saved_tensors_hooks` on decoder layers as transformers
and peft run them here, and each term below says of what it is. tests/test_memory.py compares the sums with such a layer's;
benchmarks/preflight.py compares the total with what processes took.
"""

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from stages.lib.core.errors import ReprotuneError
from stages.train.attention import LONGEST_IN_FLOAT32
from stages.train.likelihood import LOGITS_AT_ONCE
from stages.train.methods import Method, add_adapter
from stages.train.quick_layers import is_rms_norm, looks_gated, looks_like_norm

MIB, GIB = 1 << 20, 1 << 30
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


class NotDescribed(ReprotuneError):
    """A model that is built otherwise than what the estimate knows: decoder layers with attention."""


class Layer(NamedTuple):
    """A decoder layer in numbers of parameters, and of features: values for each token."""

    parameters: int
    in_linears: int  # of the parameters, those that 4 bits hold
    trained: int  # of the adapter
    norms: int  # features that norms read
    quick_norms: int  # of them, those of norms that stages.train.quick_layers has a function for
    norm_calls: int
    read: int  # features that trained linear layers read, what several of them read counted once
    read_by_each: int  # the same, counted for each of them
    written: int  # features that trained linear layers write
    ranks: int  # of the adapter's matrices, summed
    elementwise: int  # features between the MLP's linear layers
    products: int  # features that a quick gated MLP computes again, and its last layer does not keep
    fused_attention: bool  # query, key and value come from one linear layer: the value keeps all of its output
    last_of_attention: bool  # whether it is trained, and so keeps what attention gives
    widest: int  # features of the widest tensor
    largest: int  # parameters of the largest linear layer
    largest_square: int  # features that the widest trained linear layer reads


class Shape(NamedTuple):
    """A model with what is trained of it. `parameters` counts tied ones once, the adapter not."""

    parameters: int
    outside: int  # of the parameters, those outside the decoder's layers
    adapter: int
    hidden: int
    vocabulary: int
    heads: int
    queries: int  # features of all heads
    keys: int  # features of all key heads
    head_has_bias: bool
    layers: tuple[Layer, ...]


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

    @property
    def least(self) -> float:
        """What is sure to be needed: the parts known to the byte, and three quarters of the estimated ones."""
        known = self.weights + self.adapter + self.optimizer
        return known + max(self.gradients, 0.75 * (self.activations + max(self.layer_at_work, self.logits)))


# --- The model's shape ------------------------------------------------------------------------------------------------


def describe_model(config: Any, params: Any, trust_remote_code: bool = False) -> Shape:
    """`config`: of transformers; `params`: stages.train.TrainParams. Nothing is read or allocated: tensors without storage.

    Raises:
        NotDescribed: the model is no usual decoder.
        ReprotuneError: target_modules name no layer.
    """
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
            linears = {id(module) for module in model.modules() if isinstance(module, torch.nn.Linear)}
            parameters, head = count(model), model.get_output_embeddings()
            if params.method != "full":
                model = add_adapter(
                    model, params.method, params.r, params.lora_alpha, params.lora_dropout, params.use_rslora,
                    params.target_modules, params.seed,
                )  # fmt: skip
        causal = model.get_base_model() if hasattr(model, "get_base_model") else model
        layers = next(module for module in causal.base_model.modules() if isinstance(module, torch.nn.ModuleList))
        text = config.get_text_config()
        heads = text.num_attention_heads
        size = getattr(text, "head_dim", None) or text.hidden_size // heads
        queries, keys = heads * size, (getattr(text, "num_key_value_heads", None) or heads) * size
        described = tuple(describe_layer(layer, linears, params.method, queries, keys) for layer in layers)
        sizes = text.hidden_size, text.vocab_size
    except (AttributeError, NotImplementedError, RuntimeError, StopIteration, TypeError, ValueError, ImportError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise NotDescribed(f"base_model: {config.model_type}: its memory can't be estimated: {reason}") from None
    return Shape(
        parameters=parameters,
        outside=parameters - sum(layer.parameters for layer in described),
        adapter=count(model) - parameters,
        hidden=sizes[0],
        vocabulary=sizes[1],
        heads=heads,
        queries=queries,
        keys=keys,
        head_has_bias=getattr(head, "bias", None) is not None,
        layers=described,
    )


def describe_layer(layer: Any, linears: set[int], method: Method, queries: int, keys: int) -> Layer:
    """`linears`: ids of the model's own linear layers; those in an adapter are none of them."""
    modules = dict(layer.named_modules())
    own = {name: module for name, module in modules.items() if id(module) in linears}
    trained = {
        name: module
        for name, module in own.items()
        if method == "full" or hasattr(modules[name.removesuffix(".base_layer")], "lora_A")
    }
    # Attention's first layers read the same norm's output, as do the MLP's; what their last ones read is each one's own.
    read = {(parent_of(name), module.in_features) for name, module in trained.items()}
    # A norm of each head reads all heads, though its weight has one head's features.
    norms = {
        name: {"q_norm": queries, "k_norm": keys}.get(name.rpartition(".")[2], module.weight.shape[-1])
        for name, module in modules.items()
        if "Norm" in type(module).__name__ and hasattr(module, "weight")
    }
    quick = [name for name in norms if looks_like_norm(modules[name]) and is_rms_norm(modules[name])]
    gated = [module.down_proj.in_features for module in modules.values() if method == "lora" and looks_gated(module)]
    attention = [name for name in own if "att" in name]
    mlp = [module for name, module in own.items() if name not in attention]
    inner = sum(module.out_features for module in mlp) - max((module.out_features for module in mlp[-1:]), default=0)
    adapter = [parameter for name, parameter in layer.named_parameters() if ".lora_" in name]
    return Layer(
        parameters=count(layer) - sum(parameter.numel() for parameter in adapter),
        in_linears=sum(module.weight.numel() for module in own.values()),
        trained=sum(parameter.numel() for parameter in adapter),
        norms=sum(norms.values()),
        quick_norms=sum(norms[name] for name in quick),
        norm_calls=len(norms),
        read=sum(width for _, width in read),
        read_by_each=sum(module.in_features for module in trained.values()),
        written=sum(module.out_features for module in trained.values()),
        ranks=sum(parameter.shape[0] for name, parameter in layer.named_parameters() if ".lora_A." in name),
        # gate, its activation and up; without a gate what goes into the activation alone
        elementwise=inner if gated or (len(mlp) == 2 and not is_fused(mlp)) else inner * 3 // 2,
        products=sum(gated),
        fused_attention=any(own[name].out_features == queries + 2 * keys for name in attention),
        last_of_attention=attention[-1:] != [] and attention[-1] in trained,
        widest=max((max(module.in_features, module.out_features) for module in own.values()), default=0),
        largest=max((module.weight.numel() for module in own.values()), default=0),
        largest_square=max((module.in_features for module in trained.values()), default=0),
    )


def parent_of(name: str) -> str:
    return name.removesuffix(".base_layer").rpartition(".")[0]


def is_fused(mlp: Sequence[Any]) -> bool:
    """Whether gate and up are one layer, as in Phi: it writes twice what the last one reads."""
    return mlp[0].out_features == 2 * mlp[-1].in_features


def count(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# --- The load ---------------------------------------------------------------------------------------------------------


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


# --- The estimate -----------------------------------------------------------------------------------------------------


def estimate(
    shape: Shape, params: Any, precision: str, device: str, load: Load, processes: int = 1, sharded: bool = False
) -> Estimate:
    """The peak of a run by parts; `params`: stages.train.TrainParams, `device`: "cpu" or "cuda"."""
    full = params.method == "full"
    size = 2 if precision == "bfloat16" else 4
    shards = processes if sharded else 1
    inside = sum(layer.parameters for layer in shape.layers)
    in_linears = sum(layer.in_linears for layer in shape.layers)
    adapter = shape.adapter
    # The adapter's matrices are within the layers, so they are divided too.
    trained = shape.outside + inside / shards if full else adapter / shards
    stored = 4 if full else size
    in_layers = stored * inside
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


def count_activations(shape: Shape, params: Any, precision: str, device: str, load: Load) -> tuple[float, float]:
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


def count_kept(shape: Shape, layer: Layer, params: Any, precision: str, device: str, load: Load) -> float:
    """Bytes that autograd keeps of a layer for its backward pass."""
    full, size = params.method == "full", 2 if precision == "bfloat16" else 4
    # A norm keeps its input in float32 and the root of its variance; trained, also what its weight is multiplied with. A quick
    # one keeps its input as it came.
    a_token = layer.norms * (8 if full else 4) - layer.quick_norms * (4 - size) + 4 * layer.norm_calls
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


def count_passing(shape: Shape, layer: Layer, params: Any, size: int, load: Load) -> float:
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


# --- Whether it fits --------------------------------------------------------------------------------------------------


def is_sharded(shape: Shape, params: Any, precision: str, processes: int, memory: float) -> bool:
    """As stages.train.ranks.shards_wanted decides it, for a device with so many bytes."""
    if processes == 1:
        return False
    if chosen := os.environ.get("REPROTUNE_SHARD"):
        return chosen == "1"
    alone = estimate(shape, params, precision, "cuda", Load(1, 1, 1))
    return params.method == "full" or alone.weights + alone.adapter > 0.5 * memory


def read_total_memory(device: str) -> int:
    """Bytes of the current GPU, or of this machine."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[1]
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def find_hopeless(
    config: Any, params: Any, precision: str, device: str, packs: Sequence[Sequence[int]], processes: int, memory: int
) -> str | None:
    """Why a run can't fit into so many bytes, in a sentence, or None: to be asked before weights are read.

    `packs`: the tokens of each one's documents. A model that can't be described or has code of its own is not refused.
    """
    if getattr(config, "auto_map", None):
        return None
    try:
        shape = describe_model(config, params)
    except NotDescribed:
        return None
    longest = max(max(pack) for pack in packs)
    # A GPU takes a pack in parts when it must.
    load = Load(longest if device == "cuda" else max(map(sum, packs)), 0, longest)
    sharded = device == "cuda" and is_sharded(shape, params, precision, processes, memory)
    return refuse(estimate(shape, params, precision, device, load, processes, sharded), memory, device)


def refuse(needed: Estimate, memory: int, device: str) -> str | None:
    """Why a run is hopeless, in a sentence, or None. `needed`: with no more tokens at once than there must be."""
    if needed.least <= memory:
        return None
    place = "the GPU has" if device == "cuda" else "this machine has"
    return (
        f"train: {place} {memory / GIB:.1f} GiB of memory; training needs at least {needed.least / GIB:.1f} GiB "
        "(`python -m tools.preflight` says for what, and what would make it fit)"
    )
