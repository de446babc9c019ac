"""TensorBoard, Weights & Biases, MLflow and the like, by transformers' own callbacks, where REPROTUNE_REPORT_TO names some."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import project_root
from stages.lib.records.loss_history import HistoryRow

if TYPE_CHECKING:
    from stages.train.methods import Model

REPORT_TO = "REPROTUNE_REPORT_TO"


@contextmanager
def start_logging(model: "Model", steps: int) -> Iterator[Callable[[HistoryRow], None]]:
    """A function that takes each row of the history. What it does decides no result and stands in no out.

    Raises:
        ReprotuneError: a logger is unknown or not installed.
    """
    names = [name.strip() for name in os.environ.get(REPORT_TO, "").split(",") if name.strip()]
    if not names:
        yield lambda _row: None
        return
    folder = project_root() / ".scratch" / "logs"
    arguments = TrainingArguments(output_dir=str(folder), report_to=names, use_cpu=model.device.type == "cpu")
    state = TrainerState(max_steps=steps, is_world_process_zero=True)
    control = TrainerControl()
    try:
        callbacks = [callback() for callback in get_reporting_integration_callbacks(names)]
    except (ValueError, RuntimeError) as error:
        raise ReprotuneError(f"{REPORT_TO}={os.environ[REPORT_TO]}: {error}") from None
    for callback in callbacks:
        callback.on_train_begin(arguments, state, control, model=model)

    def log(row: HistoryRow) -> None:
        state.global_step = row["step"]
        for callback in callbacks:
            callback.on_log(
                arguments, state, control, logs={key: value for key, value in row.items() if key != "step"}, model=model
            )

    try:
        yield log
    finally:
        for callback in callbacks:
            callback.on_train_end(arguments, state, control, model=model)
