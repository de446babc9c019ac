"""Adapters stand where params.yaml says and peft can: the rest is said or refused in one line. What is saved, any tool loads."""

import fnmatch
import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from conftest import REPO, environment
from training import EXAMPLES, SIZES, make_model, train_params, value_and_gradients, with_new_adapter

from benchmarks.architectures.shapes import make_config
from stages.lib.base_model.pin import PIN, BasePin
from stages.lib.base_model.pins import write_pin
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.adapter import ADAPTER, name_for_others, write_adapter
from stages.train import targets
from stages.train.likelihood import separate_nll
from stages.train.quick_layers import quicken
from stages.train.targets import find_experts, find_targets, tell_unadapted

pytestmark = pytest.mark.usefixtures("one_thread")

LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "n_group": 1,
    "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4,
}  # fmt: skip
EXPERTS = {
    "num_local_experts": 3, "num_experts": 3, "n_routed_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}  # fmt: skip
MIXTURES = {
    "mixtral": SIZES | EXPERTS,
    "qwen3_moe": SIZES | EXPERTS,
    "gpt_oss": SIZES | EXPERTS,
    "phimoe": SIZES | EXPERTS,
    "llama4_text": SIZES | EXPERTS,
    "deepseek_v3": SIZES | EXPERTS | LATENT,
}
OTHERS = {
    "llama": SIZES,
    "gpt2": {"vocab_size": 90, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64},
    "mamba": SIZES | {"state_size": 4},
    "falcon_h1": SIZES | {"mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1, "mamba_d_ssm": 64},
}
FUSED = {"mixtral": "mlp.experts", "qwen3_moe": "mlp.experts", "gpt_oss": "mlp.experts", "phimoe": "mlp.experts",
         "llama4_text": "feed_forward.experts", "deepseek_v3": "mlp.experts"}  # fmt: skip


def make(kind: str) -> Any:
    return make_model(kind, (MIXTURES | OTHERS)[kind])


def adapted(model: Any) -> set[str]:
    """The last names of what has an adapter."""
    names = {name.partition(".lora_A.")[0] for name, each in model.named_parameters() if ".lora_A." in name}
    return {name.rpartition(".")[2] for name in names}


def experts_of(kind: str) -> list[str]:
    return [f"{FUSED[kind]}.down_proj", f"{FUSED[kind]}.gate_up_proj"]


@pytest.mark.parametrize("kind", MIXTURES)
def test_the_experts_of_a_mixture_are_left_alone_by_default_and_it_is_said(kind: str) -> None:
    model = with_new_adapter(make(kind))
    attention = {"q_proj", "k_proj", "v_proj", "o_proj", "q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj"}
    shared = {"gate_proj", "up_proj", "down_proj"} if kind == "llama4_text" else set()
    assert adapted(model) <= attention | shared
    assert "o_proj" in adapted(model)
    said = tell_unadapted(model, "all-linear")
    assert f"; the experts are not adapted (train.target_parameters: [{', '.join(experts_of(kind))}] adapts them)" in said
    quicken(model)
    losses, gradients = value_and_gradients(model, separate_nll, EXAMPLES[:2])
    assert losses.isfinite().all()
    assert all(gradient.norm() > 0 for name, gradient in gradients.items() if "lora_B" in name)


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt_oss", "llama4_text"])
def test_experts_train_where_they_are_asked_for_are_saved_and_plain_peft_loads_and_merges_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pin(source="path", path="base", name="base")
    make(kind).save_pretrained("base")
    base = transformers.AutoModelForCausalLM.from_pretrained("base")
    model = with_new_adapter(base, target_parameters=experts_of(kind), target_modules=["q_proj"])
    assert "experts" not in tell_unadapted(model, ["q_proj"])
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    _, gradients = value_and_gradients(model, separate_nll, EXAMPLES)
    of_experts = [gradient for name, gradient in gradients.items() if "experts" in name]
    assert len(of_experts) >= 4
    assert all(gradient.norm() > 0 for gradient in of_experts)
    trained = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    write_adapter(model, trained)
    with torch.no_grad():
        expected = separate_nll(model, EXAMPLES)
        again = peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained("base"), ADAPTER).eval()
        torch.testing.assert_close(separate_nll(again, EXAMPLES), expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(separate_nll(again.merge_and_unload(), EXAMPLES), expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("llama4_text", ["model.layers.*.feed_forward.router"]),
        ("phimoe", ["model.layers.*.mlp.router"]),
        ("mamba", ["backbone.layers.*.mixer.dt_proj", "backbone.layers.*.mixer.out_proj"]),
        ("falcon_h1", ["model.layers.*.mamba.out_proj"]),
        (
            "deepseek_v3",
            [f"model.layers.*.mlp.{part}{side}_proj" for part in ("", "shared_experts.") for side in ("down", "gate", "up")],
        ),
    ],
)
def test_all_linear_leaves_out_what_peft_cannot_adapt_and_says_so(kind: str, left: list[str]) -> None:
    model = with_new_adapter(make(kind))
    assert said_without_adapter(model) == sorted(left)
    assert adapted(model).isdisjoint(name.rpartition(".")[2] for name in left)
    with pytest.raises(ReprotuneError, match=r"^params\.yaml: train\.target_modules: \S+ .*peft.*; take it out of the list$"):
        with_new_adapter(make(kind), target_modules=[left[0].rpartition(".")[2]])


def said_without_adapter(model: Any) -> list[str]:
    said = tell_unadapted(model, "all-linear").partition("; linear layers without an adapter: ")[2]
    return said.partition(";")[0].split(", ")


@pytest.mark.parametrize("kind", ["zamba2", "longcat_flash", "laguna"])
def test_layers_without_an_adapter_are_said_by_names_that_find_them_in_the_model(kind: str) -> None:
    torch.manual_seed(0)
    model = with_new_adapter(transformers.AutoModelForCausalLM.from_config(make_config(kind)))
    base = model.get_base_model()
    linear = {
        name.removesuffix(".base_layer"): name.endswith(".base_layer")
        for name, module in base.named_modules()
        if isinstance(module, torch.nn.Linear) and ".lora_" not in name and module is not base.get_output_embeddings()
    }
    said = said_without_adapter(model)
    for name, has_adapter in linear.items():
        assert any(fnmatch.fnmatchcase(name, each) for each in said) is not has_adapter, name
    assert all(fnmatch.filter(linear, each) for each in said)


def test_where_one_layer_alone_has_no_adapter_it_is_said_with_its_number() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "find_unfit", lambda *_: {"model.layers.1.mlp.up_proj": "is read past the layer"})
        assert said_without_adapter(with_new_adapter(make("llama"))) == ["model.layers.1.mlp.up_proj"]


