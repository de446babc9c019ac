"""The memory estimate: its parts by hand, what autograd really keeps of a layer, and what makes it smaller or larger."""

import weakref
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import training
from peft.helpers import disable_input_dtype_casting
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from stages.lib.base_model.tokenized import IGNORE_INDEX
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.train.attention import PACKED_ATTENTION
from stages.train.likelihood import LOGITS_AT_ONCE, packed_nll
from stages.train.methods import add_adapter, checkpoint_activations, train_all
from stages.train.params import TrainParams
from stages.train.plan import Document
from stages.train.quick_layers import quicken
from tools.preflight.memory import (
    CUDA_CONTEXT,
    FOUR_BIT,
    Estimate,
    Load,
    count_activations,
    count_kept,
    count_logits,
    estimate,
    find_load,
    halve,
    is_sharded,
)
from tools.preflight.shape import describe_model
from tools.preflight.units import GIB

pytestmark = pytest.mark.usefixtures("one_thread")

SIZES: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 96, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2,
    "head_dim": 32, "pad_token_id": 0,
}  # fmt: skip
LENGTHS = (50, 40, 38)
LOAD = Load(tokens=128, labels=60, longest=50)


def config(kind: type = LlamaConfig, layers: int = 2, **changes: Any) -> Any:
    return kind(**SIZES | {"num_hidden_layers": layers, "tie_word_embeddings": True} | changes)


def train_params(**changes: Any) -> TrainParams:
    return training.train_params(**{"r": 8, "pack_length": 128} | changes)


def estimated(
    precision: str = "bfloat16",
    device: str = "cuda",
    load: Load = LOAD,
    processes: int = 1,
    sharded: bool = False,
    **changes: Any,
) -> Estimate:
    params = train_params(**changes)
    return estimate(describe_model(config(), params), params, precision, device, load, processes, sharded)


class Kept:
    """A tensor that autograd keeps, for as long as it does."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def bytes_kept(config: Any, params: TrainParams, precision: str) -> int:
    """What the forward pass of the real code leaves in autograd's graph, the model's own tensors not counted."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(getattr(torch, precision))
    if params.gradient_checkpointing:
        checkpoint_activations(model)
    if params.method == "full":
        model = train_all(model)
    else:
        model = add_adapter(model, params)
        quicken(model)
    model.set_attn_implementation(PACKED_ATTENTION)
    model.train()
    documents = [Document("row", [1] * length, [IGNORE_INDEX] * (length - 20) + [1] * 20) for length in LENGTHS]
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    seen: weakref.WeakSet[Kept] = weakref.WeakSet()

    def pack(tensor: torch.Tensor) -> Kept:
        kept = Kept(tensor)
        seen.add(kept)
        return kept

    casting = disable_input_dtype_casting(model) if precision == "bfloat16" and params.method != "full" else nullcontext()
    with casting, torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor), Hardware("cpu", precision).autocast():
        loss = packed_nll(model, documents).sum()
    storages = {kept.tensor.untyped_storage().data_ptr(): kept.tensor.untyped_storage().nbytes() for kept in seen}
    assert loss.requires_grad
    return sum(size for place, size in storages.items() if place not in own)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    "changes",
    [
        {"method": "lora"},
        {"method": "lora", "lora_dropout": 0.1},
        {"method": "lora", "target_modules": ["q_proj", "v_proj"]},
        {"method": "dora"},
        {"method": "full"},
    ],
    ids=str,
)
def test_a_layer_keeps_for_its_gradient_what_the_estimate_says(precision, changes):
    params = train_params(**changes)
    # The first layer and the head keep a little less or more: a layer is what one more of them adds.
    real = bytes_kept(config(layers=3), params, precision) - bytes_kept(config(layers=2), params, precision)
    shapes = [describe_model(config(layers=layers), params) for layers in (2, 3)]
    less, more = (count_activations(shape, params, precision, "cpu", LOAD)[0] for shape in shapes)
    assert more - less == pytest.approx(real, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Qwen2Config, Qwen3Config, MistralConfig, GemmaConfig, Phi3Config])
def test_so_does_a_layer_of_other_models(kind):
    params = train_params()
    real = bytes_kept(config(kind, 3), params, "bfloat16") - bytes_kept(config(kind, 2), params, "bfloat16")
    shapes = [describe_model(config(kind, layers), params) for layers in (2, 3)]
    less, more = (count_activations(shape, params, "bfloat16", "cpu", LOAD)[0] for shape in shapes)
    assert more - less == pytest.approx(real, rel=0.1)


def test_with_checkpointing_a_layer_keeps_its_input_alone():
    params = train_params(gradient_checkpointing=True)
    real = bytes_kept(config(layers=3), params, "float32") - bytes_kept(config(layers=2), params, "float32")
    assert real == pytest.approx(128 * 96 * 4, rel=0.03)


