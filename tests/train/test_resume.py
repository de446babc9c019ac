"""A run that was stopped, however, ends with the bytes of one that was not."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import REPO, copy_project, environment, made_once, make_conversations, run, tiny_params, write_params
from filelock import FileLock, Timeout
from transformers import AutoModelForCausalLM, AutoTokenizer

from stages.base_model import __main__ as base_model
from stages.lib.base_model.tokenized import Example, examples_of, write_examples
from stages.lib.chat_template import tokenize_conversation
from stages.lib.model import scratch
from stages.lib.model.hardware import Hardware
from stages.train import checkpoints
from stages.train.comparison import choose_nll
from stages.train.methods import add_adapter, train_all
from stages.train.outcome import Outcome, Stopped
from stages.train.params import TrainParams
from stages.train.plan import Document, Pack, make_plan
from stages.train.ranks import Ranks
from stages.train.run import run_trainer
from stages.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_STEP = {"REPROTUNE_CHECKPOINT_SECONDS": "0"}
LONG = 120  # steps


@pytest.fixture(scope="module")
def documents(tiny_model_folder: Path) -> list[Document]:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    rows = make_conversations(40)
    return [Document(row["id"], *example) for row in rows for example in tokenize_conversation(tokenizer, row["messages"])]


def train_params(**changes: Any) -> TrainParams:
    changes = {"max_steps": 8, "num_train_epochs": 9, "lora_dropout": 0.3, "validations": 4, "learning_rate": 0.01} | changes
    return TrainParams(**tiny_params()["train"] | changes)


def make_trainer(model_folder: Path, params: TrainParams, packs: list[Pack]) -> Trainer:
    model = AutoModelForCausalLM.from_pretrained(model_folder, attn_implementation="sdpa")
    model = train_all(model) if params.method == "full" else add_adapter(model, params)
    hardware = Hardware("cpu", "float32")
    return Trainer(model, choose_nll(model, packs[0], hardware), make_plan(params, packs), params, hardware, Ranks(), 256)


def same(one: Outcome, other: Outcome) -> bool:
    tensors = one.tensors.keys() == other.tensors.keys()
    return tensors and all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors) and one[1:] == other[1:]


class Crash(Exception):
    pass


def crash_at(step: int) -> Any:
    def log(row: dict) -> None:
        if row["step"] == step:
            raise Crash

    return log


@pytest.mark.parametrize(
    "changes",
    [
        {},
        *(
            pytest.param(changes, marks=pytest.mark.slow)
            for changes in ({"keep": "last"}, {"early_stopping_patience": 1, "learning_rate": 0.9}, {"method": "full"})
        ),
    ],
    ids=str,
)
def test_a_run_that_crashed_twice_ends_as_one_that_did_not(
    changes: dict, documents: list[Document], tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPROTUNE_CHECKPOINT_SECONDS", "0")
    params = train_params(**changes)
    packs = [documents[start : start + 5] for start in range(0, 30, 5)]
    validation = [documents[30:]]
    folders = [tmp_path / "whole", tmp_path / "crashed"]
    for folder in folders:
        folder.mkdir()
    whole = run_trainer(make_trainer(tiny_model_folder, params, packs), validation, folders[0], lambda _row: None)
    for step in (2, 5):
        with pytest.raises(Crash):
            run_trainer(make_trainer(tiny_model_folder, params, packs), validation, folders[1], crash_at(step))
    again = make_trainer(tiny_model_folder, params, packs)
    assert same(run_trainer(again, validation, folders[1], lambda _row: None), whole)
    assert [row["step"] for row in whole.history] == list(range(len(whole.history)))
    if "early_stopping_patience" not in changes:
        assert len(whole.history) == 9


def test_a_checkpoint_goes_on_from_its_step_and_a_half_written_one_is_none(
    documents: list[Document], tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setenv("REPROTUNE_CHECKPOINT_SECONDS", "0")
    packs = [documents[start : start + 5] for start in range(0, 30, 5)]
    with pytest.raises(Crash):
        run_trainer(make_trainer(tiny_model_folder, train_params(), packs), [documents[30:]], tmp_path, crash_at(4))
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    (tmp_path / "step-4.part").mkdir()
    (tmp_path / "step-4.part" / "rank-0.pt").write_bytes(b"half")
    run_trainer(make_trainer(tiny_model_folder, train_params(), packs), [documents[30:]], tmp_path, lambda _row: None)
    assert capsys.readouterr().err.strip().endswith("train: goes on after step 3 of 8")


@pytest.mark.parametrize("step", [3, 8])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step_with_a_checkpoint(
    number: signal.Signals, step: int, documents: list[Document], tiny_model_folder: Path, tmp_path: Path
) -> None:
    packs = [documents[start : start + 5] for start in range(0, 30, 5)]
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=f"stopped by {number.name} after step {step} of 8; `dvc repro` goes on from there"):
        run_trainer(
            make_trainer(tiny_model_folder, train_params(), packs),
            [documents[30:]],
            tmp_path,
            lambda row: os.kill(os.getpid(), number) if row["step"] == step else None,
        )
    assert checkpoints.read_state(tmp_path, 0)["step"] == step
    assert signal.getsignal(number) == before


def test_the_fingerprint_covers_values_and_files(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    file.write_bytes(b"one")
    first = checkpoints.take_fingerprint([1, {"a": 2}], [file])
    assert first == checkpoints.take_fingerprint([1, {"a": 2}], [file])
    assert first != checkpoints.take_fingerprint([1, {"a": 3}], [file])
    file.write_bytes(b"two")
    assert first != checkpoints.take_fingerprint([1, {"a": 2}], [file])


# Runs the stage as `python -m stages.train` does, up to its fingerprint; prints the files that change it when they change.
EDITS = """
import json, os, runpy
from pathlib import Path
from stages.lib.base_model.tokenized import Example, examples_of, write_examples
from stages.train import checkpoints

