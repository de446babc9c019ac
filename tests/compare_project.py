"""A git repository with runs in it, as DVC would have recorded them: predictions are made up, scores are evaluate's own."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from conftest import REPO, run, tiny_params, write_conversations, write_params

from stages.evaluate import __main__ as evaluate
from stages.lib.base_model.pins import AdapterPin, FileHash, hash_of
from stages.lib.base_model.tokenized import examples_of
from stages.lib.core.files import read_json, write_json, write_jsonl
from stages.lib.records import cleaned
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import blank, predictions_of, write_predictions
from stages.lib.records.scores import EXAMPLES, SCORES
from stages.report.evaluation import report_evaluation
from stages.report.seeds import SEEDS

NUMBER = 60  # test conversations
LABELS = 10  # tokens of each
PIN = {"files": {"model.safetensors": {"sha256": "ab", "size": 3}}, "tokenizer": {"tokenizer.json": {"sha256": "cd", "size": 4}}}
CONDITIONS = {
    "task": "dialogue", "task_reason": "many replies", "labels": [], "decoding": "greedy", "max_new_tokens": 40, "batch_size": 4,
    "environment": {"precision": "float32", "device": "cpu", "torch": "2"},
}  # fmt: skip
NOISE = np.random.default_rng(0).normal(0, 1, 10_000)
Reply = Callable[[int], str]


def reference(number: int) -> str:
    return f"The train number {number} is late again today, we are sorry."


def likely(shift: float, seed: int = 0) -> np.ndarray:
    """NLL of each test conversation: 20 nats, what is hard about each one, a shift, and a little noise of each seed's own."""
    return 20 + NOISE[:NUMBER] * 3 + shift + NOISE[100 * seed + 1000 :][:NUMBER]


def make_repository(folder: Path) -> Path:
    """Below the root of a git repository, without a run."""
    (folder / ".dvc").mkdir(parents=True)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    (folder / ".dvc/.gitignore").write_text("/cache\n/tmp\n/config.local\n")
    (folder / ".gitignore").write_text("/data\n/models\n/requirements\n/stages\n/tools\n")
    shutil.copy(REPO / ".dvcignore", folder)
    for name in ("requirements", "stages", "tools"):
        (folder / name).symlink_to(REPO / name)
    write_params(folder, tiny_params())
    run(["git", "init", "-q", "-b", "main", str(folder.parent)], folder)
    run(["git", "config", "user.name", "Test"], folder)
    run(["git", "config", "user.email", "test@example.org"], folder)
    return folder


def write_run(
    folder: Path,
    nll: np.ndarray,
    replies: Reply = reference,
    params: dict[str, Any] | None = None,
    conditions: dict[str, Any] | None = None,
    dropped: dict[str, str] | None = None,
    repaired: tuple[str, ...] = (),
    questions: str = "question",
    validation_loss: float = 2.5,
    pin: dict[str, Any] | None = None,
    validation: bytes = b"validation",
    labels: int = LABELS,
    source: str = "pairs",
    references: Reply = reference,
    together: tuple[str, ...] = (),
    base_says: int = 1,
    base_replies: Reply = lambda _: "no",
) -> None:
    """What a run leaves in the work tree and in the cache. `dropped`: train conversation -> why clean dropped it.

    `together`: conversations that are one group. `base_says`: the first token of the base model's replies to general prompts.
    """
    changed = tiny_params()
    for name, value in (params or {}).items():
        section, _, key = name.partition(".")
        changed[section][key] = value
    write_params(folder, changed)
    with contextlib.chdir(folder):
        for name in ("data", "models", "metrics"):
            shutil.rmtree(name, ignore_errors=True)
        train = write_data(dropped or {}, repaired, questions, source, references, together)
        write_json(Path("models/base.json"), pin or PIN)
        said = {**CONDITIONS, **(conditions or {})}
        base = predicted(likely(5, 9), base_replies, train, 25.0, LABELS, source)
        for row in base:
            row["reply_ids"] = row["reply_ids"] and [base_says, *row["reply_ids"]]
        write_predictions(predictions_of("base"), base, said)
        write_predictions(predictions_of("tuned"), predicted(nll, replies, train, 15.0, labels, source), said)
        examples_of("validation").parent.mkdir(parents=True)
        examples_of("validation").write_bytes(validation)
        EXAMPLES.parent.mkdir(parents=True)
        for name in ("no_contenders.jsonl", "votes.jsonl", "retention.jsonl"):
            shutil.copy(REPO / "data" / name, "data")
        evaluate.main()
        write_json(SEEDS, {})
        adapter = AdapterPin(files={"adapter_model.safetensors": FileHash(size=8, sha256=hash_of(predictions_of("tuned")))})
        report_evaluation(read_json(SCORES), [], adapter)
        write_json(Path("metrics/details/adapter.json"), adapter.model_dump())
        write_json(Path("metrics/training.json"), {"steps": 30, "validation_loss": validation_loss, "validation_loss_start": 4.0})
        write_json(Path("metrics/data.json"), {"train": len(train), "dropped": len(dropped or {})})
        Path("metrics/plots").mkdir()
        for split, end in (("train", 2.0), ("validation", validation_loss)):
            curve = pd.DataFrame({"step": [0, 10, 20, 30], "loss": [4.0, 3.5, 3.0, end]})
            curve.to_csv(f"metrics/plots/{split}_loss.csv", index=False)
        write_lock(changed)


