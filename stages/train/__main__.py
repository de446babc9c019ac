"""data/tokenized/{train,validation}.parquet and the base model -> models/adapter/, models/adapter.json,
models/training/."""

from contextlib import nullcontext

from stages.lib.base_model.pin import PIN
from stages.lib.base_model.pins import ADAPTER_PIN
from stages.lib.base_model.tokenized import TOKENIZED_SPLITS, examples_of
from stages.lib.core.errors import run_stage
from stages.lib.core.files import write_json, write_jsonl
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.model.adapter import ADAPTER, write_adapter
from stages.lib.model.hardware import Hardware, describe_environment, find_hardware, use_deterministic_algorithms
from stages.lib.records.loss_history import ENVIRONMENT, FOLDER, LOSS_HISTORY
from stages.train.checkpoints import scratch_folder, take_fingerprint
from stages.train.likelihood import packed_nll
from stages.train.loggers import start_logging
from stages.train.methods import check_installed_for
from stages.train.outcome import Outcome
from stages.train.params import TrainParams
from stages.train.preparation import prepare_trainer
from stages.train.ranks import Ranks, join, processes_wanted, start_processes
from stages.train.run import run_trainer
from stages.train.targets import tell_unadapted


def main() -> None:
    check_installed("stages/lib/base_model")
    params = read_params("train", TrainParams)
    check_installed_for(params.method)
    if (processes := processes_wanted()) > 1:
        start_processes(processes, "stages.train")
        return
    use_deterministic_algorithms(params.deterministic)
    with join() as ranks:
        train(params, find_hardware(params.precision), ranks)


def train(params: TrainParams, hardware: Hardware, ranks: Ranks) -> None:
    """One process's part; the first one writes the outs."""
    environment = describe_environment(hardware) | {"processes": ranks.world}
    files = [PIN, *map(examples_of, TOKENIZED_SPLITS)]
    with scratch_folder("train", take_fingerprint([params.model_dump(), environment], files), ranks) as folder:
        with prepare_trainer(params, hardware, ranks) as (trainer, validation):
            logging = start_logging(trainer.model, trainer.plan.steps) if ranks.first else nullcontext(lambda _row: None)
            with logging as log:
                outcome = run_trainer(trainer, validation, folder, log)
        if ranks.first:
            write_adapter(trainer.model, outcome.tensors)
            write_jsonl(LOSS_HISTORY, outcome.history)
            write_json(ENVIRONMENT, environment | {"packed_documents": trainer.nll is packed_nll})
            print(describe(params, hardware, outcome) + tell_unadapted(trainer.model, params.target_modules))


def describe(params: TrainParams, hardware: Hardware, outcome: Outcome) -> str:
    losses = {row["step"]: row["validation_loss"] for row in outcome.history if "validation_loss" in row}
    kept = "" if outcome.step == outcome.history[-1]["step"] else f" (kept: step {outcome.step:,})"
    return (
        f"train: {outcome.history[-1]['step']:,} steps of {params.packs_per_step} x {params.pack_length} tokens on "
        f"{hardware.device} in {hardware.precision}; validation loss {losses[0]:.3f} -> {losses[outcome.step]:.3f}{kept}"
    )


if __name__ == "__main__":
    run_stage(main, outs=[ADAPTER, ADAPTER_PIN, FOLDER], restore="dvc checkout train")
