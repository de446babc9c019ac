"""What predict writes of each contender: data/predictions/<contender>.parquet, a row a reply, and how it was made.

A row is about one assistant message of one conversation, the reference. Its likelihood and the contender's own reply in its place
are apart: each may be there without the other, with the reason in `unscored` or `unanswered`.
"""

import json
from pathlib import Path
from typing import Literal, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.core.errors import ReprotuneError, writing

FOLDER = Path("data/predictions")
Contender = Literal["base", "tuned"]
CONTENDERS: tuple[Contender, ...] = ("base", "tuned")
Task = Literal["dialogue", "classification"]
# test: every message to learn of the test conversations, of which some are replied to.
# train: those of a sample of the training conversations; repeated: long ones that stand in several of them, the most frequent
# first. Likelihoods alone.
# retention: the general prompts; the reference is the base model's own greedy reply.
SetName = Literal["test", "train", "repeated", "retention"]
SCHEMA = pa.schema(
    {
        "set": pa.string(),
        "id": pa.string(),
        "turn": pa.int64(),
        "nll": pa.float64(),
        "labels": pa.int64(),
        "verbatim": pa.int64(),
        "unscored": pa.string(),
        "reply": pa.string(),
        "thoughts": pa.string(),
        "reply_tokens": pa.int64(),
        "stopped": pa.bool_(),
        "room": pa.int64(),
        "unanswered": pa.string(),
        "reply_ids": pa.list_(pa.int32()),
        "label_nll": pa.map_(pa.string(), pa.float64()),
    }
)
CONDITIONS = b"reprotune"  # the key in the file's metadata


class Prediction(TypedDict):
    """`turn`: the message's position in the conversation, or -1 where none of its messages is to be learned.

    `nll` in nats over the reference's labelled tokens, `labels` of them, with its stop token; `verbatim`, how many of the first
    ones are the most likely token each; `unscored`, why there is none of these.

    `reply`, greedy, apart from the `thoughts` before it; `reply_tokens` of both, without the stop token; `stopped`, whether it
    ended by itself; `room`, the tokens that it could have taken, stop token included; `unanswered`, why one that was wanted is
    not there. Without `reply` and `unanswered` none was wanted. `reply_ids`: of retention alone, with the stop token.

    `label_nll`: in classification, of each label as the reply, its nats, stop token included.
    """

    set: SetName
    id: str
    turn: int
    nll: float | None
    labels: int | None
    verbatim: int | None
    unscored: str | None
    reply: str | None
    thoughts: str | None
    reply_tokens: int | None
    stopped: bool | None
    room: int | None
    unanswered: str | None
    reply_ids: list[int] | None
    label_nll: dict[str, float] | None


class Conditions(TypedDict):
    """How the predictions of a file were made. `environment`: device, precision and versions.

    `max_new_tokens`: the longest reply, found or given. `labels`: in classification, the labels whose likelihood is taken.
    """

    environment: dict[str, object]
    decoding: str
    batch_size: int
    max_new_tokens: int
    task: Task
    task_reason: str
    labels: list[str]


def predictions_of(contender: str) -> Path:
    return FOLDER / f"{contender}.parquet"


def blank(set: SetName, id: str, turn: int) -> Prediction:
    """A row of which nothing is known yet."""
    return Prediction(
        set=set, id=id, turn=turn, nll=None, labels=None, verbatim=None, unscored=None, reply=None, thoughts=None,
        reply_tokens=None, stopped=None, room=None, unanswered=None, reply_ids=None, label_nll=None,
    )  # fmt: skip


def write_predictions(path: Path, rows: list[Prediction], conditions: Conditions) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    described = json.dumps(conditions, sort_keys=True, ensure_ascii=False).encode()
    table = pa.Table.from_pylist(rows, SCHEMA.with_metadata({CONDITIONS: described}))
    with writing(path):
        pq.write_table(table, path, compression="zstd")


def read_conditions(path: Path) -> Conditions:
    """
    Raises:
        ReprotuneError: the file is missing, or no predictions of this version.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        conditions: Conditions = json.loads(metadata[CONDITIONS])
    except FileNotFoundError:
        raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it") from None
    except (pa.ArrowInvalid, KeyError, ValueError):
        raise ReprotuneError(f"{path}: holds no predictions of this version; `dvc repro` makes it anew") from None
    return conditions
