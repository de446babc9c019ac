"""What train tells about its run: models/loss_history.jsonl, a row a step, and models/environment.json."""

from pathlib import Path
from typing import TypedDict

LOSS_HISTORY = Path("models/loss_history.jsonl")
ENVIRONMENT = Path("models/environment.json")


class HistoryRow(TypedDict, total=False):
    """Losses in nats a label. `gradient_norm`: before clipping. Step 0 is the base model; `kept`: the step that is exported."""

    step: int
    train_loss: float
    learning_rate: float
    gradient_norm: float
    validation_loss: float
    kept: bool
