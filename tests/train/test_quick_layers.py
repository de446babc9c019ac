"""The quick layers are the model's own: values and gradients; and what is not like them keeps its own way."""

import copy
from typing import Any

import pytest
import torch
from training import EXAMPLES, FLOAT32, SIZES, assert_equal, make_model, value_and_gradients, with_new_adapter
from transformers.models.bamba.modeling_bamba import BambaRMSNormGated

from stages.lib.model.hardware import Hardware
from stages.train.comparison import choose_nll
from stages.train.likelihood import packed_nll, separate_nll
from stages.train.methods import checkpoint_activations
from stages.train.quick_layers import is_gated, looks_like_norm, quicken

pytestmark = pytest.mark.usefixtures("one_thread")

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
MODELS = {
    "llama": SIZES,
    "mistral": SIZES,
    "qwen2": SIZES,  # with biases
    "qwen3": SIZES,  # norms of each head
    "gemma3_text": SIZES,  # norms of another formula, MLPs with another activation
    "phi3": SIZES,  # gate and up are one layer
    "gpt_neox": SIZES,  # LayerNorm, an MLP without a gate
    "olmo": SIZES | {"clip_qkv": 0.5},  # changes what linear layers return, in place
}


def both_ways(kind: str, precision: str = "float32", checkpointing: bool = False, **changes: Any) -> tuple[Any, Any]:
    """A model with an adapter that does something, as peft computes it and with quick layers."""
    model = make_model(kind, MODELS[kind]).to(getattr(torch, precision))
    if checkpointing:
        checkpoint_activations(model)
    own = with_new_adapter(model, **{"lora_alpha": 6} | changes)
    quick = copy.deepcopy(own)
    quicken(quick)
    torch.manual_seed(1)
    adapters = zip(own.named_parameters(), quick.parameters(), strict=True)
    with torch.no_grad():
        for (name, parameter), other in adapters:
            if "lora_B" in name:
                other.copy_(parameter.normal_(std=0.1))
    return own.train(), quick.train()


def quickened(model: Any) -> set[str]:
    """The last names of the modules that have another forward function."""
    return {name.rpartition(".")[2] for name, module in model.named_modules() if "forward" in vars(module)}


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("kind", MODELS)
def test_values_and_gradients_are_those_of_the_model_s_own_layers(kind, checkpointing):
    own, quick = both_ways(kind, checkpointing=checkpointing)
    expected = value_and_gradients(own, separate_nll, EXAMPLES)
    assert_equal(value_and_gradients(quick, separate_nll, EXAMPLES), expected)
    assert choose_nll(quick, EXAMPLES, FLOAT32) is packed_nll
    assert_equal(value_and_gradients(quick, packed_nll, EXAMPLES), expected)


@pytest.mark.parametrize("kind", ["llama", "gemma3_text"])
def test_in_bfloat16_they_are_so_but_for_rounding_no_worse_than_the_model_s_own(kind):
    hardware = Hardware("cpu", "bfloat16")
    own, quick = both_ways(kind, "bfloat16")
    exact, _ = both_ways(kind)
    with torch.no_grad():
        for parameter, rounded in zip(exact.parameters(), own.parameters(), strict=True):
            parameter.copy_(rounded)
    expected = value_and_gradients(exact, separate_nll, EXAMPLES)
    own_error, quick_error = (
        sum((gradient - expected[1][name]).square().sum() for name, gradient in found[1].items()).sqrt()
        for found in (value_and_gradients(model, separate_nll, EXAMPLES, hardware) for model in (own, quick))
    )
    whole = sum(gradient.square().sum() for gradient in expected[1].values()).sqrt()
    assert quick_error < 0.2 * whole
    assert quick_error < 1.5 * own_error


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("llama", {*LINEAR, "mlp", "norm", "input_layernorm", "post_attention_layernorm"}),
        ("qwen3", {*LINEAR, "mlp", "norm", "input_layernorm", "post_attention_layernorm", "q_norm", "k_norm"}),
        ("gemma3_text", {*LINEAR, "mlp"}),
        ("gpt_neox", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
    ],
)
def test_what_has_the_formula_is_replaced_and_nothing_else(kind, expected):
    assert quickened(both_ways(kind)[1]) == expected


@pytest.mark.parametrize("changes", [{"method": "dora"}, {"lora_dropout": 0.5}], ids=str)
def test_dora_and_dropout_keep_peft_s_way(changes):
    assert quickened(both_ways("llama", **changes)[1]) == {"norm", "input_layernorm", "post_attention_layernorm"}


def test_norms_with_a_row_for_each_head_keep_their_own_way():
    own = with_new_adapter(make_model("cohere", SIZES | {"use_qk_norm": True}))
    quick = copy.deepcopy(own)
    quicken(quick)
    assert quickened(quick) == {*LINEAR, "mlp"}
    assert_equal(*(value_and_gradients(model, separate_nll, EXAMPLES[:2]) for model in (quick, own)), tolerance=1e-4)


def test_layers_without_an_adapter_keep_their_own_way():
    own, quick = both_ways("llama", target_modules=["q_proj", "v_proj"])
    assert quickened(quick) == {"q_proj", "v_proj", "norm", "input_layernorm", "post_attention_layernorm"}
    assert_equal(value_and_gradients(quick, separate_nll, EXAMPLES), value_and_gradients(own, separate_nll, EXAMPLES))


def test_an_mlp_of_the_same_names_that_does_more_is_found_out():
    model = with_new_adapter(make_model("llama", SIZES)).eval()
    mlp = next(module for name, module in model.named_modules() if name.endswith("mlp"))
    assert is_gated(mlp)
    mlp.forward = lambda rows: mlp.down_proj(mlp.act_fn(mlp.gate_proj(rows)).clamp(max=10) * mlp.up_proj(rows))
    assert not is_gated(mlp)
    dropout = torch.nn.Dropout(0.5)
    mlp.dropout = dropout.eval()
    mlp.forward = lambda rows: dropout(mlp.down_proj(mlp.act_fn(mlp.gate_proj(rows)) * mlp.up_proj(rows)))
    assert not is_gated(mlp)
    assert not dropout.training


def test_a_norm_that_takes_a_gate_is_none_of_these():
    assert looks_like_norm(make_model("llama", SIZES).requires_grad_(False).model.norm)
    assert not looks_like_norm(BambaRMSNormGated(8, 1).requires_grad_(False))


def test_a_layer_that_stays_in_float32_in_a_model_in_bfloat16_does_so():
    models = []
    for way in (lambda _: None, quicken):
        model = make_model("llama", SIZES).to(torch.bfloat16)
        model.model.layers[0].mlp.gate_proj.float()
        model = with_new_adapter(model)
        way(model)
        models.append(model.train())
    with torch.no_grad():
        for own, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
            if own.requires_grad:
                other.copy_(own.normal_(std=0.1))
    expected, found = (value_and_gradients(model, separate_nll, EXAMPLES, Hardware("cpu", "bfloat16")) for model in models)
    assert_equal(found, expected, tolerance=0.2)


def test_no_rows_give_no_rows():
    layer = next(module for name, module in both_ways("llama")[1].named_modules() if name.endswith("q_proj"))
    nothing = torch.zeros(0, SIZES["hidden_size"], requires_grad=True)
    result = layer(nothing)
    assert result.shape == (0, 32)
    result.sum().backward()
    assert layer.lora_B["default"].weight.grad.abs().sum() == 0
