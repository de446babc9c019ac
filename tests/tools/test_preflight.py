"""`python -m tools.preflight` on a tiny project: what it says, how it ends, and GPUs that are not here."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import REPO, make_conversations, tiny_params, write_params
from training import train_params
from transformers import AutoModelForCausalLM, AutoTokenizer

from stages.base_model import __main__ as base_model
from stages.lib.base_model.tokenized import IGNORE_INDEX, Example, examples_of
from stages.lib.chat_template import tokenize_conversation
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_jsonl
from stages.lib.records.tokenize_ledger import LEDGER
from stages.tokenize.__main__ import write_examples
from stages.train.methods import add_adapter
from stages.train.plan import count_labels, read_packs
from stages.train.trainer import Trainer
from tools.console import run_tool
from tools.preflight import __main__ as preflight
from tools.preflight import device as devices
from tools.preflight.advice import tell_changes
from tools.preflight.device import GPUS, Device, find_device, find_named, read_available_memory
from tools.preflight.examination import Examined, examine, tell_data
from tools.preflight.project import Data, make_packs, read_data, read_project
from tools.preflight.units import GIB, MIB, to_gib

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A folder after the stages base_model and tokenize. Copy it."""
    folder = tmp_path_factory.mktemp("prepared") / "project"
    shutil.copytree(REPO / "requirements", folder / "requirements")
    shutil.copytree(tiny_model_folder, folder / "tiny_model")
    write_params(folder, tiny_params())
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    examples = [example for row in make_conversations(40) for example in tokenize_conversation(tokenizer, row["messages"])]
    unlabelled = Example([5, 6, 7], [IGNORE_INDEX] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        base_model.main()
        pairs = [(f"row{at}", example) for at, example in enumerate([*examples, unlabelled])]
        write_examples(examples_of("train"), pairs[5:])
        write_examples(examples_of("validation"), pairs[:5])
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `prepared` of the test's own; the working directory is there. The machine has no GPU and 8 GiB."""
    shutil.copytree(prepared, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(devices, "read_available_memory", lambda: 8 * GIB)
    monkeypatch.setattr(devices, "read_drivers", list)
    return tmp_path / "project"


def change_params(folder: Path, section: str = "train", **changes: Any) -> None:
    params = tiny_params()
    params[section] |= changes
    write_params(folder, params)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """What the command ends with: a number, or the text of an error."""
    monkeypatch.setattr(sys, "argv", ["preflight", *arguments])
    try:
        run_tool(preflight.main)
    except SystemExit as stop:
        return stop.code
    return 0


@pytest.mark.usefixtures("folder")
def test_where_many_conversations_were_too_long_it_says_what_would_keep_them(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    assert "too long" not in capsys.readouterr().out
    whole = {"tokens": 900, "first_turn": 90, "characters": 2000, "unspaced": 0}
    rows = [
        {"id": f"s/{at}", "split": "train", "fate": "too_long" if at < 3 else "kept"} | ({"whole": whole} if at < 3 else {})
        for at in range(9)
    ]
    write_jsonl(LEDGER, rows)
    assert run(monkeypatch) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "too long 3 of 9 conversations (33%) are longer than tokenize.max_length 256; 99% would fit at 900" in said
    assert "`too_long: cut` keeps 3 of them without their last turns" in said


@pytest.mark.usefixtures("folder")
def test_it_says_what_is_here_what_is_needed_and_that_it_fits(monkeypatch, capsys):
    assert run(monkeypatch) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    assert lines[0] == "GPU        none; training runs on the CPU"
    assert "8.0 GiB of memory available" in lines[1]
    model = add_adapter(AutoModelForCausalLM.from_pretrained("tiny_model"), train_params())
    trained, frozen = (
        sum(each.numel() for each in model.parameters() if each.requires_grad == wanted) for wanted in (True, False)
    )
    assert f"base model tiny_model, {frozen:,} parameters in 2 layers; lora trains {trained:,}, in float32\n" in output
    data = read_data()
    assert data is not None
    assert f"data       {len(data.tokens)} examples, 1 more without a label; tokens: half have up to " in output
    assert f"the longest {max(data.tokens)}" in " ".join(output.split())
    assert "packs      " in output
    assert "steps of 1 pack" in output
    assert lines[-1].startswith("fits: about 5")
    assert "never at the same time" in output


@pytest.mark.usefixtures("folder")
def test_the_parts_add_up_to_what_is_needed(monkeypatch, capsys):
    run(monkeypatch)
    rows = capsys.readouterr().out.split("\n\n")[1].splitlines()
    numbers = [int(line.split()[-2].replace(",", "")) for line in rows]
    *parts, together, there = numbers
    assert sum(parts) == pytest.approx(together, abs=len(parts))
    assert there == 8 * 1024
    assert len({len(line) for line in rows}) == 1


@pytest.mark.usefixtures("folder")
def test_too_little_memory_ends_with_1_and_says_what_would_help(monkeypatch, capsys):
    monkeypatch.setattr(devices, "read_available_memory", lambda: 100 * MIB)
    assert run(monkeypatch) == 1
    _, _, changes = capsys.readouterr().out.partition("does not fit: ")
    assert "there is 100 MiB\n" in changes
    named = [line.split()[0] for line in changes.splitlines() if line.startswith("  ")]
    assert named == ["train.gradient_checkpointing:", "tokenize.max_length", "these"]
    assert "  fits" not in changes


def test_the_changes_that_fit_are_marked_and_those_already_made_are_not_named(folder, monkeypatch, capsys):
    write_larger_model(folder)
    change_params(folder, method="full", gradient_checkpointing=True, r=1, precision="bfloat16")
    assert run(monkeypatch, "--gpu", "1.2") == 1
    changes = capsys.readouterr().out.partition("does not fit: ")[2]
    assert "gradient_checkpointing" not in changes
    rows = {line.split("  ")[1]: line.endswith("fits") for line in changes.splitlines() if line.startswith("  ")}
    assert rows["train.method: lora"]
    assert rows["train.method: qlora"]
    assert rows["2 such GPUs"]


def write_larger_model(folder: Path) -> None:
    """57 million parameters, which full training takes 0.9 GB for; their weights are not there, nor needed."""
    path = folder / "tiny_model" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 14, "num_attention_heads": 8, "head_dim": 64}
    path.write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.usefixtures("folder")
def test_packs_tokens_and_labels_are_those_that_training_sees():
    project = read_project()
    packs = read_packs("train", project.params.pack_length, project.params.seed)
    expected = [(sum(len(document.input_ids) for document in pack), count_labels(pack)) for pack in packs]
    assert make_packs(project.data, project.params) == expected
    examined = examine(project, Device("cpu", "", 8 * GIB))
    assert examined.load.tokens == max(tokens for tokens, _ in expected)
    assert examined.load.labels == max(labels for _, labels in expected)


@pytest.mark.usefixtures("folder")
def test_on_a_gpu_as_many_packs_run_at_once_as_the_step_has_or_fit_into_the_limit(folder):
    change_params(folder, packs_per_step=3)
    packs = make_packs(read_project().data, read_project().params)
    heaviest = sorted((tokens for tokens, _ in packs), reverse=True)
    assert examine(read_project(), Device("cuda", "", 8 * GIB)).load.tokens == sum(heaviest[:3])
    assert examine(read_project(), Device("cuda", "", 8 * GIB, number=2)).load.tokens == sum(heaviest[:2])
    assert examine(read_project(), Device("cpu", "", 8 * GIB)).load.tokens == heaviest[0]


@pytest.mark.usefixtures("folder")
def test_on_a_gpu_tokens_are_halved_before_it_does_not_fit():
    project = read_project()
    whole = examine(project, Device("cuda", "", 8 * GIB))
    tight = examine(project, Device("cuda", "", whole.needed.total - 1))
    assert tight.load.tokens < whole.load.tokens
    assert tight.needed.total < whole.needed.total
    hopeless = examine(project, Device("cuda", "", 1))
    assert hopeless.load.tokens == hopeless.load.longest == max(project.data.tokens)


def test_before_tokenize_it_takes_full_packs_and_says_so(folder, monkeypatch, capsys):
    with_data = examine(read_project(), Device("cpu", "", 8 * GIB)).needed.total
    shutil.rmtree(folder / "data")
    assert run(monkeypatch) == 0
    output = capsys.readouterr().out
    assert "data       data/tokenized/train.parquet is not there yet (`dvc repro tokenize` makes it)" in output
    assert "activations of 256 tokens at once" in output
    assert "logits and gradients of 256 labels" in output
    assert examine(read_project(), Device("cpu", "", 8 * GIB)).needed.total > with_data


def remove_the_pin(folder: Path) -> None:
    (folder / "models" / "base.json").unlink()


def change_the_base_model(folder: Path) -> None:
    change_params(folder, "base_model", name="other_model")


def misspell_a_target(folder: Path) -> None:
    change_params(folder, target_modules=["query"])


def misspell_a_key(folder: Path) -> None:
    change_params(folder, epoch=1)


def lose_the_model(folder: Path) -> None:
    shutil.rmtree(folder / "tiny_model")


def break_the_config(folder: Path) -> None:
    (folder / "tiny_model" / "config.json").write_text('{"model_type": "nonsense"}', encoding="utf-8")


def lose_the_labels(_folder: Path) -> None:
    write_examples(examples_of("train"), [("row", Example([5, 6, 7], [7, IGNORE_INDEX, IGNORE_INDEX]))])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (remove_the_pin, "models/base.json: not found, so the base model is not known; run `dvc repro base_model`"),
        (
            change_the_base_model,
            "models/base.json: name is 'tiny_model', but base_model.name in params.yaml is 'other_model'; run `dvc",
        ),
        (misspell_a_target, "params.yaml: train.target_modules: the base model has no layer 'query'"),
        (misspell_a_key, "params.yaml: train: unknown key epoch"),
        (lose_the_model, "base_model.path: "),
        (break_the_config, "base_model: no config can be read from "),
        (lose_the_labels, "data/tokenized/train.parquet: none of 1 examples has a label to learn from"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder, monkeypatch, break_it, message):
    break_it(folder)
    error = run(monkeypatch)
    assert str(error).startswith(f"error: {message}")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "H1000"], "--gpu H1000: not known; expected its memory in GiB, such as --gpu 24, or one of T4, "),
        (["--gpu", ""], "--gpu : not known"),
        (["--gpu", "5000"], "--gpu 5000: not known"),
        (["--gpu", "0"], "--gpu 0: expected at least 1 GiB"),
        (["--gpus", "2"], "--gpus 2: this machine has no GPU; name one, such as --gpu 24 or --gpu H100"),
        (["--gpu", "24", "--gpus", "0"], "--gpus 0: expected 1 or more"),
        (["--gpu", "24", "--time"], "--time measures this machine; leave out --gpu"),
    ],
    ids=" ".join,
)
@pytest.mark.usefixtures("folder")
def test_wrong_arguments_are_said_in_one_line(monkeypatch, arguments, message):
    error = run(monkeypatch, *arguments)
    assert str(error).startswith(f"error: {message}")
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("H100", 79.6),
        ("h100 80GB", 79.6),
        ("NVIDIA H100 80GB HBM3", 79.6),
        ("NVIDIA A100-SXM4-80GB", 80),
        ("A100", 40),
        ("A100-PCIE-40GB", 40),
        ("GeForce RTX 4090", 24),
        ("rtx4090", 24),
        ("4090", 24),
        ("3090", 24),
        ("Tesla T4", 15),
        ("Tesla V100-SXM2-16GB", 16),
        ("V100 32GB", 32),
        ("24", 24),
        ("24GB", 24),
        ("24 GiB", 24),
        ("22.5", 22.5),
    ],
)
def test_a_gpu_is_known_by_its_name_or_its_memory(name, gib):
    assert find_named(name, 2)[2:4] == (int(gib * GIB), 2)