def test_a_wrong_target_is_answered_with_names_that_find_layers_of_one_kind() -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(make_config("zamba2"))
    with pytest.raises(ReprotuneError, match=r"no layer 'query'; its linear layers: ") as error:
        find_targets(model, ["query"], [])
    for name in str(error.value).rpartition(": ")[2].split(", "):
        found = [module for full, module in model.named_modules() if full == name or full.endswith(f".{name}")]
        assert found, name
        assert all(isinstance(module, torch.nn.Linear) for module in found), name


def share_a_weight(model: Any) -> None:
    first, second = (layer.mlp for layer in model.model.layers)
    second.up_proj.weight = first.up_proj.weight


@pytest.mark.parametrize(
    ("kind", "left", "why"),
    [
        ("mamba", "dt_proj", "is read past the layer by the model's own code, where peft's adapter does nothing"),
        ("longcat_flash", "classifier", "is read past the layer by the model's own code, where peft's adapter does nothing"),
        ("laguna", "shared_experts.up_proj", "has a name that is changed while peft loads an adapter, which then lacks it"),
        ("inkling2_text", "weight_proj", "has a name that is changed while peft loads an adapter, which then lacks it"),
        ("llama", "up_proj", "shares its weight with another layer, and peft can't merge an adapter of one"),
    ],
)
def test_layers_whose_adapter_would_not_act_be_read_back_or_merge_get_none_and_it_is_said(kind: str, left: str, why: str) -> None:
    def make_one() -> Any:
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(make_config(kind))
        if kind == "llama":
            share_a_weight(model)
        return model.eval()

    model = with_new_adapter(make_one())
    assert not any(f"{left}.lora_A" in name for name, _ in model.named_parameters())
    assert left.rpartition(".")[2] in tell_unadapted(model, "all-linear").partition("; the experts")[0]
    with pytest.raises(ReprotuneError, match=rf"^params\.yaml: train\.target_modules: \S+{left} {why}; take it out of the list$"):
        with_new_adapter(make_one(), target_modules=[left])


def test_a_weight_that_is_asked_for_its_type_alone_is_not_read_past_its_layer() -> None:
    model = make("llama")
    mlp = model.model.layers[0].mlp
    own = mlp.forward
    mlp.forward = lambda states: own(states.to(mlp.up_proj.weight.dtype).to(mlp.up_proj.weight.device))
    assert find_targets(model, "all-linear", []).modules == "all-linear"
    mlp.forward = lambda states: own(states) + 0 * (states @ mlp.up_proj.weight.T).sum()
    assert "model.layers.1.mlp.up_proj" not in find_targets(model, "all-linear", []).modules


def test_layers_with_names_of_experts_train_as_parameters() -> None:
    model = with_new_adapter(make("deepseek_v3"), target_parameters=["shared_experts.up_proj.weight"], target_modules=["o_proj"])
    _, gradients = value_and_gradients(model, separate_nll, EXAMPLES[:2])
    assert any("shared_experts" in name and gradient.norm() > 0 for name, gradient in gradients.items())


