"""A tiny tokenizer, a tiny random model and a tiny project: no hub, no network, the real DVC and git."""

import csv
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock
from hypothesis import HealthCheck, settings

from stages.lib.core.files import write_json, write_jsonl
from stages.lib.core.params import Yaml12Loader
from stages.lib.records.conversation import Conversation, Message, normalize

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side; set before torch is loaded
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, where what is started here would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
REPO = Path(__file__).parent.parent
PINS = sorted([*REPO.glob("requirements/*.txt"), *REPO.glob("stages/**/requirements.txt")])  # the files that pin packages
PROJECT_FILES = ("dvc.yaml", ".dvcignore", ".gitignore", "requirements.txt", "requirements", "stages", "tools")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<s>", "</s>", "[INST]", "[/INST]", "<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>",
]  # fmt: skip
LONGEST = "test_every_command_runs_in_a_fresh_clone"  # a third of the slow ones' time


# `make test` draws some examples for each property, `make test-all` as many as find what is rare: --hypothesis-profile=thorough.
SLOW_MACHINE = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}
settings.register_profile("quick", max_examples=20, **SLOW_MACHINE)
settings.register_profile("thorough", max_examples=100, **SLOW_MACHINE)
settings.load_profile("quick")


def examples(thorough: int) -> int:
    """How many to draw: so many where it is to be thorough, a fifth of them in the profile for every day."""
    return thorough * settings().max_examples // 100


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, then what runs whole stages: side by side, tests end sooner where the last ones are short."""
    items.sort(key=lambda item: (item.name != LONGEST, "finished_project" not in getattr(item, "fixturenames", ())))


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches a network by accident; the one that serves a hub of its own switches this off."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("DVC_ROOT", raising=False)


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that `make` fills, once for all the processes that run these tests side by side."""
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, done = shared / name, shared / f"{name}.done"
    with FileLock(shared / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a process that failed to make it
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables under which `python -m` and `dvc` take no time to load what they need: see warm_python.py."""
    tests = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()

    def make(folder: Path) -> None:
        folder.mkdir()
        server = [sys.executable, str(Path(__file__).with_name("warm_python.py"))]
        call = shlex.join([server[0], "-IS", server[1], "call", str(folder / "socket")])
        for name, arguments in (("python", '"$@"'), ("dvc", '-m dvc "$@"')):
            (folder / name).write_text(f"#!/bin/sh\nexec {call} {arguments}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        with (folder / "log").open("w") as log:
            started = subprocess.Popen(
                [*server, "serve", str(folder / "socket"), str(tests)], cwd=folder, env=environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        while not (folder / "socket").exists() and started.poll() is None:
            time.sleep(0.05)

    return {"PATH": os.pathsep.join([str(made_once(tmp_path_factory, "warm", make)), environment()["PATH"]])}


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of two layers with random weights and a byte-level tokenizer with a ChatML template. Read it, never write."""
    return made_once(tmp_path_factory, "tiny_model", make_tiny_model)


def make_tiny_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=SPECIAL_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    texts = [message["content"] for row in make_conversations(200) for message in row["messages"]]
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, eos_token_id=tokenizer.eos_token_id, bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """On a busy machine two threads wait for each other longer than they compute."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def no_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a run of some steps may take a minute, and would write one where there is no folder for it."""
    monkeypatch.setenv("REPROTUNE_CHECKPOINT_SECONDS", "1e9")


@pytest.fixture
def model(tiny_model_folder: Path) -> Any:
    """The tiny model with weights ten times as large as usual: attention looks at something, each prompt has its own reply."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, attn_implementation="sdpa")
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(10)
    return model.eval()


def make_conversations(number: int, seed: int = 0) -> list[dict]:
    """Short made-up dialogues of one to three exchanges, English and Chinese, with labels; all prompts differ."""
    choose = random.Random(seed)
    things = ["a train", "the weather", "my invoice", "a robot", "火车", "天气", "我的发票", "机器人"]
    rows = []
    for number_of_row in range(number):
        messages = []
        for turn in range(choose.choice([1, 1, 2, 3])):
            thing = choose.choice(things)
            messages.append({"role": "user", "content": f"Question {number_of_row}.{turn} about {thing}?"})
            messages.append({"role": "assistant", "content": f"{thing} is {choose.choice(['fine', 'late', '很好', 'new'])}."})
        rows.append({"id": f"row{number_of_row}", "label": choose.choice(["travel", "billing"]), "messages": messages})
    return rows


def tiny_params() -> dict:
    """The repo's params.yaml with a tiny model, tiny data and a run of seconds."""
    params = yaml.load((REPO / "params.yaml").read_text(encoding="utf-8"), Loader=Yaml12Loader)
    params["base_model"] |= {"source": "path", "name": "tiny_model", "path": "tiny_model", "revision": None}
    params["collect"]["sources"] = {
        "pairs": {
            "format": "csv",
            "path": "data/raw/pairs.csv",
            "columns": {"user": "question", "assistant": "answer", "label": "topic"},
        },
        "chats": {"format": "jsonl", "path": "data/raw/chats.jsonl", "language": "en"},
    }
    params["tokenize"]["max_length"] = 256
    params["train"] |= {"pack_length": 256, "max_steps": 3, "validations": 1, "r": 2, "precision": "float32"}
    params["predict"] |= {"batch_size": 4, "max_new_tokens": 4, "precision": "float32"}
    params["report"] |= {"show_text": ["pairs"], "replies": 3, "gates": []}
    return params


def write_params(folder: Path, params: dict) -> None:
    (folder / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True, sort_keys=False), encoding="utf-8")


