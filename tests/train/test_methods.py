"""Each method trains the tensors it should, begins the same each time, and is read back as it was written."""

import copy
import importlib.util
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import REPO
from safetensors.torch import load_file
from training import train_params
from transformers import AutoConfig, AutoModelForCausalLM

from stages.lib.base_model.pin import PIN, BasePin, pin_files
from stages.lib.base_model.pins import write_pin
from stages.lib.base_model.source import BaseModelSource
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json
from stages.lib.model.adapter import ADAPTER, load_adapter, write_adapter
from stages.lib.model.weights import load_base_model
from stages.train.methods import add_adapter, check_installed_for, checkpoint_activations, train_all
from stages.train.targets import check_targets

pytestmark = pytest.mark.usefixtures("one_thread")

LINEAR = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]
IDS = torch.arange(3, 23)[None]


def pin_model(folder: Path) -> None:
    source = {"source": "path", "name": "tiny", "path": str(folder), "revision": None, "trust_remote_code": False}
    Path("params.yaml").write_text(yaml.safe_dump({"base_model": source}), encoding="utf-8")
    write_pin(PIN, BasePin(**source, files=pin_files(folder, BaseModelSource(**source)), tokenizer={}))


@pytest.fixture
def base(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory whose pinned base model is the tiny one."""
    monkeypatch.chdir(tmp_path)
    pin_model(tiny_model_folder)
    return tmp_path


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def trained_by(model: Any) -> dict[str, torch.nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def adapted(model: Any, method: str = "lora", seed: int = 0, **changes: Any) -> Any:
    return add_adapter(model, train_params(**{"r": 4, "lora_alpha": 8} | changes, method=method, seed=seed))


def prepare(method: str, precision: str = "float32", **changes: Any) -> Any:
    """The pinned base model as the method trains it, after one step of training."""
    model = load_base_model(precision, "cpu")
    model = train_all(model) if method == "full" else adapted(model, method, **changes)
    optimizer = torch.optim.SGD(trained_by(model).values(), lr=0.5)
    for _ in range(2):  # the first one moves B off 0, the second A too
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def tensors_of(model: Any) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trained_by(model).items()}


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("method", "kinds"),
    [("lora", {"lora_A", "lora_B"}), ("dora", {"lora_A", "lora_B", "lora_magnitude_vector"}), ("full", {""})],
)
def test_a_method_trains_its_own_tensors_in_float32_and_nothing_else(method, kinds, precision):
    model = load_base_model(precision, "cpu")
    names = set(dict(model.named_parameters()))
    model.requires_grad_(False)
    model = train_all(model) if method == "full" else adapted(model, method)
    trained = trained_by(model)
    assert {parameter.dtype for parameter in trained.values()} == {torch.float32}
    if method == "full":
        assert set(trained) == names
        assert len(names) == 2 * 9 + 3
        return
    places = {name.partition(kind)[0].split(".")[-2] for name in trained for kind in kinds if f".{kind}." in name}
    assert places == set(LINEAR)
    assert len(trained) == len(kinds) * 7 * 2
    assert all(any(f".{kind}." in name for kind in kinds) for name in trained)
    frozen = {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}
    assert frozen == {getattr(torch, precision)}


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_an_adapter_begins_as_no_change_and_every_tensor_of_it_moves(method):
    base = logits(load_base_model("float32", "cpu"))
    begun = adapted(load_base_model("float32", "cpu"), method)
    torch.testing.assert_close(logits(begun), base, atol=1e-6, rtol=1e-6)
    moved = tensors_of(prepare(method))
    assert moved.keys() == tensors_of(begun).keys()
    assert [name for name, tensor in tensors_of(begun).items() if torch.equal(tensor, moved[name])] == []


@pytest.mark.parametrize(("rslora", "scale"), [(False, 8 / 4), (True, 8 / math.sqrt(4))])
def test_the_adapter_s_output_is_scaled_by_alpha_and_rank(model, rslora, scale):
    layer = adapted(model, use_rslora=rslora, target_modules=["q_proj"]).model.model.layers[0].self_attn.q_proj
    torch.nn.init.ones_(layer.lora_B.default.weight)
    hidden = torch.randn(1, 3, 32)
    change = layer(hidden) - layer.base_layer(hidden)
    assert change.norm() > 0
    torch.testing.assert_close(change, scale * (hidden @ layer.lora_A.default.weight.T).sum(-1, keepdim=True).expand_as(change))


@pytest.mark.parametrize("method", ["lora", "dora"])
def test_the_seed_decides_how_an_adapter_begins(model, method):
    begun = []
    for seed, before in ((1, 5), (1, 6), (2, 5)):
        torch.manual_seed(before)
        begun.append(tensors_of(adapted(copy.deepcopy(model), method, seed)))
    first, again, other = begun
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert [name for name, tensor in first.items() if "lora_A" in name and torch.equal(tensor, other[name])] == []


def test_targets_that_the_model_lacks_are_named_with_those_it_has(model):
    with pytest.raises(ReprotuneError) as error:
        check_targets(model, ["q_proj", "v_porj"], [])
    assert str(error.value) == (
        "params.yaml: train.target_modules: the base model has no layer 'v_porj'; its linear layers: "
        "down_proj, gate_proj, k_proj, lm_head, o_proj, q_proj, up_proj, v_proj"
    )
    check_targets(model, ["q_proj", "layers.1.mlp.up_proj", "model.layers.0.self_attn.v_proj"], [])
    with pytest.raises(ReprotuneError, match="no layer '_proj'"):
        check_targets(model, ["_proj"], [])


def test_targets_train_where_they_point(model):
    names = trained_by(adapted(model, target_modules=["layers.1.mlp.up_proj", "q_proj"]))
    assert {name.partition(".lora_")[0].removeprefix("base_model.model.model.layers.") for name in names} == {
        "1.mlp.up_proj", "0.self_attn.q_proj", "1.self_attn.q_proj",
    }  # fmt: skip


def test_qlora_without_bitsandbytes_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for method in ("lora", "dora", "full"):
        check_installed_for(method)
    with pytest.raises(ReprotuneError, match=r"^params\.yaml: train\.method: qlora needs bitsandbytes; .*pip install") as error:
        check_installed_for("qlora")
    assert "\n" not in str(error.value)


def test_qlora_trains_an_adapter_on_4_bit_weights_as_if_they_were_whole(tmp_path, monkeypatch):
    """Also after a validation, at which bitsandbytes repacks weights on some CPUs: gradients through those are wrong."""
    bitsandbytes = pytest.importorskip("bitsandbytes")
    check_installed_for("qlora")
    sizes = {"vocab_size": 90, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **sizes)).save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    pin_model(tmp_path / "model")
    whole, quantised = load_base_model("float32", "cpu"), load_base_model("float32", "cpu", four_bit=True)
    layers = {name: layer for name, layer in quantised.named_modules() if isinstance(layer, bitsandbytes.nn.Linear4bit)}
    assert len(layers) == 7 * 2
    for name, layer in layers.items():
        weight = bitsandbytes.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        whole.get_submodule(name).weight.data = weight
    gradients = []
    for base in (whole, quantised):
        model = adapted(base, "qlora")
        assert {parameter.dtype for parameter in trained_by(model).values()} == {torch.float32}
        for at, (name, parameter) in enumerate(trained_by(model).items()):
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(at))
        logits(model)
        model.train()(input_ids=IDS, labels=IDS).loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in trained_by(model).values()]))
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[0].norm()


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("method", ["lora", "full"])
def test_checkpointed_activations_give_the_same_gradients_from_two_passes(method):
    gradients, passes = [], []
    for checkpointing in (False, True):
        model = load_base_model("float32", "cpu")
        if checkpointing:
            checkpoint_activations(model)
        model = (train_all(model) if method == "full" else adapted(model)).train()
        calls = []
        causal = model.get_base_model() if method == "lora" else model
        for layer in causal.model.layers:
            layer.input_layernorm.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        passes.append(len(calls))
        gradients.append({name: parameter.grad for name, parameter in trained_by(model).items()})
    assert passes == [2, 4]
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("lora", {}),
        ("lora", {"use_rslora": True, "target_modules": ["q_proj", "layers.0.mlp.up_proj"]}),
        ("dora", {}),
        ("full", {}),
    ],
    ids=["lora", "rslora", "dora", "full"],
)
def test_what_was_trained_is_read_back_as_it_was(base, tiny_model_folder, method, changes, precision):
    files = []
    for _ in range(2):
        ADAPTER.mkdir(parents=True, exist_ok=True)
        (ADAPTER / "left_by_another_method.safetensors").touch()
        model = prepare(method, precision, **changes)
        tensors, expected = tensors_of(model), logits(model)
        for parameter in trained_by(model).values():  # of a later step, which is not the one to keep
            torch.nn.init.zeros_(parameter)
        write_adapter(model, tensors)
        files.append({path.name: path.read_bytes() for path in ADAPTER.iterdir()})
    assert files[0] == files[1]
    kind = {"config.json", "model.safetensors"} if method == "full" else {"adapter_config.json", "adapter_model.safetensors"}
    assert set(files[0]) == kind
    pinned = str(tiny_model_folder).encode()  # stands for the base model's name
    for content in files[0].values():
        assert not any(str(path).encode() in content.replace(pinned, b"") for path in (base, REPO, Path.home()))
        assert method != "full" or pinned not in content
    if method != "full":
        targets = read_json(ADAPTER / "adapter_config.json")["target_modules"]
        assert targets == sorted(targets)
    again = load_adapter(load_base_model(precision, "cpu"))
    assert not again.training
    if method == "full":
        model = load_base_model(precision, "cpu")
        model.load_state_dict(tensors)  # rounds to the precision
        expected = logits(model)
        assert {parameter.dtype for parameter in again.parameters()} == {getattr(torch, precision)}
        assert read_json(ADAPTER / "config.json")["dtype"] == precision, "others should load it as it is stored"
        assert {tensor.dtype for tensor in load_file(ADAPTER / "model.safetensors").values()} == {getattr(torch, precision)}
    torch.testing.assert_close(logits(again), expected, atol=1e-6, rtol=1e-6)
    assert (logits(again) - logits(load_base_model(precision, "cpu"))).abs().max() > 0.01


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize("method", ["lora", "dora"])
def test_a_merged_model_is_the_base_with_its_adapter(method):
    model = prepare(method)
    expected = logits(model)
    torch.testing.assert_close(logits(model.merge_and_unload()), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("base")
def test_a_model_trained_whole_keeps_tied_weights_and_buffers_that_do_not_train():
    sizes = {"vocab_size": 90, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model("gemma4_text", **sizes, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True)
    model = train_all(AutoModelForCausalLM.from_config(config, dtype=torch.float32))
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = {name: value for name, value in model.state_dict().items() if name not in parameters}
    assert buffers, "the test needs a model with such buffers"
    for value in buffers.values():
        value.fill_(0.5)
    write_adapter(model, tensors_of(model))
    config = read_json(ADAPTER / "config.json")
    assert not any("path" in key or "version" in key or key.startswith("_") for key in config)
    torch.testing.assert_close(logits(load_adapter(model)), logits(model))