@pytest.mark.parametrize("name", GPUS)
def test_each_gpu_of_the_table_is_found_by_its_own_name(name):
    assert find_named(name, 1).name == name


@pytest.mark.usefixtures("folder")
def test_a_gpu_without_bfloat16_computes_in_float32(folder):
    change_params(folder, precision="auto")
    assert examine(read_project(), find_named("T4", 1)).precision == "float32"
    assert examine(read_project(), find_named("L4", 1)).precision == "bfloat16"
    change_params(folder, precision="bfloat16")
    with pytest.raises(ReprotuneError, match=r"^T4 has no bfloat16; set train\.precision"):
        examine(read_project(), find_named("T4", 1))


@pytest.mark.usefixtures("folder")
def test_a_gpu_that_is_not_here_is_named_with_what_guides_recommend(monkeypatch, capsys):
    assert run(monkeypatch, "--gpu", "12", "--gpus", "4") == 0
    output = capsys.readouterr().out
    assert "asked for  4 x a GPU with 12 GiB, 12.0 GiB each; guides recommend 16 GB and more\n" in output
    assert "CUDA's context" in output
    assert output.endswith(" of 12.0 GiB on each GPU\n")
    run(monkeypatch, "--gpu", "24")
    assert "guides recommend" not in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_gpu_that_torch_can_not_use_is_said_to_be_there(monkeypatch, capsys):
    monkeypatch.setattr(devices, "read_drivers", lambda: [["580.1", "NVIDIA L4", "23034 MiB"]])
    run(monkeypatch)
    assert "NVIDIA L4, 23034 MiB, driver 580.1; but torch" in capsys.readouterr().out


