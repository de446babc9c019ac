"""Loggers hear each row of the history, change nothing, and cost nothing where none is asked for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from training import train_params, with_new_adapter
from transformers import LlamaConfig, LlamaForCausalLM, TrainerCallback

from stages.lib.core.errors import ReprotuneError
from stages.lib.model.hardware import Hardware
from stages.train import loggers
from stages.train.comparison import choose_nll
from stages.train.loggers import REPORT_TO, start_logging
from stages.train.outcome import Outcome
from stages.train.plan import Document, Plan
from stages.train.ranks import Ranks
from stages.train.run import run_trainer
from stages.train.trainer import Trainer

pytestmark = pytest.mark.usefixtures("one_thread", "no_checkpoints")

PACKS = [[Document(f"row{number}", list(range(3, 20 + number)), list(range(3, 20 + number)))] for number in range(3)]


class Recorder(TrainerCallback):
    """What a logger is told, in order; it uses up random numbers, as some do."""

    heard: list[tuple]

    def on_train_begin(self, args, state, control, model=None, **_options: Any) -> None:
        torch.rand(7)
        assert model is not None
        assert state.is_world_process_zero
        assert not control.should_training_stop
        self.heard.append(("begin", state.max_steps, args.run_name))

    def on_log(self, _args, state, _control, logs=None, **_options: Any) -> None:
        torch.rand(7)
        self.heard.append(("log", state.global_step, logs.copy()))
        logs.clear()  # what a logger does to its copy reaches no out

    def on_train_end(self, _args, state, _control, **_options: Any) -> None:
        self.heard.append(("end", state.global_step))


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What the logger `fake` hears."""
    monkeypatch.chdir(tmp_path)
    recorder = type("Fake", (Recorder,), {"heard": []})
    monkeypatch.setattr(loggers, "get_reporting_integration_callbacks", lambda names: [recorder for name in names])
    monkeypatch.setenv(REPORT_TO, "fake")
    return recorder.heard


def make_model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        attn_implementation="sdpa",
    )
    return with_new_adapter(LlamaForCausalLM(config), lora_dropout=0.3)


def run(monkeypatch: pytest.MonkeyPatch, steps: int = 4, stop_after: int | None = None) -> Outcome:
    """A run whose logs go where the environment says; with `stop_after`, validation losses from then on do not get better."""
    hardware, model = Hardware("cpu", "float32"), make_model()
    nll = choose_nll(model, PACKS[0], hardware)
    patience = 1 if stop_after else None
    params = train_params(
        learning_rate=0.01, warmup_steps=1, validations=1000, early_stopping_patience=patience, keep="last"
    )  # fmt: skip
    trainer = Trainer(model, nll, Plan(PACKS, 1, steps, 0), params, hardware, Ranks(), 1000)
    if stop_after:
        monkeypatch.setattr(trainer, "validate", lambda _packs: 9.0 - min(trainer.step, stop_after))
    with start_logging(model, steps) as log:
        return run_trainer(trainer, PACKS[:1], Path("nowhere"), log)


def test_without_the_variable_no_logger_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loggers, "get_reporting_integration_callbacks", lambda _names: pytest.fail("looked for"))
    monkeypatch.setattr(loggers, "TrainingArguments", lambda **_options: pytest.fail("made"))
    for value in (None, "", " , "):
        if value is None:
            monkeypatch.delenv(REPORT_TO, raising=False)
        else:
            monkeypatch.setenv(REPORT_TO, value)
        with start_logging(make_model(), 3) as log:
            assert log({"step": 1, "train_loss": 2.0}) is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("names", ["tensorbord", "tensorboard, nonsense", "all", "none", "nonsense,tensorboard"])
def test_an_unknown_logger_is_an_error_of_one_line(monkeypatch, tmp_path, names):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(REPORT_TO, names)
    with pytest.raises(ReprotuneError, match=f"^{REPORT_TO}={names}: .*supported") as error, start_logging(make_model(), 3):
        pytest.fail("begun")
    assert "\n" not in str(error.value)


def test_a_logger_that_is_not_installed_is_an_error_of_one_line(monkeypatch, tmp_path):
    class Missing(Recorder):
        def __init__(self) -> None:
            raise RuntimeError("MissingCallback requires missing to be installed. Run `pip install missing`.")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loggers, "get_reporting_integration_callbacks", lambda _names: [Missing])
    monkeypatch.setenv(REPORT_TO, "missing")
    with (
        pytest.raises(ReprotuneError, match=rf"^{REPORT_TO}=missing: .*pip install missing") as error,
        start_logging(make_model(), 3),
    ):
        pytest.fail("begun")
    assert "\n" not in str(error.value)


def test_each_row_of_the_history_reaches_the_logger_with_its_step(heard, monkeypatch):
    outcome = run(monkeypatch)
    assert heard[0][:2] == ("begin", 4)
    rows = [{"step": step} | logs for kind, step, logs in (each for each in heard if each[0] == "log")]
    assert rows == [{key: value for key, value in row.items() if key != "kept"} for row in outcome.history]
    assert [set(row) for row in rows][:2] == [
        {"step", "validation_loss"},
        {"step", "train_loss", "learning_rate", "gradient_norm", "validation_loss"},
    ]
    assert heard[-1] == ("end", 4)
    assert [kind for kind, *_ in heard].count("end") == 1


def test_several_loggers_hear_the_same(heard, monkeypatch):
    monkeypatch.setenv(REPORT_TO, "one, other")
    run(monkeypatch, steps=1)
    told = sorted(map(str, heard))
    assert told[::2] == told[1::2]
    assert len(told) == 2 * 4


def test_a_run_that_stops_early_ends_for_the_logger_too(heard, monkeypatch):
    outcome = run(monkeypatch, steps=6, stop_after=2)
    assert outcome.history[-1]["step"] == 3
    assert heard[-1] == ("end", 3)


def test_loggers_change_neither_history_nor_adapter(heard, monkeypatch):
    logged = run(monkeypatch)
    assert len(heard) == 1 + 5 + 1
    monkeypatch.delenv(REPORT_TO)
    plain = run(monkeypatch)
    assert logged.history == plain.history
    torch.testing.assert_close(logged.tensors, plain.tensors, atol=0, rtol=0)
    assert len(heard) == 1 + 5 + 1


def test_a_real_logger_writes_under_the_scratch_folder_alone(monkeypatch, tmp_path):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(REPORT_TO, "tensorboard")
    run(monkeypatch, steps=1)
    assert [path.name for path in tmp_path.iterdir()] == [".scratch"]
    assert list(tmp_path.rglob("events.out.tfevents*"))
