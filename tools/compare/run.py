"""What is known of a run: git's metrics, and the tables behind them as far as they are within reach."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from stages.lib.core.cache import LOCK
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, read_jsonl
from stages.lib.core.params import PARAMS
from stages.lib.records import cleaned, scores
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import CONTENDERS, Contender, predictions_of, read_conditions
from stages.lib.records.scores import EXAMPLES, REPLIES
from stages.report.files import COMPARABILITY, METRICS
from tools.compare.lock import Lock, find_out, flatten, hash_of_folder, not_of_one_run
from tools.compare.revision import Revision
from tools.compare.store import Recorded, Store

TABLES = (  # wanted of every run
    EXAMPLES, REPLIES, *map(predictions_of, CONTENDERS), ASSIGNMENT, conversations_of("test"), scores.SCORES,
)  # fmt: skip
LEDGERS = (cleaned.LEDGER, cleaned.CLEANED)  # wanted where two runs differ in them
SCORES = ("tuned", "training", "data", "base", "comparison")  # of metrics/, in the order in which one looks at them
OF_EXAMPLES = (
    "id", "group", "reference_bytes", "base_unscored", "tuned_unscored", "tuned_nll", "tuned_labels",
)  # fmt: skip
OF_REPLIES = (
    "id", "turn", "group", "language", "prompt", "reference", "tuned_reply", "tuned_reply_tokens", "tuned_stopped", "tuned_chrf",
    "tuned_broken",
)  # fmt: skip
OF_PREDICTIONS = ("set", "id", "turn", "nll", "labels", "unscored", "reply_ids")


def md5_of(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@dataclass
class Run:
    """`metrics`: a file of metrics/ -> its values. `missing`: an out that could not be read -> why.

    `why_none`: why there is no run.
    """

    revision: Revision
    lock: Lock
    params: dict[str, object]
    metrics: dict[str, dict[str, object]]
    comparability: dict[str, str | None]
    store: Store
    missing: dict[str, str] = field(default_factory=dict)
    why_none: str | None = None

    def hash_of(self, out: Path) -> str | None:
        """Of the file, or of the folder that DVC has it in: other bytes have another one."""
        recorded = self.recorded(out)
        return recorded.md5 if recorded else None

    def recorded(self, out: Path) -> Recorded | None:
        found = find_out(self.lock, out)
        return Recorded(out, *found, str(self.revision)) if found else None

    def code_of(self, stage: str) -> dict[str, str]:
        """What it was run by: a folder or file of the code -> its hash."""
        deps = self.lock[stage].deps if stage in self.lock else {}
        return {path: md5 for path, md5 in deps.items() if path.startswith("stages/")}

    @property
    def is_classification(self) -> bool:
        return "accuracy" in self.metrics.get("tuned", {})

    @cached_property
    def examples(self) -> pd.DataFrame | None:
        return self.table(EXAMPLES, OF_EXAMPLES)

    @cached_property
    def replies(self) -> pd.DataFrame | None:
        return self.table(REPLIES, OF_REPLIES)

    def predictions(self, contender: Contender) -> pd.DataFrame | None:
        return self.table(predictions_of(contender), OF_PREDICTIONS)

    def labels(self) -> list[str]:
        """In classification, those that replies were chosen from."""
        path = self.find(predictions_of("tuned"))
        return read_conditions(path).get("labels", []) if path else []

    def find(self, out: Path) -> Path | None:
        """A file with the bytes that the lock records; else None, and `missing` says why."""
        recorded = self.recorded(out)
        path = self.store.find(recorded) if recorded else None
        if path is None:
            self.missing[out.as_posix()] = self.store.why_lacking(recorded) if recorded else "dvc.lock does not record it"
        return path

    def table(self, out: Path, columns: Sequence[str]) -> pd.DataFrame | None:
        """A Parquet file's columns."""
        path = self.find(out)
        if path is None:
            return None
        try:
            absent = sorted(set(columns) - set(pq.read_schema(path).names))
            if not absent:
                return pd.read_parquet(path, columns=list(columns))
            self.missing[out.as_posix()] = f"written by an earlier version, without {', '.join(absent)}"
        except pa.ArrowInvalid:
            self.missing[out.as_posix()] = "no Parquet file"
        return None

    def rows(self, out: Path) -> list[Any] | None:
        """A JSONL file's rows."""
        path = self.find(out)
        return None if path is None else read_jsonl(path)

    def show_text(self) -> list[str]:
        """The sources whose texts may be shown; none where the params don't say."""
        report = self.params.get("report")
        shown = report.get("show_text") if isinstance(report, dict) else None
        return [str(name) for name in shown] if isinstance(shown, list) else []

    def metrics_not_run(self) -> list[str]:
        """Files of metrics/ with other bytes than the run wrote or read: edited, or merged from two branches."""
        recorded = {path: md5 for entry in self.lock.values() for path, md5 in (*entry.deps.items(), *entry.outs.items())}
        ours = {path: md5 for path, md5 in recorded.items() if METRICS in Path(path).parents}
        found = {path: self._md5_in_git(path, is_folder=md5.endswith(".dir")) for path, md5 in ours.items()}
        return [path for path, md5 in found.items() if md5 not in (None, ours[path])]

    def metrics_not_scored(self) -> list[str]:
        """Files of metrics/ that say other than what evaluate found: edited, and their hashes in the lock with them."""
        recorded = self.recorded(scores.SCORES)
        path = self.store.find(recorded) if recorded else None
        evaluation = read_json(path) if path else {}
        found = {**evaluation.get("contenders", {}), "comparison": evaluation.get("comparison", {})}
        return [
            f"{METRICS}/{name}.json"
            for name in SCORES
            if any(key in found.get(name, {}) and found[name][key] != value for key, value in self.metrics.get(name, {}).items())
        ]

    def _md5_in_git(self, path: str, is_folder: bool) -> str | None:
        """As DVC records it; None where there is no such file or folder."""
        files = self.revision.files_in(Path(path)) if is_folder else [Path(path)]
        read = {file.as_posix(): md5_of(content) for file in files if (content := self.revision.read(file)) is not None}
        return hash_of_folder(read, path) if is_folder else read.get(path)

    def stages_not_run(self) -> list[tuple[str, str]]:
        """(stage, file) that were never together in one run, so that what follows is of neither."""
        return not_of_one_run(self.lock)

    def params_not_run(self) -> list[str]:
        """Params with another value than the run was made with: `dvc repro` is due."""
        now = flatten(self.params)
        used = {name: value for entry in self.lock.values() for name, value in entry.params.items()}
        return sorted(name for name, value in used.items() if name in now and now[name] != value)