def test_the_parts_of_a_small_llama_by_hand():
    # Of each layer: q and o 96 x 128, k and v 96 x 64, three of 96 x 160, two norms of 96. Outside: 100 embeddings, tied, a norm.
    linears = 2 * 96 * 128 + 2 * 96 * 64 + 3 * 96 * 160
    layers, outside = 2 * (linears + 2 * 96), 100 * 96 + 96
    adapter = 2 * 8 * (2 * (96 + 128) + 2 * (96 + 64) + 3 * (96 + 160))
    found = estimated(method="lora")
    assert found.weights == 2 * (layers + outside)
    assert found.adapter == found.gradients == 4 * adapter
    assert found.optimizer == 8 * adapter
    assert (found.best_state, found.fixed) == (0, CUDA_CONTEXT)
    full = estimated(method="full")
    assert full.weights == full.gradients == 4 * (layers + outside)
    assert (full.adapter, full.optimizer) == (0, 8 * (layers + outside))
    quantised = estimated(method="qlora")
    assert quantised.weights == round(2 * linears * FOUR_BIT + 2 * (2 * 2 * 96 + outside))
    assert 0.515 < FOUR_BIT < 0.517


def test_the_activations_of_a_small_llama_by_hand():
    params = train_params()
    shape = describe_model(config(), params)
    norms = 2 * (2 * 96 + 4)  # as it came, and a root
    read = 96 + 96 + 128  # by q, k and v; by gate and up; by o, which is what attention gives
    mlp = 2 * 160  # gate and up; what down reads is computed again
    attention = 128 + 64 + 64
    assert count_kept(shape, shape.layers[0], params, "bfloat16", "cpu", LOAD) == 128 * (
        norms + 2 * read + 2 * mlp + 2 * attention + 4 * 4 + 2 * 7 * 8
    )


def test_on_a_gpu_attention_repeats_keys_and_in_float32_keeps_the_scores():
    shape = describe_model(config(), train_params())
    on_cpu, on_gpu = (count_kept(shape, shape.layers[0], train_params(), "bfloat16", each, LOAD) for each in ("cpu", "cuda"))
    assert on_gpu - on_cpu == 128 * (2 * 4 * 128 - 2 * (128 + 2 * 64))
    on_cpu, on_gpu = (count_kept(shape, shape.layers[0], train_params(), "float32", each, LOAD) for each in ("cpu", "cuda"))
    assert on_gpu - on_cpu == 128 * (4 * 4 * 50 + 4 * (128 + 64 + 64 + 128) - 4 * (128 + 2 * 64))


def test_on_weights_in_4_bits_layers_keep_what_peft_s_do():
    lora, qlora = (train_params(method=method) for method in ("lora", "qlora"))
    kept = [count_kept(shape, shape.layers[0], lora, "bfloat16", "cpu", LOAD) for shape in
            (describe_model(config(), params) for params in (lora, qlora))]  # fmt: skip
    assert kept[1] - kept[0] == 128 * 2 * 2 * 160  # the activation of the gate, and what down reads


def test_dropout_keeps_a_mask_of_bytes_on_a_gpu_and_of_the_precision_on_a_cpu():
    params = train_params(lora_dropout=0.1)
    shape = describe_model(config(), params)
    layer = shape.layers[0]._replace(read_by_each=0)
    read = 5 * 96 + 128 + 160  # by q, k, v, gate and up; by o; by down
    for device, mask in (("cpu", 2), ("cuda", 1)):
        more = count_kept(shape, shape.layers[0], params, "bfloat16", device, LOAD) - count_kept(
            shape, layer, params, "bfloat16", device, LOAD
        )
        assert more == 128 * read * (2 + mask)


def test_logits_take_no_more_than_a_piece_of_them():
    shape = describe_model(config(), train_params())._replace(vocabulary=1 << 16)
    few, many, more = (count_logits(shape, False, 2, "cuda", Load(4096, labels, 4096)) for labels in (512, 2048, 4096))
    assert few == 512 * (1 << 16) * 10 + 3 * 512 * 96 * 2
    assert many == LOGITS_AT_ONCE["cuda"] * 10 + 3 * 2048 * 96 * 2
    assert more - many == 3 * 2048 * 96 * 2


def test_a_head_that_trains_has_a_gradient_of_its_own():
    shape = describe_model(config(), train_params(method="full"))
    assert count_logits(shape, True, 4, "cpu", LOAD) - count_logits(shape, True, 4, "cpu", LOAD._replace(labels=0)) == 60 * (
        100 * 16 + 3 * 96 * 4
    )
    assert count_logits(shape, True, 4, "cpu", LOAD._replace(labels=0)) == 100 * 96 * 8