def write_data(
    dropped: dict[str, str], repaired: tuple[str, ...], questions: str, source: str, references: Reply, together: tuple[str, ...]
) -> list[str]:
    """The train conversations' ids."""
    rows, ledger, assignment = [], [], []
    for number in range(2 * NUMBER):
        split = "test" if number < NUMBER else "train"
        id = f"{source}/{number:04}"
        fate = "dropped" if id in dropped else "repaired" if id in repaired else "kept"
        repairs = ["fix_whitespace"] if id in repaired else []
        ledger.append({
            "id": id, "fate": fate, "reason": dropped.get(id), "duplicate_of": None, "similarity": None, "repaired_by": repairs,
            "tags": [], "messages": 2, "messages_joined": 0, "messages_left_out": 0,
        })  # fmt: skip
        if id in dropped:
            continue
        asked = f"{questions} {number}" + (" mended" if id in repaired else "")
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": references(number)}]
        rows.append({"id": id, "label": None, "language": "en", "group": None, "messages": messages})
        assignment.append({"id": id, "split": split, "stratum": "", "group": together[0] if id in together else id})
    cleaned.CLEANED.parent.mkdir(parents=True)
    write_conversations(cleaned.CLEANED, rows)
    write_jsonl(cleaned.LEDGER, ledger)
    write_jsonl(ASSIGNMENT, assignment)
    for split in ("train", "test"):
        ids = {row["id"] for row in assignment if row["split"] == split}
        write_conversations(conversations_of(split), [row for row in rows if row["id"] in ids])
    return [row["id"] for row in assignment if row["split"] == "train"]


def predicted(nll: np.ndarray, replies: Reply, train: list[str], known: float, labels: int, source: str) -> list[Any]:
    rows = []
    for number, value in enumerate(nll):
        said = replies(number)
        answer = {"reply": said, "reply_tokens": len(said.split()), "stopped": True, "room": 40}
        rows.append(blank("test", f"{source}/{number:04}", 1) | {"nll": float(value), "labels": labels} | answer)
    for at, id in enumerate(train[:NUMBER]):
        rows.append(blank("train", id, 1) | {"nll": known + NOISE[at], "labels": labels})
    for at in range(30):
        ids = {"reply_ids": [1, 2, at], "nll": float(3 + NOISE[at] / 10 + known / 100), "labels": 3}
        rows.append(blank("retention", f"en/{at}", 1) | ids)
    return rows


def write_lock(params: dict[str, Any]) -> None:
    """dvc.lock, and the cache with what it names."""

    def hashed(*paths: Path) -> list[dict[str, str]]:
        return [{"path": path.as_posix(), "hash": "md5", "md5": store(path)} for path in paths]

    def hashed_folder(folder: Path) -> dict[str, str]:
        return {"path": folder.as_posix(), "hash": "md5", "md5": store_folder(folder)}

    tuned = predictions_of("tuned")
    folders = [hashed_folder(path) for path in sorted(Path("metrics").iterdir()) if path.is_dir()]
    metrics = [path for path in sorted(Path("metrics").iterdir()) if path.is_file() and path != SEEDS]
    stages = {
        "clean": {"outs": [*hashed(cleaned.CLEANED), hashed_folder(cleaned.FOLDER)], "params": params["clean"]},
        "split": {"deps": hashed(cleaned.CLEANED), "outs": hashed(ASSIGNMENT, *map(conversations_of, ("test", "train")))},
        "tokenize": {"deps": hashed(conversations_of("train")), "outs": hashed(examples_of("validation"))},
        "train": {"deps": hashed(conversations_of("train")), "params": params["train"]},
        "predict@base": {"deps": hashed(conversations_of("test")), "outs": hashed(predictions_of("base"))},
        "predict@tuned": {"deps": hashed(conversations_of("test")), "outs": hashed(tuned), "params": params["predict"]},
        "evaluate": {"deps": hashed(tuned), "outs": [hashed_folder(SCORES.parent)], "params": params["evaluate"]},
        "report": {"deps": [hashed_folder(SCORES.parent), *hashed(SEEDS)], "outs": [*folders, *hashed(*metrics)]},
    }
    for name, stage in stages.items():
        section = name.partition("@")[0]
        stage["cmd"] = f"python -m stages.{section}"
        if "params" in stage:
            stage["params"] = {"params.yaml": {section: stage["params"]}}
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}), encoding="utf-8")


def store(path: Path) -> str:
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    stored = object_of(Path(), md5)
    stored.parent.mkdir(parents=True, exist_ok=True)
    if not stored.exists():
        shutil.copy(path, stored)
    return md5


def store_folder(folder: Path) -> str:
    """As DVC keeps one: its files, and a list of them."""
    listed = json.dumps([{"md5": store(path), "relpath": path.name} for path in sorted(folder.iterdir())], sort_keys=True)
    md5 = hashlib.md5(listed.encode()).hexdigest() + ".dir"
    object_of(Path(), md5).parent.mkdir(parents=True, exist_ok=True)
    object_of(Path(), md5).write_text(listed, encoding="utf-8")
    return md5


def md5_of_out(lock: str, out: Path) -> str:
    outs = [one for stage in yaml.safe_load(lock)["stages"].values() for one in stage.get("outs", [])]
    return str(next(one["md5"] for one in outs if one["path"] == out.as_posix()))


def object_of(folder: Path, md5: str) -> Path:
    return folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]


def commit(folder: Path, message: str) -> str:
    run(["git", "add", "-A"], folder)
    run(["git", "commit", "-qm", message], folder)
    return run(["git", "rev-parse", "HEAD"], folder).stdout.strip()


def commit_runs(folder: Path, runs: dict[str, dict[str, Any]]) -> None:
    """Each with what `write_run` is given, in a commit of its own with its name as the tag."""
    for name, given in runs.items():
        write_run(folder, **given)
        commit(folder, name)
        run(["git", "tag", name], folder)
