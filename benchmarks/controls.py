"""Does the evaluation see what it must see? Two controls, in copies of a finished run:

    python -m benchmarks.controls [--seeds 2]

Trained on replies that are shuffled among conversations, a model must be worse on test than the run itself, whatever the seed.
With ten times the learning rate it must fail the gate on forgetting, which the run itself passes. A copy is trained as
the run was: about as many trainings as there are seeds, and one. Run it in a project whose `dvc repro` has finished.
Ends with 1 where a control goes unseen.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks.example_memory import run_stage
from stages.evaluate.claims import Paired, Question, compare_likelihoods, make_claims
from stages.evaluate.examples import sum_likelihoods
from stages.lib.core.files import read_json, read_jsonl, write_jsonl
from stages.lib.core.params import PARAMS, Yaml12Loader
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.conversation import conversations_of, trained_positions
from stages.lib.records.predictions import predictions_of
from stages.lib.records.scores import SCORES, Claim
from stages.report.gates import Gate, Outcome, check_gate

CONFIDENCE = 0.95
COPIED = ("data", "models", "requirements", "stages")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "adapter", "collected", "raw")
DEFAULT_GATE = {"metric": "comparison.retention_ratio", "at_most": 1.5}


def read_params_of(project: Path) -> dict[str, Any]:
    params: dict[str, Any] = yaml.load((project / PARAMS).read_text(encoding="utf-8"), Loader=Yaml12Loader)
    return params


def copy_run(project: Path, folder: Path) -> None:
    """What stages read and write as files of their own; links to all else, the base model's weights among it."""
    folder.mkdir()
    for name in COPIED:
        shutil.copytree(project / name, folder / name, ignore=NOT_COPIED, copy_function=shutil.copyfile)
    for path in project.iterdir():
        if path.name == ".base_models" or not (path.name in (*COPIED, PARAMS.name) or path.name.startswith(".")):
            (folder / path.name).symlink_to(path.resolve())


def shuffle_replies(path: Path, seed: int) -> None:
    """Each reply of train to another place, whatever was asked there."""
    rows = read_jsonl(path)
    places = [(row, position) for row in rows for position in trained_positions(row["messages"])]
    texts = [row["messages"][position]["content"] for row, position in places]
    random.Random(seed).shuffle(texts)
    for (row, position), text in zip(places, texts, strict=True):
        row["messages"][position]["content"] = text
    write_jsonl(path, rows)


def run_again(project: Path, folder: Path, changes: dict[str, Any], shuffled_by: int | None = None) -> None:
    """The run with other params of `train`, or on shuffled replies. Of tuned's own replies the first token is enough."""
    copy_run(project, folder)
    params = read_params_of(project)
    params["train"] |= changes
    params["predict"]["max_new_tokens"] = 1
    (folder / PARAMS).write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    if shuffled_by is not None:
        shuffle_replies(folder / conversations_of("train"), shuffled_by)
        run_stage(folder, "tokenize")
    run_stage(folder, "train")
    run_stage(folder, "predict", "tuned")
    run_stage(folder, "evaluate")


def read_likelihoods(project: Path) -> pd.DataFrame:
    rows = pd.read_parquet(project / predictions_of("tuned"))
    return sum_likelihoods(rows[(rows["set"] == "test") & rows["unscored"].isna()])


def compare_runs(project: Path, folder: Path) -> Claim:
    """The run in `folder` against that of the project, on the same test conversations."""
    both = read_likelihoods(project).add_suffix("_a").join(read_likelihoods(folder).add_suffix("_b"), how="inner")
    group_of = {row["id"]: row["group"] for row in read_jsonl(project / ASSIGNMENT)}
    a, b, labels = (both[column].to_numpy(float) for column in ("nll_a", "nll_b", "labels_a"))
    pairs = Paired(a, b, labels, both.index.map(group_of).to_numpy(str))
    [claim] = make_claims([Question("better", "perplexity_ratio", compare_likelihoods(pairs, CONFIDENCE), len(both))], CONFIDENCE)
    return claim


def retention_gate(project: Path, folder: Path) -> Outcome:
    """The project's own gate, or the default's where it has none, held against the run in `folder`."""
    gates = [gate for gate in read_params_of(project)["report"]["gates"] if gate["metric"] == DEFAULT_GATE["metric"]]
    scores = read_json(folder / SCORES)
    return check_gate(Gate(**(gates or [DEFAULT_GATE])[0]), scores["comparison"], scores["reasons"])


def describe(claim: Claim) -> str:
    word = {"less": "better", "more": "worse"}.get(claim["verdict"], "can't tell")
    if claim["estimate"] is None or claim["low"] is None or claim["high"] is None:
        return f"{word} ({claim['reason']})"
    return f"{word}, perplexity {claim['estimate']:.3f} times the run's ({claim['low']:.3f} to {claim['high']:.3f})"


def tell_gate(outcome: Outcome) -> str:
    found = outcome["reason"] if outcome["value"] is None else f"{outcome['key']} {outcome['value']:.3f}"
    return f"{'passes' if outcome['passed'] else 'fails'} ({found}, {outcome['bound']})"


def control_replies(project: Path, work: Path, seeds: range) -> bool:
    """Whether each run on shuffled replies is called worse."""
    seen = 0
    for seed in seeds:
        folder = work / f"shuffled-{seed}"
        run_again(project, folder, {"seed": seed}, shuffled_by=seed)
        claim = compare_runs(project, folder)
        seen += claim["verdict"] == "more"
        print(f"replies shuffled, seed {seed}: {describe(claim)}", flush=True)
        shutil.rmtree(folder)
    print(f"called worse: {seen} of {len(seeds)}")
    return seen == len(seeds)


def control_learning_rate(project: Path, work: Path) -> bool:
    """Whether the gate on retention fails at ten times the learning rate alone."""
    rate = read_params_of(project)["train"]["learning_rate"]
    run_again(project, work / "tenfold", {"learning_rate": 10 * rate})
    once, tenfold = (retention_gate(project, folder) for folder in (project, work / "tenfold"))
    print(f"learning rate {rate:g}: the gate {tell_gate(once)}; ten times as much: it {tell_gate(tenfold)}")
    return once["passed"] and not tenfold["passed"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.controls")
    parser.add_argument("--seeds", type=int, default=2, help="runs on shuffled replies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        project, work = Path.cwd(), Path(name)
        first = read_params_of(project)["train"]["seed"]
        seen = [
            control_replies(project, work, range(first, first + given.seeds)),
            control_learning_rate(project, work),
        ]
    sys.exit(0 if all(seen) else 1)


if __name__ == "__main__":
    main()
