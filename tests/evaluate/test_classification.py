"""Classification: figures that are scikit-learn's, replies that are no label, labels that nobody learned."""

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, log_loss

from stages.evaluate.classification import (
    Answers,
    calibration_error,
    class_key,
    classification_figures,
    confusion,
    probabilities,
    read_answers,
)

LABELS = ["card lost", "top up", "refund"]
RANDOM = np.random.default_rng(0)
ACTUAL = [LABELS[at] for at in RANDOM.integers(0, 3, 120)]
REPLIED = [LABELS[at] if at < 3 else "I am not sure" for at in RANDOM.integers(0, 4, 120)]
NLL = [dict(zip(LABELS, row, strict=True)) for row in RANDOM.exponential(2, (120, 3)).tolist()]
GROUPS = np.array([str(at) for at in range(120)])


def test_the_figures_are_scikit_learns() -> None:
    figures = classification_figures(read_answers(ACTUAL, REPLIED, NLL, LABELS), GROUPS, 0.95, True)
    assert figures["accuracy"] == pytest.approx(accuracy_score(ACTUAL, REPLIED), abs=1e-9)
    assert figures["macro_f1"] == pytest.approx(f1_score(ACTUAL, REPLIED, labels=LABELS, average="macro"), abs=1e-9)
    assert figures["invalid_reply"] == pytest.approx(REPLIED.count("I am not sure") / 120)
    shares = np.exp([[-row[label] for label in sorted(LABELS)] for row in NLL])
    shares /= shares.sum(axis=1, keepdims=True)
    assert figures["log_loss"] == pytest.approx(log_loss(ACTUAL, shares, labels=sorted(LABELS)), abs=1e-9)
    best = [min(row, key=row.__getitem__) for row in NLL]
    assert figures["likelihood_accuracy"] == pytest.approx(accuracy_score(ACTUAL, best), abs=1e-9)


def test_likelihoods_far_beyond_what_a_float_holds_still_give_probabilities() -> None:
    shares = probabilities(np.array([[5000.0, 5000.0, 9000.0], [0.0, math.inf, 800.0]]))
    assert shares == pytest.approx(np.array([[0.5, 0.5, 0], [1, 0, 0]]))


def test_the_calibration_error_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    assert calibration_error(np.array([0.95] * 4), np.array([True, True, True, False])) == pytest.approx(0.2)
    assert calibration_error(np.array([1.0, 0.55]), np.array([True, False])) == pytest.approx(0.275)


@pytest.mark.parametrize(
    ("reply", "same"), [("Top  UP.", True), ("top up。", True), ("top-up", False), ("topup", False), ("", False)]
)
def test_case_width_white_space_and_a_last_full_stop_make_no_other_label(reply: str, same: bool) -> None:
    assert (class_key(reply) == class_key("top up")) is same


def test_a_label_that_train_does_not_know_is_wrong_for_every_reply_but_itself_and_leaves_no_log_loss() -> None:
    answers = read_answers(["top up", "new"], ["top up", "refund"], NLL[:2], LABELS)
    assert (answers.actual.tolist(), answers.replied.tolist()) == ([1, 3], [1, 2])
    assert classification_figures(answers, GROUPS[:2], 0.95, True)["log_loss"] == "test has a label that train does not know"


@pytest.mark.parametrize("likelihoods", [[None, None], [NLL[0], None], []])
def test_without_the_likelihood_of_each_label_the_figures_say_so(likelihoods: list) -> None:
    figures = classification_figures(read_answers(ACTUAL[:2], REPLIED[:2], likelihoods, LABELS), GROUPS[:2], 0.95, True)
    assert figures["log_loss"] == figures["likelihood_accuracy_low"] == "predict gave no likelihood of each label"
    assert isinstance(figures["accuracy"], float)


def test_a_likelihood_that_is_no_number_leaves_no_figure() -> None:
    spoilt = [dict.fromkeys(LABELS, math.nan), NLL[1]]
    figures = classification_figures(read_answers(ACTUAL[:2], REPLIED[:2], spoilt, LABELS), GROUPS[:2], 0.95, True)
    assert figures["log_loss"] == "the likelihood of a label is no number"


def test_the_confusion_matrix_counts_what_is_no_label_too() -> None:
    answers = Answers(LABELS, np.array([0, 1, 1]), np.array([0, -1, 2]), None)
    assert confusion(answers).to_numpy().tolist() == [["card lost", "card lost"], ["top up", ""], ["top up", "refund"]]
