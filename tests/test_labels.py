"""The example of a classifier: topics of the packaged corpus, from the source to what is said of the result."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from conftest import REPO, make_project, run, tiny_params, write_conversations, write_params
from evaluation import CONDITIONS, PIN
from pydantic import TypeAdapter
from test_readme import read
from transformers import AutoTokenizer

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.sources import Source
from stages.evaluate import __main__ as evaluate
from stages.lib.core.files import read_json, write_json, write_jsonl
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of
from stages.lib.records.predictions import CONTENDERS, predictions_of, write_predictions
from stages.lib.records.scores import SCORES
from stages.predict.journal import open_journal
from stages.predict.params import PredictParams
from stages.predict.predictions import Inputs, Predictor
from stages.predict.training_data import read_training_data
from stages.predict.work import OneModel

TOPICS = ["ai", "emotion", "humor", "literature"]
SOURCE = {"format": "chatterbot", "path": "requirements/corpora.txt", "language": "en", "topics": TOPICS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Questions of four topics, each with its topic as the reply, split: 20 of each for training, 10 for test."""
    collected, _ = assign_ids("topics", read_source(TypeAdapter(Source).validate_python(SOURCE | {"reply": "label"})))
    rows = [TypeAdapter(dict).validate_json(row.line) for row in collected]
    parts: dict[str, list[dict]] = {"train": [], "test": []}
    for topic in TOPICS:
        of_topic = [row for row in rows if row["label"] == topic][:30]
        parts["train"] += of_topic[:20]
        parts["test"] += of_topic[20:]
    for split, part in parts.items():
        write_conversations(tmp_path / conversations_of(split), part)
    write_jsonl(
        tmp_path / ASSIGNMENT, [{"id": row["id"], "split": "test", "stratum": "", "group": row["id"]} for row in parts["test"]]
    )
    write_json(tmp_path / "models/base.json", PIN)
    shutil.copytree(REPO / "requirements", tmp_path / "requirements")
    for name in ("no_contenders.jsonl", "votes.jsonl", "retention.jsonl"):
        shutil.copy(REPO / "data" / name, tmp_path / "data")
    write_params(tmp_path, tiny_params())
    (tmp_path / "data/evaluation").mkdir()
    return tmp_path


@pytest.mark.usefixtures("one_thread")
def test_questions_with_their_topics_as_replies_are_found_to_be_a_classification_and_judged_as_one(
    folder: Path, model: Any, tiny_model_folder: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    training = read_training_data(folder / conversations_of("train"), tokenizer, 0, "auto")
    assert (training.task, training.labels) == ("classification", TOPICS)
    params = PredictParams(**tiny_params()["predict"])
    inputs = Inputs(evaluate.read_conversations(folder / conversations_of("test")), training, [], None)
    for name in CONTENDERS:
        if name == "tuned":
            with torch.no_grad():
                model.lm_head.weight.mul_(-1)
        (folder / name).mkdir()
        with open_journal(folder / name) as journal:
            rows = Predictor(tokenizer, params, 4, name, journal).predict(OneModel(model, tokenizer, params.batch_size), inputs)
        conditions = CONDITIONS | {"task": training.task, "task_reason": training.task_reason, "labels": training.labels}
        write_predictions(folder / predictions_of(name), rows, conditions)
    with contextlib.chdir(folder):
        evaluate.main()
    found = read_json(folder / SCORES)
    tuned, floor = found["contenders"]["tuned"], found["contenders"]["floor_constant"]
    assert (found["task"], floor["accuracy"], len(found["confusion"])) == ("classification", 0.25, 40)
    assert {"accuracy_low", "macro_f1", "invalid_reply_high", "likelihood_accuracy", "calibration_error"} <= set(tuned)
    assert tuned["log_loss"] > 0
    assert {"accuracy_mcnemar_p", "likelihood_accuracy_mcnemar_p", "majority_difference_low"} <= set(found["comparison"])
    claims = {claim["name"]: claim["verdict"] for claim in found["claims"]}
    assert claims["majority"] in ("less", "unclear")  # it has learned nothing


@pytest.mark.slow
def test_the_command_of_the_page_makes_a_classifier_of_the_packaged_corpus(
    tmp_path: Path, tiny_model_folder: Path, warm: dict[str, str]
) -> None:
    folder = make_project(tmp_path / "project", tiny_model_folder)
    params = tiny_params()
    params["collect"]["sources"] = {"chatterbot_english": SOURCE}
    write_params(folder, params)
    run(["git", "commit", "-qam", "the packaged corpus"], folder)
    [command] = [line for line in read("docs/evaluation.md").splitlines() if "reply=label" in line]
    run(["bash", "-c", command], folder, **warm)
    tuned, comparison, claims = (read_json(folder / f"metrics/{name}.json") for name in ("tuned", "comparison", "details/claims"))
    assert {"accuracy", "macro_f1", "invalid_reply", "log_loss"} <= set(tuned)
    assert {"accuracy_mcnemar_p", "majority_difference"} <= set(comparison)
    assert claims["majority"]["verdict"] != "more"  # three steps of a random model
    assert len(pd.read_csv(folder / "metrics/plots/confusion.csv")) == tuned["replies"]
    assert [gate["metric"] for gate in read_json(folder / "metrics/details/gates.json")] == [
        "comparison.majority_difference", "tuned.invalid_reply"]  # fmt: skip
    report = (folder / "metrics/report.md").read_text(encoding="utf-8")
    assert "Task: classification" in report
    assert claims["majority"]["sentence"] in report