def read_run(revision: Revision, store: Store) -> Run:
    """
    Raises:
        ReprotuneError: no run of it is recorded.
    """
    metrics = read_metrics(revision)
    if "tuned" not in metrics:
        raise ReprotuneError(f"{METRICS}/tuned.json: {revision} has none, so no run of it is known; `dvc repro` makes it")
    lock, params = revision.read_lock(), revision.read_params()
    return Run(revision, lock, params, metrics, read_comparability(revision), store)


def read_before(revision: Revision, store: Store) -> Run:
    """What another run is held against, as far as there is one: the first run of a project has none before it."""
    metrics, params = read_metrics(revision), revision.read_params() if revision.read(PARAMS) is not None else {}
    if "tuned" not in metrics:
        return Run(
            revision, {}, params, metrics, {}, store, why_none=f"{revision} has no run, so there is nothing to compare with"
        )
    lock = revision.read_lock() if revision.read(LOCK) is not None else {}
    return Run(revision, lock, params, metrics, read_comparability(revision), store)


def read_metrics(revision: Revision) -> dict[str, dict[str, object]]:
    """Those of SCORES that there are; a file of another layout counts as none."""
    found = {name: revision.read_json(METRICS / f"{name}.json") for name in SCORES}
    return {name: values for name, values in found.items() if isinstance(values, dict)}


def read_comparability(revision: Revision) -> dict[str, str | None]:
    found = revision.read_json(COMPARABILITY)
    known = found if isinstance(found, dict) else {}
    return {name: said for name, said in known.items() if said is None or isinstance(said, str)}


def bring(runs: Sequence[Run], outs: Sequence[Path] = TABLES) -> None:
    """Have these outs of the runs fetched in one go, and with TABLES the ledgers in which the runs differ."""
    ledgers = [out for out in LEDGERS if outs is TABLES and len({run.hash_of(out) for run in runs}) > 1]
    runs[0].store.bring(recorded for run in runs for out in (*outs, *ledgers) if (recorded := run.recorded(out)))