def edit_each(*arguments):
    before, decisive = take_fingerprint(*arguments), []
    for path in sorted(Path("stages").rglob("*.py")):
        content = path.read_bytes()
        path.write_bytes(content + b"\\n# edited\\n")
        if take_fingerprint(*arguments) != before:
            decisive.append(path.as_posix())
        path.write_bytes(content)
    assert take_fingerprint(*arguments) == before
    print(json.dumps(decisive))
    os._exit(0)

take_fingerprint, checkpoints.take_fingerprint = checkpoints.take_fingerprint, edit_each
runpy.run_module("stages.train", run_name="__main__", alter_sys=True)
"""


def test_each_file_of_the_code_that_dvc_yaml_declares_decides_the_fingerprint_and_no_other(
    runnable: Path, warm: dict[str, str]
) -> None:
    """The stage's own file too, which Python calls `__main__` when it runs it."""
    (runnable / "edits.py").write_text(EDITS, encoding="utf-8")
    done = run(["python", "-m", "edits"], runnable, OMP_NUM_THREADS="1", **warm)
    decisive = json.loads(done.stdout.splitlines()[-1])
    assert decisive == sorted(declared_code("train"))
    assert "stages/train/__main__.py" in decisive


def declared_code(stage: str) -> list[str]:
    deps = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    named = [REPO / dep for dep in deps if dep.startswith("stages/")]
    files = [file for path in named for file in (path.rglob("*.py") if path.is_dir() else [path])]
    return [file.relative_to(REPO).as_posix() for file in files]


