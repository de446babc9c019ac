"""The two tuned models on the same texts, conversation by conversation: what claims are made of."""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.claims import Paired
from stages.evaluate.comparison import NO_RETENTION, NO_TRAIN, Measured
from stages.evaluate.examples import sum_likelihoods
from stages.lib.records.assignment import ASSIGNMENT
from stages.lib.records.predictions import predictions_of
from stages.lib.records.scores import EXAMPLES, REPLIES
from tools.compare.run import Run

NONE = Paired(np.empty(0), np.empty(0), np.empty(0), np.empty(0, str))
Pairs = Paired | str  # or why there are none


class Both(NamedTuple):
    """`likelihoods`: NLL of a conversation, weighed by labels; `per_byte`: the same, weighed by bytes of text. The others as in
    `Measured`. Instead of each, why it is not there. `differing`: replies that only one of the two has.
    """

    likelihoods: Pairs
    per_byte: Pairs
    lengths: Pairs
    chrf: Pairs
    broken: Pairs
    right: Pairs
    retention: Pairs
    train: Pairs
    notes: list[str]

    def measured(self, task: Literal["dialogue", "classification"]) -> Measured:
        """For the questions that `stages.evaluate` asks of a base and a tuned model: here A and B."""

        def given(pairs: Pairs) -> Paired | None:
            return None if isinstance(pairs, str) else pairs

        return Measured(
            task, given(self.likelihoods) or NONE, given(self.lengths) or NONE, given(self.chrf) or NONE,
            given(self.broken) or NONE, given(self.right), None, None, given(self.retention), given(self.train),
        )  # fmt: skip


def pair_runs(a: Run, b: Run) -> Both:
    notes: list[str] = []
    likelihoods, per_byte = pair_likelihoods(a, b, notes)
    lengths, chrf, broken, right = pair_replies(a, b, notes)
    return Both(likelihoods, per_byte, lengths, chrf, broken, right, pair_retention(a, b), pair_train(a, b), notes)


def no_pairs(why: str) -> Both:
    return Both(why, why, why, why, why, why, why, why, [])


def missing_of(a: Run, b: Run, table: Path) -> str:
    lacks = " and ".join(name for name, run in (("A", a), ("B", b)) if table.as_posix() in run.missing)
    return f"{table} of {lacks} is out of reach"


def groups_of(both: pd.DataFrame) -> np.ndarray:
    """Groups of conversations in the run that ties more of them together: (N,)."""
    coarser = min(("group_a", "group_b"), key=lambda column: both[column].nunique())
    return both[coarser].to_numpy(str)


def pair_likelihoods(a: Run, b: Run, notes: list[str]) -> tuple[Pairs, Pairs]:
    """Of the conversations that both runs score with both of their models, as metrics/ does."""
    ours, theirs = a.examples, b.examples  # both are asked for before one is said to lack it
    if ours is None or theirs is None:
        reason = missing_of(a, b, EXAMPLES)
        return reason, reason
    both = ours.merge(theirs, on="id", suffixes=("_a", "_b"), validate="one_to_one").sort_values("id")
    scored = both[both[[f"{model}_unscored_{run}" for model in ("base", "tuned") for run in "ab"]].isna().all(axis=1)]
    if len(scored) < len(both):
        notes.append(f"{len(both) - len(scored):,} test conversations without a likelihood in one of the runs are left out.")
    nll = [scored[f"tuned_nll_{run}"].to_numpy(float) for run in "ab"]
    groups = groups_of(scored)
    per_byte = Paired(nll[0], nll[1], scored["reference_bytes_a"].to_numpy(float), groups)
    labels = [scored[f"tuned_labels_{run}"].to_numpy(float) for run in "ab"]
    if not np.array_equal(labels[0], labels[1]):
        return "the two models split the texts into different tokens", per_byte
    return Paired(nll[0], nll[1], labels[0], groups), per_byte


def join_replies(a: Run, b: Run) -> pd.DataFrame | None:
    """A row a reply that both runs wanted, in the order of the conversations."""
    ours, theirs = a.replies, b.replies
    if ours is None or theirs is None:
        return None
    return ours.merge(theirs, on=["id", "turn"], suffixes=("_a", "_b"), validate="one_to_one").sort_values(["id", "turn"])