def test_qlora_takes_less_than_lora_less_than_dora_less_than_full():
    totals = [estimated(method=method).total for method in ("qlora", "lora", "dora", "full")]
    assert totals == sorted(totals)
    assert len(set(totals)) == 4


@pytest.mark.parametrize("method", ["lora", "dora", "full"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize("device", [pytest.param("cpu", marks=pytest.mark.slow), "cuda"])
def test_checkpointing_lowers_and_more_tokens_raise_the_total(method, precision, device):
    load = Load(tokens=4096, labels=400, longest=300)
    some = estimated(precision, device, load, method=method)
    assert estimated(precision, device, load, method=method, gradient_checkpointing=True).total < some.total
    assert estimated(precision, device, load._replace(tokens=8192), method=method).total > some.total
    assert estimated(precision, device, load._replace(labels=4000), method=method).total >= some.total


@pytest.mark.parametrize("changes", [{"r": 16}, {"lora_dropout": 0.1}], ids=str)
def test_a_larger_rank_and_dropout_take_more(changes):
    assert estimated(**changes).total > estimated().total


def test_dropout_without_mattering_to_full_training():
    assert estimated(method="full", lora_dropout=0.1) == estimated(method="full")


def test_the_best_state_is_kept_in_the_machine_s_memory():
    best, last = (estimated(device="cpu", keep=keep) for keep in ("best", "last"))
    assert (best.best_state, last.best_state) == (best.adapter, 0)


def test_shards_divide_what_is_in_the_layers():
    whole, shards = (estimated(method="full", processes=4, sharded=sharded) for sharded in (False, True))
    outside = 100 * 96 + 96
    assert shards.weights == (whole.weights - 4 * outside) / 4 + 4 * outside
    assert shards.optimizer == (whole.optimizer - 8 * outside) / 4 + 8 * outside
    assert shards.layer_at_work > whole.layer_at_work  # it is gathered
    assert estimated(processes=4).gradients == 2 * estimated().gradients  # they are joined to be summed


def test_layers_are_divided_where_all_trains_or_where_weights_fill_half_a_gpu(monkeypatch):
    def sharded(method: str, processes: int, memory: float) -> bool:
        params = train_params(method=method)
        return is_sharded(describe_model(config(), params), params, "bfloat16", processes, memory)

    weights = estimated().weights + estimated().adapter
    assert not sharded("full", 1, weights)
    assert sharded("full", 2, GIB)
    assert not sharded("lora", 2, 2.1 * weights)
    assert sharded("lora", 2, 1.9 * weights)
    monkeypatch.setenv("REPROTUNE_SHARD", "0")
    assert not sharded("full", 2, GIB)


def test_not_all_parts_are_there_at_the_same_time():
    parts = Estimate(
        weights=100, adapter=10, gradients=10, optimizer=20, activations=50, layer_at_work=5, logits=30, best_state=10, fixed=1
    )
    assert parts.total == 100 + 10 + 20 + 50 + 30 + 10 + 1
    assert parts._replace(gradients=90).total == 100 + 10 + 20 + 90 + 10 + 1
    assert parts._replace(layer_at_work=40).total == 100 + 10 + 20 + 50 + 40 + 10 + 1
    assert parts._replace(best_state=95).total == 100 + 10 + 20 + 95 + 95 + 1


def test_halving_ends_at_the_longest_document():
    loads = [Load(1000, 900, 300)]
    while less := halve(loads[-1]):
        loads.append(less)
    assert loads == [(1000, 900, 300), (500, 500, 300), (300, 300, 300)]


def test_a_load_is_of_the_heaviest_packs():
    assert find_load([5, 9, 7], [1, 2, 5], longest=4, packs_at_once=1) == Load(9, 5, 4)
    assert find_load([5, 9, 7], [1, 2, 5], longest=4, packs_at_once=5) == Load(21, 8, 4)


def test_a_model_that_is_no_usual_decoder_is_said_to_be_none():
    mamba = MambaConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1)
    with pytest.raises(ReprotuneError, match=r"^base_model: mamba: its memory can't be estimated: "):
        describe_model(mamba, train_params(method="full"))


def test_wrong_targets_are_an_error_before_any_weight_is_read():
    with pytest.raises(ReprotuneError, match=r"^params\.yaml: train\.target_modules: "):
        describe_model(config(), train_params(target_modules=["query"]))


@pytest.mark.slow
def test_a_model_of_seventy_billion_parameters_is_described_without_its_weights():
    large = config(
        layers=80, vocab_size=128_256, hidden_size=8192, intermediate_size=28_672, num_attention_heads=64, num_key_value_heads=8,
        head_dim=128, tie_word_embeddings=False,
    )  # fmt: skip
    shape = describe_model(large, train_params())
    assert shape.parameters == 70_553_706_496  # as Llama 3's card has it, rounded to 70.6 billion
    assert shape.outside == 2 * 128_256 * 8192 + 8192