def make_project(folder: Path, model_folder: Path, **variables: str) -> Path:
    """A git and DVC project in `folder`: this repo's code and pipeline, tiny data, tiny params; nothing run yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROJECT_FILES:
        source = REPO / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(model_folder, folder / "tiny_model")
    write_params(folder, tiny_params())
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True)
    for name in ("no_locked_test.jsonl", "no_contenders.jsonl", "votes.jsonl"):
        shutil.copy(REPO / "data" / name, folder / "data")
    write_json(folder / "metrics" / "seeds.json", {})
    prompts = [{"id": f"en/{name}", "language": "en", "prompt": f"What is {name}?"} for name in ("rain", "bread")]
    write_jsonl(folder / "data" / "retention.jsonl", prompts)
    rows = make_conversations(60)
    with (raw / "pairs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer", "topic"])
        for row in rows[:30]:
            writer.writerow([row["messages"][0]["content"], row["messages"][1]["content"], row["label"]])
    lines = [json.dumps(row, ensure_ascii=False) for row in rows[30:]]
    (raw / "chats.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    run(["git", "init", "-q", "-b", "main"], folder)
    run(["git", "config", "user.name", "Test"], folder)
    run(["git", "config", "user.email", "test@example.org"], folder)
    run(["dvc", "init", "-q"], folder, **variables)
    shutil.copy(REPO / ".dvc" / "config", folder / ".dvc" / "config")
    shutil.copytree(REPO / ".dvc" / "plots", folder / ".dvc" / "plots")
    run(["git", "add", "-A", "-f", "."], folder)
    run(["git", "commit", "-qm", "start"], folder)
    return folder


def environment(**extra: str) -> dict[str, str]:
    """The environment of a user: this Python first on PATH, nothing of an outer `dvc repro` or `make test`.

    Python keeps compiled code as it does by itself: a project's stages are compiled once, not at each start. DVC calls nobody.
    """
    outer = (
        "DVC_ROOT", "DVC_STAGE", "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV",
    )  # fmt: skip
    inherited = {key: value for key, value in os.environ.items() if key not in outer}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    return inherited | {"PATH": path, "HF_HUB_OFFLINE": "1", "DVC_NO_ANALYTICS": "1"} | extra


def run(command: list[str], folder: Path, check: bool = True, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and give its output as text; fail the test, output shown, if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment(**extra), capture_output=True, text=True, encoding="utf-8", check=False
    )
    if check and done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="session")
def fresh_project(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path, warm: dict[str, str]) -> Path:
    """A tiny project, committed, nothing run yet. Copy it (`copy_project`), never write to it."""
    return made_once(tmp_path_factory, "fresh_project", lambda folder: make_project(folder, tiny_model_folder, **warm))


@pytest.fixture
def project(tmp_path: Path, fresh_project: Path) -> Path:
    """A fresh tiny project of the test's own, nothing run yet."""
    return copy_project(fresh_project, tmp_path / "project")


@pytest.fixture(scope="session")
def finished_project(tmp_path_factory: pytest.TempPathFactory, fresh_project: Path, warm: dict[str, str]) -> Path:
    """A tiny project after its first `dvc repro`, committed. Copy it (`copy_project`), never write to it."""

    def make(folder: Path) -> None:
        copy_project(fresh_project, folder)
        run(["dvc", "repro", "-q"], folder, **warm)
        run(["git", "add", "dvc.lock", "metrics"], folder)
        run(["git", "commit", "-qm", "first run"], folder)

    return made_once(tmp_path_factory, "finished_project", make)


def copy_project(project: Path, target: Path) -> Path:
    """A copy with its cache, git history and file times."""
    shutil.copytree(project, target, symlinks=True)
    return target


def write_conversations(path: Path, conversations: list[Conversation]) -> None:
    """As clean writes them: sorted by id."""
    write_jsonl(path, sorted(conversations, key=lambda conversation: conversation["id"]))


def messages_key(messages: list[Message]) -> str:
    """What exact duplicates have in common: roles and normalised texts."""
    return json.dumps([[message["role"], normalize(message["content"])] for message in messages])


@pytest.fixture(scope="module")
def pushed(finished_project: Path, warm: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished project with a remote that has everything. Clone it."""
    folder = copy_project(finished_project, tmp_path_factory.mktemp("pushed") / "project")
    run(["dvc", "remote", "add", "-d", "-q", "team", str(folder.parent / "remote")], folder, **warm)
    run(["git", "commit", "-qam", "a remote"], folder)
    run(["dvc", "push", "-q"], folder, **warm)
    return folder
