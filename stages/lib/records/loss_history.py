"""What train tells about its run: models/training/loss_history.jsonl, a row a step, and environment.json."""

from pathlib import Path
from typing import TypedDict

FOLDER = Path("models/training")
LOSS_HISTORY = FOLDER / "loss_history.jsonl"
ENVIRONMENT = FOLDER / "environment.json"


class HistoryRow(TypedDict, total=False):
    """Losses in nats a label. `gradient_norm`: before clipping. Step 0 is the base model; `kept`: the step that is exported."""

    step: int
    train_loss: float
    learning_rate: float
    gradient_norm: float
    validation_loss: float
    kept: bool
