"""The general prompts with both models' replies, for people to read: in what order, and what is not there."""

import math
from pathlib import Path

import pandas as pd
import pytest
from evaluation import evaluate_folder, many

from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import RETENTION

PROMPTS = [{"id": f"en/{at}", "language": "en", "prompt": f"What is {at}?"} for at in range(4)]
COLUMNS = ["id", "language", "prompt", "base_reply", "tuned_reply", "change"]


def rows_of(losses: list[float | None], reply: str) -> list[dict]:
    blank = {"set": "retention", "turn": 1, "labels": 10, "unanswered": None, "unscored": None}
    return [blank | {"id": f"en/{at}", "nll": nll, "reply": f"{reply} {at}"} for at, nll in enumerate(losses)]


def test_the_least_retained_come_first_and_what_has_no_likelihood_last(tmp_path: Path) -> None:
    more = {"base": rows_of([10.0, None, 10.0], "base"), "tuned": rows_of([11.0, 9.0, 30.0], "tuned")}
    evaluate_folder(tmp_path, many(25), more=more, prompts=PROMPTS)
    table = pd.read_parquet(tmp_path / RETENTION)
    assert list(table.columns) == COLUMNS
    assert table["id"].tolist() == ["en/2", "en/0", "en/1"]  # predict was not given the fourth
    assert table["change"][:2].tolist() == pytest.approx([2.0, 0.1])
    assert math.isnan(table["change"][2])
    assert table.loc[0, ["prompt", "base_reply", "tuned_reply"]].tolist() == ["What is 2?", "base 2", "tuned 2"]


def test_where_there_are_no_general_prompts_the_table_is_empty(tmp_path: Path) -> None:
    evaluate_folder(tmp_path, many(25))
    assert pd.read_parquet(tmp_path / RETENTION).shape == (0, len(COLUMNS))


@pytest.mark.parametrize(
    "prompts", [[{"id": "en/0"}], [{"id": "en/0", "language": "en", "prompt": ""}], [PROMPTS[0], PROMPTS[0]]]
)
def test_prompts_broken_after_predict_are_named_by_their_line(prompts: list[dict], tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=rf"^retention\.jsonl:{len(prompts)}: "):
        evaluate_folder(tmp_path, many(25), prompts=prompts)