def test_where_everything_can_be_adapted_nothing_is_said_and_peft_is_given_what_the_params_say() -> None:
    model = make("llama")
    for given in ("all-linear", ["q_proj", "layers.1.mlp.up_proj"], r"model\.layers\.0\..*_proj"):
        assert find_targets(model, given, []) == (given, [], False)
    assert tell_unadapted(with_new_adapter(model), "all-linear") == ""


REFUSED = [
    ("gpt2", {"target_modules": ["q_proj"]}, r"no layer 'q_proj'; its linear layers: c_attn, c_fc, c_proj, lm_head$"),
    (
        "llama",
        {"target_modules": "q_proj"},
        r"no layer's whole name matches .*'q_proj' \(.*: \[q_proj\]; .* all-linear\); its linear layers: down",
    ),
    (
        "llama",
        {"target_modules": r"model\.layers\.0"},
        r"model\.layers\.0 is no layer that peft adapts; match others, or take all-linear$",
    ),
    (
        "llama",
        {"target_modules": ".*"},
        r": the model as a whole is no layer that peft adapts; match others, or take all",
    ),
    ("gpt2", {"target_modules": ["mlp"]}, r"h\.0\.mlp is no layer that peft adapts; take it out of the list$"),
    ("gpt2", {"target_parameters": ["wte.weight"]}, r"wte\.weight is another layer's too, and an adapter of one can't be merged"),
    ("gpt2", {"target_parameters": ["lm_head.weight"]}, r"lm_head\.weight is another layer's too, and an adapter of one can't"),
    (
        "qwen3_moe",
        {"target_modules": ["gate_up_proj"]},
        r"; its experts are in train\.target_parameters: \[mlp\.experts\.down_proj, ",
    ),
    (
        "mixtral",
        {"target_parameters": ["w1"]},
        r"target_parameters: the base model has no parameter 'w1'; its experts are in train",
    ),
    ("llama", {"target_parameters": ["experts"]}, r"target_parameters: the base model has no parameter 'experts'; \[\]: none$"),
    (
        "llama",
        {"target_parameters": ["norm.weight"]},
        r"target_parameters: 'norm\.weight' has 1 dimensions; an adapter needs 2 or 3",
    ),
]


@pytest.mark.parametrize(("kind", "changes", "expected"), REFUSED)
def test_targets_that_no_adapter_can_have_are_refused_in_one_line(kind: str, changes: dict, expected: str) -> None:
    with pytest.raises(ReprotuneError, match=expected) as error:
        with_new_adapter(make(kind), **changes)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith("params.yaml: train.target_")


@pytest.mark.parametrize("end", ["embed_tokens", "lm_head"])
def test_embeddings_that_are_the_head_too_are_refused_and_others_train(end: str) -> None:
    tied, untied = (make_model("llama", SIZES | {"tie_word_embeddings": tie}) for tie in (True, False))
    with pytest.raises(ReprotuneError, match=rf"target_modules: \S*{end} shares its weight with the other end of the model"):
        with_new_adapter(tied, target_modules=["q_proj", end])
    _, gradients = value_and_gradients(with_new_adapter(untied, target_modules=["q_proj", end]), separate_nll, EXAMPLES[:2])
    assert any(end in name and gradient.norm() > 0 for name, gradient in gradients.items())


def test_gpt2_s_layers_are_adapted_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert adapted(with_new_adapter(make("gpt2"))) == {"c_attn", "c_fc", "c_proj"}


def test_a_model_that_sees_pictures_has_adapters_on_its_text_alone() -> None:
    text = transformers.LlamaConfig(**SIZES)
    vision = transformers.CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
                                           image_size=8, patch_size=4)  # fmt: skip
    config = transformers.LlavaConfig(vision_config=vision, text_config=text, image_token_index=5)
    for given in ("all-linear", ["q_proj", "v_proj"]):
        model = with_new_adapter(transformers.LlavaForConditionalGeneration(config), target_modules=given)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        assert names
        assert all(".language_model." in name for name in names)
        _, gradients = value_and_gradients(model, separate_nll, EXAMPLES[:2])
        assert all(gradient.norm() > 0 for name, gradient in gradients.items() if "lora_B" in name)
    assert "those for pictures or sound" in tell_unadapted(
        with_new_adapter(transformers.LlavaForConditionalGeneration(config)), "all-linear"
    )


def test_tensors_without_storage_have_the_same_targets() -> None:
    for kind in ("llama4_text", "mamba", "mixtral"):
        with torch.device("meta"):
            empty = make_config_model(kind)
        assert find_targets(empty, "all-linear", []) == find_targets(make(kind), "all-linear", [])