@pytest.mark.usefixtures("folder")
def test_a_gpu_that_is_here_is_described_and_used(monkeypatch, capsys):
    """No GPU is here to try it: torch is told to say that there are two, one of them in use."""
    memory = {0: (70 * GIB, 80 * GIB), 1: (3 * GIB, 80 * GIB)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory.__getitem__)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _number=0: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not including_emulation)
    assert find_device(None, None) == Device("cuda", "NVIDIA H100", 3 * GIB + 512 * MIB, 2)
    assert run(monkeypatch) == 0
    output = capsys.readouterr().out
    assert "GPU 0      NVIDIA H100, 80.0 GiB, 70.0 of them free\nGPU 1      NVIDIA H100, 80.0 GiB, 3.0 of them free\n" in output
    assert "used       2 x NVIDIA H100, 3.5 GiB each; guides recommend 16 GB and more\n" in output


def test_available_memory_is_that_of_this_machine():
    assert 64 * MIB < read_available_memory() < 1 << 50


@pytest.mark.usefixtures("folder")
def test_time_runs_the_real_steps_and_tells_how_long_the_run_takes(monkeypatch, capsys):
    steps = []
    train_step = Trainer.train_step
    monkeypatch.setattr(Trainer, "train_step", lambda self: steps.append(self.step) or train_step(self))
    assert run(monkeypatch, "--time") == 0
    assert steps == [0, 1, 2, 3]
    last = capsys.readouterr().out.splitlines()[-2:]
    assert " tokens/s in 3 steps; training takes about " in " ".join(last)
    assert not (Path("models") / "adapter").exists()