@pytest.fixture
def runnable(tmp_path: Path, tiny_model_folder: Path, documents: list[Document], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own with the code and all that train opens: `python -m stages.train` runs in it."""
    folder = tmp_path / "project"
    for name in ("stages", "requirements"):
        shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tiny_model_folder, folder / "tiny_model")
    params = tiny_params()
    params["train"] |= {"max_steps": LONG, "num_train_epochs": 100, "lora_dropout": 0.1}
    write_params(folder, params)
    monkeypatch.chdir(folder)
    base_model.main()
    pairs = [(document.id, Example(document.input_ids, document.labels)) for document in documents]
    write_examples(examples_of("train"), pairs[:-5])
    write_examples(examples_of("validation"), pairs[-5:])
    return folder


def train_until_killed(folder: Path) -> str:
    """What it said before it was killed, after some more steps."""
    before = checkpoint_step(folder)
    trainer = subprocess.Popen(
        [sys.executable, "-m", "stages.train"], cwd=folder, env=environment(**EVERY_STEP, OMP_NUM_THREADS="1"), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait_for(lambda: checkpoint_step(folder) not in (0, before))
    finally:
        trainer.kill()
    return trainer.communicate()[1]


@pytest.mark.slow
def test_a_killed_run_goes_on_unless_code_that_it_runs_was_edited(runnable: Path, tmp_path: Path) -> None:
    assert "train: goes on" not in train_until_killed(runnable)
    edits = {"stages/report/__main__.py": True, "stages/train/__main__.py": False, "stages/lib/core/files.py": False}
    for number, (file, goes_on) in enumerate(edits.items()):
        copy = shutil.copytree(runnable, tmp_path / f"{number}")
        with (copy / file).open("a", encoding="utf-8") as code:
            code.write("# edited\n")
        assert ("train: goes on after step" in train_until_killed(copy)) is goes_on, file


def test_a_run_waits_for_the_one_that_holds_its_folder_also_where_that_one_removed_the_lock(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "run.lock"
    first = scratch.hold(path, "train")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(scratch.hold, path, "train")
        time.sleep(0.2)
        assert not second.done()
        path.unlink()
        first.lock.release()
        held = second.result(timeout=30)
    assert capsys.readouterr().err == f"train: another run is at work here ({path}); waiting for its end\n"
    with pytest.raises(Timeout):
        FileLock(path).acquire(blocking=False)
    held.lock.release()


def leave_behind(fingerprint: str, age: int) -> None:
    with checkpoints.scratch_folder("train", fingerprint, Ranks()) as folder:
        (folder / "step-1").mkdir()
        os.utime(folder, (age, age))
        raise Crash


def test_scratch_goes_after_success_stays_after_an_error_and_old_runs_are_pruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        with pytest.raises(Crash):
            leave_behind(f"run{number}", number)
    assert {path.name for path in (tmp_path / ".scratch/train").iterdir() if path.is_dir()} == {"run2", "run3", "run4"}
    with checkpoints.scratch_folder("train", "run4", Ranks()) as folder:
        assert (folder / "step-1").is_dir()
    assert {path.name for path in (tmp_path / ".scratch/train").iterdir() if path.is_dir()} == {"run2", "run3"}


# --- Under DVC, with the real processes ---------------------------------------------------------------------------------


def start(folder: Path, command: list[str], **variables: str) -> subprocess.Popen:
    """In a process group of its own, as a terminal does it."""
    log = (folder.parent / f"{folder.name}.log").open("ab")
    variables = environment(**EVERY_STEP, **variables)
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True)


def trainers(project: Path) -> list[int]:
    """Process ids of `python -m stages.train` that DVC runs for the project, in it or in a copy."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().split(b"\0")
            variables = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it has ended meanwhile
        python = Path(command[0].decode()).name.startswith("python")
        if python and b"stages.train" in command and f"DVC_ROOT={project}".encode() in variables:
            found.append(int(process.name))
    return found


LONG_WAIT = 600  # seconds: what hangs ends the test some time, what is slow does not


def wait_for(condition: Any, seconds: float = LONG_WAIT) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def checkpoint_step(folder: Path) -> int:
    """Of the train stage's checkpoint; 0 if there is none."""
    found = (folder / ".scratch/train").glob("*/step-[0-9]*")
    return max((int(path.name.removeprefix("step-")) for path in found if not path.suffix), default=0)


def fingerprints(folder: Path) -> list[str]:
    """Of the runs that the project has, or had, a scratch folder for."""
    return [lock.stem for lock in (folder / ".scratch/train").glob("*.lock")]


def bytes_of(folder: Path) -> str:
    files = [path for name in ("models/adapter", "models/training") for path in sorted((folder / name).iterdir())]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


@pytest.fixture(scope="module")
def long_project(tmp_path_factory: pytest.TempPathFactory, fresh_project: Path, warm: dict[str, str]) -> Path:
    """A project up to tokenize whose training takes some seconds."""

    def make(folder: Path) -> None:
        copy_project(fresh_project, folder)
        params = tiny_params()
        params["train"] |= {"max_steps": LONG, "num_train_epochs": 100, "validations": 3, "lora_dropout": 0.1}
        write_params(folder, params)
        run(["dvc", "repro", "-q", "tokenize"], folder, **warm)

    return made_once(tmp_path_factory, "long_project", make)


@pytest.fixture(scope="module")
def undisturbed(long_project: Path, tmp_path_factory: pytest.TempPathFactory, warm: dict[str, str]) -> str:
    def make(folder: Path) -> None:
        copy_project(long_project, folder)
        run(["dvc", "repro", "-q", "train"], folder, **warm)
        assert not list((folder / ".scratch/train").glob("*/step-*"))

    return bytes_of(made_once(tmp_path_factory, "undisturbed", make))


def kill_trainer(_repro: subprocess.Popen, trainer: int) -> None:
    os.kill(trainer, signal.SIGKILL)


def kill_both(repro: subprocess.Popen, trainer: int) -> None:
    os.kill(repro.pid, signal.SIGKILL)
    os.kill(trainer, signal.SIGKILL)


def terminate_trainer(_repro: subprocess.Popen, trainer: int) -> None:
    os.kill(trainer, signal.SIGTERM)


def interrupt_all(repro: subprocess.Popen, _trainer: int) -> None:
    os.killpg(repro.pid, signal.SIGINT)  # Ctrl-C in a terminal


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize("stop", [kill_trainer, kill_both, terminate_trainer, interrupt_all])
def test_under_dvc_a_stopped_run_goes_on_to_the_same_bytes(
    stop: Any, long_project: Path, undisturbed: str, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = (tmp_path / "project").resolve()
    shutil.copytree(long_project, folder, symlinks=True)
    repro = start(folder, ["dvc", "repro", "-q", "train"])
    moment = random.Random(stop.__name__).randint(1, LONG // 2)
    wait_for(lambda: checkpoint_step(folder) >= moment)
    [trainer] = trainers(folder)
    os.kill(trainer, signal.SIGSTOP)  # so that it can't end meanwhile
    assert checkpoint_step(folder) < LONG
    stop(repro, trainer)
    with contextlib.suppress(ProcessLookupError):  # it is dead
        os.kill(trainer, signal.SIGCONT)
    assert repro.wait(LONG_WAIT) != 0
    check_that_it_goes_on(folder, undisturbed, warm)


def check_that_it_goes_on(folder: Path, undisturbed: str, warm: dict[str, str]) -> None:
    assert not (folder / "models/adapter").exists(), "a half-trained adapter was exported"
    again = run(["dvc", "repro", "train"], folder, **EVERY_STEP, **warm)
    assert "train: goes on after step" in again.stdout + again.stderr
    assert trainers(folder) == []
    assert bytes_of(folder) == undisturbed
    assert not list((folder / ".scratch/train").glob("*/step-*"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
@pytest.mark.parametrize(("shell", "processes"), [("sh", "1"), ("bash", "1"), ("sh", "2")])
def test_a_trainer_whose_dvc_was_killed_stops(
    shell: str, processes: str, long_project: Path, undisturbed: str, warm: dict[str, str], tmp_path: Path
) -> None:
    """Bash makes way for its command; dash, which is Debian's sh, stays between DVC and the trainer, as torchrun does."""
    folder = (tmp_path / "project").resolve()
    shutil.copytree(long_project, folder, symlinks=True)
    variables = {"SHELL": shutil.which(shell), "REPROTUNE_TRAIN_PROCESSES": processes}
    repro = start(folder, ["dvc", "repro", "-q", "train"], **variables)
    wait_for(lambda: checkpoint_step(folder))
    os.kill(repro.pid, signal.SIGKILL)
    repro.wait(LONG_WAIT)
    wait_for(lambda: not trainers(folder))
    told = (tmp_path / "project.log").read_text()
    assert "error: train: stopped, since the process that started it is gone, after step" in told
    assert "Traceback" not in told
    if processes == "1":
        check_that_it_goes_on(folder, undisturbed, warm)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_changed_param_starts_afresh(long_project: Path, warm: dict[str, str], tmp_path: Path) -> None:
    folder = (tmp_path / "project").resolve()
    shutil.copytree(long_project, folder, symlinks=True)
    repro = start(folder, ["dvc", "repro", "-q", "train"])
    wait_for(lambda: checkpoint_step(folder))
    os.killpg(repro.pid, signal.SIGKILL)
    repro.wait(LONG_WAIT)
    params = tiny_params()
    params["train"] |= {"max_steps": 3, "num_train_epochs": 100, "validations": 3, "lora_dropout": 0.1}
    write_params(folder, params)
    again = run(["dvc", "repro", "train"], folder, **warm)
    assert "train: goes on" not in again.stdout + again.stderr
    assert "train: 3 steps" in again.stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_an_experiment_in_a_folder_of_its_own_goes_on_too(
    long_project: Path, undisturbed: str, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = (tmp_path / "project").resolve()
    shutil.copytree(long_project, folder, symlinks=True)
    run(["git", "add", "-A"], folder)
    run(["git", "commit", "-qm", "up to tokenize"], folder)
    experiment = start(folder, ["dvc", "exp", "run", "--temp", "-q", "train"])
    wait_for(lambda: checkpoint_step(folder))
    [trainer] = trainers(folder)
    os.kill(trainer, signal.SIGKILL)
    assert experiment.wait(LONG_WAIT) != 0
    killed = fingerprints(folder)
    assert checkpoint_step(folder)
    run(["dvc", "exp", "run", "--temp", "--name", "resumed", "train"], folder, **EVERY_STEP, **warm)
    # DVC shows nothing of what the stage says here; but it has used up the checkpoint, and has no other fingerprint.
    assert fingerprints(folder) == killed
    assert not checkpoint_step(folder)
    # It minds that the stages after train have no results yet.
    run(["dvc", "exp", "apply", "resumed"], folder, check=False, **warm)
    run(["dvc", "checkout", "train"], folder, **warm)
    assert bytes_of(folder) == undisturbed


def queue_status(folder: Path, name: str, warm: dict[str, str]) -> str:
    """Of the experiment's task: Queued, Running, Success or Failed."""
    table = run(["dvc", "queue", "status"], folder, **warm).stdout
    return next((line.split()[-1] for line in table.splitlines() if f" {name} " in line), "")


def queue_workers(folder: Path) -> list[int]:
    """Process ids of the project's `dvc exp queue-worker`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = (process / "cmdline").read_bytes().split(b"\0")
            if b"queue-worker" in command and (process / "cwd").resolve().is_relative_to(folder):
                found.append(int(process.name))
    return found


def start_queue(folder: Path, name: str, warm: dict[str, str]) -> None:
    """Queue the experiment and start one worker, alone: one that is about to end may take a task and drop it."""
    wait_for(lambda: not queue_workers(folder))
    run(["dvc", "exp", "run", "--queue", "--name", name, "train"], folder)
    assert start(folder, ["dvc", "queue", "start"]).wait(LONG_WAIT) == 0  # its worker goes on, with the same output
    wait_for(lambda: queue_status(folder, name, warm) != "Queued")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
def test_a_queued_experiment_goes_on_in_the_next_one(
    long_project: Path, undisturbed: str, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = (tmp_path / "project").resolve()
    shutil.copytree(long_project, folder, symlinks=True)
    run(["git", "add", "-A"], folder)
    run(["git", "commit", "-qm", "up to tokenize"], folder)
    try:
        start_queue(folder, "killed", warm)
        wait_for(lambda: checkpoint_step(folder) and trainers(folder))
        os.kill(trainers(folder)[0], signal.SIGKILL)
        wait_for(lambda: queue_status(folder, "killed", warm) == "Failed")
        killed = fingerprints(folder)
        assert checkpoint_step(folder)
        start_queue(folder, "resumed", warm)
        wait_for(lambda: queue_status(folder, "resumed", warm) == "Success")
    finally:
        run(["dvc", "queue", "stop", "--kill"], folder, check=False)
    assert fingerprints(folder) == killed
    assert not checkpoint_step(folder)
    # It minds that the stages after train have no results yet.
    run(["dvc", "exp", "apply", "resumed"], folder, check=False, **warm)
    run(["dvc", "checkout", "train"], folder, **warm)
    assert bytes_of(folder) == undisturbed