def make_config_model(kind: str) -> Any:
    return transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(kind, **(MIXTURES | OTHERS)[kind]))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"target_modules": "q_proj["}, r"'q_proj\[' is no regular expression \(.*\); expected one, all-linear or a list"),
        ({"target_modules": []}, r"target_modules and target_parameters are empty, so that nothing would train"),
        (
            {"target_parameters": ["w"], "method": "dora"},
            r"method: dora does not go with target_parameters, .*; set method: lora",
        ),
        ({"target_parameters": ["w"], "lora_dropout": 0.1}, r"lora_dropout: 0\.1 does not go with target_parameters"),
    ],
)
def test_params_that_contradict_themselves_are_refused(changes: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        train_params(**changes)


@pytest.mark.parametrize("changes", [{"method": "dora"}, {"lora_dropout": 0.1}], ids=str)
def test_dora_and_dropout_train_the_linear_layers_of_a_mixture(changes: dict) -> None:
    assert adapted(with_new_adapter(make("mixtral"), **changes)) == {"q_proj", "k_proj", "v_proj", "o_proj"}


def pin(**source: Any) -> None:
    described = {"source": "path", "name": "tiny", "path": "tiny", "revision": None, "trust_remote_code": False} | source
    Path("params.yaml").write_text(json.dumps({"base_model": described}), encoding="utf-8")
    write_pin(PIN, BasePin(**described, files={}, tokenizer={}))


@pytest.mark.parametrize("given", [r"model\.layers\.\d+\.self_attn\.[qv]_proj", ["v_proj", "q_proj"]])
def test_a_regular_expression_or_a_list_is_saved_as_it_was_and_loads(
    given: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pin()
    model = with_new_adapter(make("llama"), target_modules=given)
    trained = {name: torch.ones_like(each) for name, each in model.named_parameters() if each.requires_grad}
    write_adapter(model, trained)
    saved = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert saved["target_modules"] == (given if isinstance(given, str) else sorted(given))
    again = peft.PeftModel.from_pretrained(make("llama"), ADAPTER)
    assert [name for name, each in again.named_parameters() if "lora_" in name and not (each == 1).all()] == []
    assert adapted(again) == {"q_proj", "v_proj"}


HASHED = """
import sys; sys.path.insert(0, "tests")
from pathlib import Path
import os
from training import with_new_adapter
from train.test_targets import experts_of, make, pin
from stages.lib.model.adapter import ADAPTER, write_adapter
os.chdir(sys.argv[1])
pin()
model = with_new_adapter(make("mixtral"), target_parameters=experts_of("mixtral"), target_modules=["v_proj", "q_proj", "k_proj"])
write_adapter(model, {name: each for name, each in model.named_parameters() if each.requires_grad})
"""


@pytest.mark.slow
def test_the_same_bytes_are_saved_whatever_python_s_hashes_are(tmp_path: Path) -> None:
    found = set()
    for seed in "012":
        folder = tmp_path / seed
        folder.mkdir()
        variables = environment(PYTHONHASHSEED=seed, PYTHONPATH=str(REPO))
        subprocess.run([sys.executable, "-c", HASHED, str(folder)], cwd=REPO, env=variables, check=True, capture_output=True)
        files = sorted((folder / ADAPTER).iterdir())
        found.add(tuple(hashlib.sha256(path.read_bytes()).hexdigest() for path in files))
    assert len(found) == 1


def test_sets_are_saved_sorted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pin()
    model = with_new_adapter(make("mixtral"), target_parameters=experts_of("mixtral")[::-1], target_modules=["v_proj", "k_proj"])
    model.peft_config["default"].target_parameters = {"b", "a", "d", "c", "e"}
    write_adapter(model, {name: each for name, each in model.named_parameters() if each.requires_grad})
    saved = json.loads((ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert saved["target_parameters"] == ["a", "b", "c", "d", "e"]
    assert saved["target_modules"] == ["k_proj", "v_proj"]


def test_other_tools_find_the_base_model_by_the_name_in_the_adapter() -> None:
    source = {"path": "models/mine", "trust_remote_code": False, "files": {}, "tokenizer": {}}
    named = [
        name_for_others(BasePin(source=kind, name=name, revision=revision, **source))
        for kind, name, revision in (
            ("path", "any", None), ("hub", "some/model", "a" * 40), ("wheel", "a-wheel==1.0", "0123456789abcdef" * 4),
        )
    ]  # fmt: skip
    assert named == ["models/mine", "some/model", ".base_models/wheel-0123456789abcdef"]


def test_experts_are_told_from_other_parameters_of_three_dimensions() -> None:
    assert find_experts(make("mamba")) == find_experts(make("llama")) == []  # a convolution's kernel has three
    assert find_experts(make("gpt_oss")) == experts_of("gpt_oss")