def test_time_before_tokenize_is_an_error(folder, monkeypatch):
    shutil.rmtree(folder / "data")
    assert str(run(monkeypatch, "--time")).startswith("error: --time: data/tokenized/train.parquet is not there yet;")


@pytest.mark.usefixtures("folder")
def test_the_estimate_reads_no_weights(folder, monkeypatch):
    (folder / "tiny_model" / "model.safetensors").unlink()
    assert run(monkeypatch) == 0


@pytest.mark.usefixtures("folder")
def test_shorter_packs_are_counted_without_the_conversations_that_are_longer():
    device, project = Device("cpu", "", 100 * MIB), read_project()
    assert project.data is not None
    assert project.without_longer(None) == project
    shorter = project.without_longer(50)
    assert shorter.data is not None
    assert shorter.data.tokens == [tokens for tokens in project.data.tokens if tokens <= 50]
    length = examine(project, device).load.tokens // 2
    assert length >= 64
    sparse = project._replace(data=Data(9, [length + 1] * 4 + [9], [1] * 5))
    told = [line for line in tell_changes(sparse, examine(project, device), device) if "tokenize.max_length" in line]
    assert f"train.pack_length: {length} (4 conversations too long)" in told[0]
    alone = examine(sparse.without_longer(length), device, pack_length=length)
    assert alone.load.tokens == 9
    assert to_gib(alone.needed.total) in told[0]


def test_lengths_are_told_as_shares_of_the_examples():
    data = Data(rows=101, tokens=list(range(100, 0, -1)), labels=[1] * 100)
    params = train_params()
    examined = Examined(params, "float32", None, [(202, 4)] * 25, None, False, None)
    text = " ".join(" ".join(tell_data(examined, data)).split())
    assert "100 examples, 1 more without a label; tokens: half have up to 50, 95% up to 95, the longest 100; 2% are" in text
    assert "packs 25 of 256 tokens, 79% full; 3 steps of 1 pack" in text
