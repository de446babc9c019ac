"""Training: the loss is the mean over labels, LoRA alone moves, and a run that fails leaves no adapter."""

import dataclasses
import inspect
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO, make_conversations, tiny_params, write_params
from peft import LoraConfig
from training import train_params
from transformers import AutoModelForCausalLM, AutoTokenizer, EarlyStoppingCallback, TrainingArguments

from stages.base_model import __main__ as base_model
from stages.lib.base_model.tokenized import IGNORE_INDEX, Example, examples_of
from stages.lib.chat_template import tokenize_conversation
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import read_json, read_jsonl
from stages.lib.model.adapter import ADAPTER, load_adapter
from stages.lib.model.hardware import Hardware, find_hardware
from stages.lib.model.packs import collate_pack, label_nll
from stages.lib.model.weights import load_base_model
from stages.lib.records.loss_history import LOSS_HISTORY
from stages.tokenize.__main__ import write_examples
from stages.train import __main__ as train
from stages.train.comparison import choose_nll
from stages.train.methods import add_adapter, checkpoint_activations
from stages.train.params import TrainParams, count_warmup
from stages.train.plan import Document, make_plan, read_packs
from stages.train.ranks import Ranks
from stages.train.run import run_trainer
from stages.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def model(tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The tiny model; the working directory is one to write to."""
    monkeypatch.chdir(tmp_path)
    return AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="sdpa")


@pytest.fixture(scope="module")
def examples(tiny_model_folder: Path) -> list[Example]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    return [example for row in make_conversations(30) for example in tokenize_conversation(tokenizer, row["messages"])]


def adapted(model: Any, params: TrainParams) -> Any:
    """The model as the stage prepares it."""
    if params.gradient_checkpointing:
        checkpoint_activations(model)
    return add_adapter(model, params)


def make_trainer(model: Any, params: TrainParams, packs: list) -> Trainer:
    hardware = Hardware("cpu", "float32")
    packs = [[Document(f"row{at}", *example) for at, example in enumerate(pack)] for pack in packs]
    plan = make_plan(params, packs)
    nll = choose_nll(model, packs[0], hardware)
    return Trainer(model, nll, plan, params, hardware, Ranks(), params.pack_length)


def run(model: Any, params: TrainParams, packs: list, validation: list) -> list[dict]:
    """The history of a run; the model has its own attention again."""
    history = run_trainer(make_trainer(model, params, packs), validation, Path(), lambda _row: None).history
    model.set_attn_implementation("sdpa")
    return history


def evaluate(model: Any, params: TrainParams, packs: list) -> float:
    loss = make_trainer(model, params, packs).validate(packs)
    model.set_attn_implementation("sdpa")
    return loss


def with_labels(example: Example, number: int) -> Example:
    """The example with its last `number` tokens labelled."""
    ignored = len(example.input_ids) - number
    return Example(example.input_ids, [IGNORE_INDEX] * ignored + example.input_ids[ignored:])


OWN_NAMES = {  # of which transformers and peft have none with exactly this meaning
    "precision", "deterministic", "method", "pack_length", "packs_per_step", "validations", "keep",
}  # fmt: skip


def test_a_param_bears_the_name_that_transformers_or_peft_has_for_it():
    theirs = {field.name for kind in (TrainingArguments, LoraConfig) for field in dataclasses.fields(kind)}
    theirs |= set(inspect.signature(EarlyStoppingCallback).parameters)
    assert set(TrainParams.model_fields) - theirs == OWN_NAMES


@pytest.mark.parametrize("warmup_steps", [0, 0.1, 0.5, 0.99, 1, 1.0, 7])
@pytest.mark.parametrize("steps", [1, 10, 61])
def test_the_warm_up_is_as_long_as_transformers_makes_it(warmup_steps, steps):
    expected = TrainingArguments(warmup_steps=warmup_steps, use_cpu=True).get_warmup_steps(steps)
    assert count_warmup(train_params(warmup_steps=warmup_steps).warmup_steps, steps) == expected


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_lora_tensor_moves_and_no_base_tensor_does(model, examples, checkpointing):
    # Step 1 moves B off 0, step 2 moves A.
    params = train_params(max_steps=2, warmup_steps=0.0, gradient_checkpointing=checkpointing)
    model = adapted(model, params)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    run(model, params, [[example] for example in examples[:4]], [examples[4:]])
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in before if "lora_" in name}
    assert len(moved) == 2 * 7 * 2  # A and B of the seven linear layers of each of two blocks


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_step_over_uneven_packs_is_the_mean_over_all_of_their_labels(model, examples, checkpointing):
    packs = [[with_labels(examples[0], 1)], examples[1:20]]
    params = train_params(packs_per_step=2, max_steps=1, gradient_checkpointing=checkpointing)
    model = adapted(model, params)
    nll = torch.cat([label_nll(model, collate_pack(each)) for each in packs])
    nll.mean().backward()
    gradient = torch.stack([parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None]).norm()
    model.zero_grad()
    first = run(model, params, packs, [examples[20:]])[1]
    assert first["train_loss"] == pytest.approx(nll.mean().item(), rel=1e-5)
    assert first["gradient_norm"] == pytest.approx(gradient.item(), rel=1e-4)


@pytest.mark.parametrize(("checkpointing", "passes"), [(False, 1), (True, 2)])
def test_gradient_checkpointing_computes_each_block_anew_in_the_backward_pass(model, examples, checkpointing, passes):
    model = adapted(model, train_params(gradient_checkpointing=checkpointing)).train()
    calls = []
    model.get_base_model().model.layers[0].input_layernorm.register_forward_hook(lambda *_: calls.append(1))
    label_nll(model, collate_pack(examples[:2])).sum().backward()
    assert len(calls) == passes


def test_the_last_step_of_an_epoch_takes_what_packs_are_left(model, examples):
    packs = [[example] for example in examples[:3]]
    params = train_params(packs_per_step=2, max_steps=None, learning_rate=1e-12, num_train_epochs=1)
    losses = [row["train_loss"] for row in run(adapted(model, params), params, packs, [examples[20:]])[1:]]
    alone = [label_nll(model, collate_pack(each)).mean().item() for each in packs]
    assert len(losses) == 2
    assert any(losses[1] == pytest.approx(loss, rel=1e-5) for loss in alone)


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"num_train_epochs": 2, "max_steps": None}, 8),
        ({"num_train_epochs": 0.5, "max_steps": None}, 2),
        ({"max_steps": 3}, 3),
        ({"max_steps": 9}, 4),
    ],
    ids=["epochs", "half_an_epoch", "fewer_steps", "no_more_steps_than_the_epochs_have"],
)
def test_a_run_is_as_long_as_its_epochs_or_stopped_earlier_by_max_steps(model, examples, changes, steps):
    params = train_params(validations=3, **changes)
    history = run(adapted(model, params), params, [[example] for example in examples[:4]], [examples[20:]])
    assert [row["step"] for row in history] == list(range(steps + 1))
    assert "validation_loss" in history[0]
    assert "validation_loss" in history[-1]


def test_the_validation_loss_does_not_depend_on_how_the_split_is_packed(model, examples):
    params = train_params()
    model = adapted(model, params)
    nll = torch.cat([label_nll(model, collate_pack([example])) for example in examples])
    for packs in ([examples], [[example] for example in examples], [examples[:1], examples[1:]]):
        assert evaluate(model, params, packs) == pytest.approx(nll.double().mean().item(), rel=1e-6)


def test_the_validation_loss_is_taken_without_dropout(model, examples):
    params = train_params(lora_dropout=0.5)
    model = adapted(model, params)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(parameter)
    expected = label_nll(model.eval(), collate_pack(examples)).mean().item()
    assert evaluate(model.train(), params, [examples]) == pytest.approx(expected, rel=1e-5)


def test_a_validation_loss_that_is_no_number_is_an_error(model, examples):
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(ReprotuneError, match=r"loss is (nan|inf).*lower train\.learning_rate"):
        evaluate(model, train_params(), [examples])


@pytest.mark.parametrize("targets", ["nonsense", ["nonsense"], ["q_proj", "v_porj"]], ids=str)
def test_lora_targets_that_name_no_layer_are_an_error_of_one_line(model, targets):
    with pytest.raises(ReprotuneError, match=r"^params\.yaml: train\.target_modules: ") as error:
        adapted(model, train_params(target_modules=targets))
    assert "\n" not in str(error.value)


def test_the_seed_decides_the_adapter_a_run_begins_with(model):
    first, again, other = (adapted(deepcopy(model), train_params(seed=seed)).state_dict() for seed in (1, 1, 2))
    name = next(name for name in first if "lora_A" in name)
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], other[name])


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, examples: list[Example]) -> Path:
    """A folder with what the train stage declares, nothing else. Copy it."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    shutil.copytree(REPO / "requirements", folder / "requirements")
    shutil.copytree(tiny_model_folder, folder / "tiny_model")
    write_params(folder, tiny_params())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        base_model.main()
        pairs = [(f"row{at}", example) for at, example in enumerate(examples)]
        write_examples(examples_of("train"), pairs[:-5])
        write_examples(examples_of("validation"), pairs[-5:])
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `prepared` of the test's own; the working directory is there."""
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def change_params(folder: Path, **changes: Any) -> None:
    params = tiny_params()
    params["train"] |= changes
    write_params(folder, params)


@pytest.mark.usefixtures("folder")
def test_packs_hold_every_example_that_has_a_label_once(examples):
    unlabelled = Example([5, 6, 7], [IGNORE_INDEX] * 3)
    write_examples(examples_of("train"), [("a", example) for example in [*examples, unlabelled]])
    packs = read_packs("train", 128, seed=0)
    assert sorted(document[1:] for group in packs for document in group) == sorted(examples)
    assert all(sum(len(example.input_ids) for example in group) <= 128 for group in packs)
    assert list(packs) == list(read_packs("train", 128, seed=0))
    assert list(packs) != list(read_packs("train", 128, seed=1))


def poison_the_weights(folder: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder / "tiny_model")
    torch.nn.init.constant_(model.lm_head.weight, 3e38)  # a number, which `base_model` takes; logits are none
    model.save_pretrained(folder / "tiny_model")
    base_model.main()


def explode_in_the_middle(folder: Path, steps: int = 3) -> None:
    """The first step leaves an adapter so large that the next forward pass overflows."""
    change_params(
        folder, max_steps=steps, learning_rate=0.9, lr_scheduler_type="constant_with_warmup", warmup_steps=0.0, lora_alpha=10**20
    )


def explode_in_the_last_step(folder: Path) -> None:
    explode_in_the_middle(folder, steps=1)


@pytest.mark.parametrize(
    ("break_it", "found"),
    [
        (poison_the_weights, "the (validation )?loss is nan at step [01];"),
        (explode_in_the_middle, "the loss is (nan|inf) at step 2;"),
        (explode_in_the_last_step, "the (validation )?loss is (nan|inf) at step 1;"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run_with_an_error_and_no_adapter(folder, capsys, break_it, found):
    break_it(folder)
    capsys.readouterr()
    with pytest.raises(SystemExit, match=f"^error: train: {found}") as stop:
        run_stage(train.main)
    assert str(stop.value).splitlines()[1:] == ["Nothing was saved. `dvc checkout` brings back the results of the last good run."]
    assert capsys.readouterr().out == ""
    assert not ADAPTER.exists()


def test_wrong_lora_targets_end_the_run_with_an_error_and_no_adapter(folder):
    change_params(folder, target_modules=["query"])
    with pytest.raises(SystemExit, match=r"^error: params\.yaml: train\.target_modules: "):
        run_stage(train.main)
    assert not ADAPTER.exists()


@pytest.mark.usefixtures("folder")
def test_the_adapter_gives_the_validation_loss_that_the_run_ended_with(capsys):
    capsys.readouterr()
    train.main()
    history = read_jsonl(LOSS_HISTORY)
    first, last = history[0]["validation_loss"], history[-1]["validation_loss"]
    output = capsys.readouterr().out
    assert output.startswith("train: 3 steps of 1 x 256 tokens on ")
    assert output.endswith(f"; validation loss {first:.3f} -> {last:.3f}\n")
    model = load_adapter(load_base_model("float32", find_hardware("float32").device))
    assert model.config._attn_implementation == "sdpa"
    batches = [collate_pack(group).items() for group in read_packs("validation", 256, seed=0)]
    nll = torch.cat([label_nll(model, {key: value.to(model.device) for key, value in batch}) for batch in batches])
    assert nll.mean().item() == pytest.approx(last, rel=1e-5)
    assert last != pytest.approx(first, rel=1e-5)


def test_what_is_written_names_no_path_and_has_no_order_of_chance(finished_project):
    """tests/test_dag.py runs it again elsewhere, under another hash seed, to the same bytes."""
    files = sorted(path for path in (finished_project / "models").rglob("*") if path.is_file())
    adapter = {path.name for path in files if path.parent == finished_project / ADAPTER}
    assert adapter == {"adapter_config.json", "adapter_model.safetensors"}
    for path in files:
        assert str(finished_project).encode() not in path.read_bytes(), path
        assert str(REPO).encode() not in path.read_bytes(), path
    config = read_json(finished_project / ADAPTER / "adapter_config.json")
    assert config["target_modules"] == sorted(config["target_modules"])
    assert config["base_model_name_or_path"] == "tiny_model"
    assert read_json(finished_project / train.ENVIRONMENT)["precision"] == "float32"