def pair_replies(a: Run, b: Run, notes: list[str]) -> tuple[Pairs, Pairs, Pairs, Pairs]:
    """Lengths, chrF, broken (in classification, no label) and, in classification, right."""
    joined = join_replies(a, b)
    if joined is None or a.replies is None or b.replies is None:
        reason = missing_of(a, b, REPLIES)
        return reason, reason, reason, reason
    scored = joined[joined["tuned_chrf_a"].notna() & joined["tuned_chrf_b"].notna()]
    if alone := len(a.replies) + len(b.replies) - 2 * len(scored):
        notes.append(f"{alone:,} replies that only one of the runs has, or that lack a score, are left out.")
    groups, ones = groups_of(scored), np.ones(len(scored))

    def paired(column: str) -> Paired:
        return Paired(scored[f"tuned_{column}_a"].to_numpy(float), scored[f"tuned_{column}_b"].to_numpy(float), ones, groups)

    characters = [scored[f"tuned_reply_{run}"].map(len).to_numpy(float) for run in "ab"]
    lengths = Paired(characters[0], characters[1], ones, groups)
    if not (a.is_classification and b.is_classification):
        return lengths, paired("chrf"), paired("broken"), "the task is no classification"
    labels = sorted({*scored["reference_a"], *a.labels(), *b.labels()})
    right, invalid = (Paired(columns[0], columns[1], ones, groups) for columns in classify(scored, labels))
    return lengths, paired("chrf"), invalid, right


def classify(scored: pd.DataFrame, labels: list[str]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Right, and no label at all, of A and of B: 0 or 1, (N,) each."""
    from stages.evaluate.classification import read_answers

    answers = [read_answers(list(scored["reference_a"]), list(scored[f"tuned_reply_{run}"]), [], labels) for run in "ab"]
    right = [(one.replied == one.actual).astype(float) for one in answers]
    return right, [(one.replied < 0).astype(float) for one in answers]


def pair_retention(a: Run, b: Run) -> Pairs:
    """Of the same base model's same replies to general prompts; anything else is no measure of what was forgotten."""
    sides = [retained(run) for run in (a, b)]
    if any(side is None for side in sides):
        return missing_of(a, b, predictions_of("tuned"))
    ours, theirs = (side for side in sides if side is not None)
    if ours.empty and theirs.empty:
        return NO_RETENTION
    both = ours.merge(theirs, on="id", how="outer", suffixes=("_a", "_b"))
    if not both["said_a"].equals(both["said_b"]):
        return "the base models' replies to the general prompts differ"
    scored = both[both["unscored_a"].isna() & both["unscored_b"].isna()]
    return likelihoods_of(scored, scored["id"].to_numpy(str))


def likelihoods_of(both: pd.DataFrame, groups: np.ndarray) -> Paired:
    nll_a, nll_b, labels = (both[name].to_numpy(float) for name in ("nll_a", "nll_b", "labels_a"))
    return Paired(nll_a, nll_b, labels, groups)


def retained(run: Run) -> pd.DataFrame | None:
    """Of each general prompt: what the base model said, as token ids, and its likelihood under tuned."""
    tuned, base = run.predictions("tuned"), run.predictions("base")
    if tuned is None or base is None:
        return None
    said = base[base["set"] == "retention"].set_index("id")["reply_ids"].map(lambda ids: None if ids is None else tuple(ids))
    likelihoods = sum_likelihoods(tuned[tuned["set"] == "retention"])
    return likelihoods.join(said.rename("said"), how="inner").reset_index().sort_values("id", ignore_index=True)


def pair_train(a: Run, b: Run) -> Pairs:
    """Of the sample of training conversations whose likelihood both runs have; the two learned from the same ones."""
    tables = [run.predictions("tuned") for run in (a, b)]
    if any(table is None for table in tables):
        return missing_of(a, b, predictions_of("tuned"))
    ours, theirs = (sum_likelihoods(table[table["set"] == "train"]) for table in tables if table is not None)
    both = ours.merge(theirs, left_index=True, right_index=True, suffixes=("_a", "_b"))
    both = both[both["unscored_a"].isna() & both["unscored_b"].isna() & (both["labels_a"] == both["labels_b"])]
    if both.empty:
        return NO_TRAIN
    assigned = b.rows(ASSIGNMENT) or []
    group_of = {row["id"]: row["group"] for row in assigned}
    groups = np.array([group_of.get(str(id), str(id)) for id in both.index], str)
    return likelihoods_of(both, groups)
