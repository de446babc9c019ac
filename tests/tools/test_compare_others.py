"""Other models' replies and people's votes, of two runs beside each other."""

import contextlib
import json
from pathlib import Path

import pytest
from compare_project import NUMBER, commit, likely, make_repository, write_run
from conftest import run
from html_tree import read

from stages.lib.core.files import write_json
from tools.compare.__main__ import read_two
from tools.compare.comparison import compare
from tools.compare.others import compare_others
from tools.compare.page import render
from tools.compare.side_by_side.document import render_page


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_repository(tmp_path_factory.mktemp("others") / "project")
    write_run(folder, likely(0))
    commit(folder, "start")
    run(["git", "tag", "start"], folder)
    return folder


def other_model(chrf: float, replies: int = NUMBER) -> dict:
    counts = {"replies": replies, "missing": NUMBER - replies, "foreign": 0, "not_asked": 0, "scores": {"chrf": 40.0}}
    return counts | {"comparison": {"chrf_difference": chrf, "chrf_difference_low": chrf - 1, "chrf_difference_high": chrf + 1}}


def give(folder: Path, models: dict, votes: int | None, rate: float | None) -> None:
    write_json(folder / "metrics/contenders.json", models)
    figures = json.loads((folder / "metrics/comparison.json").read_text())
    ends = {"win_rate_low": rate and rate - 0.1, "win_rate_high": rate and rate + 0.1}
    write_json(folder / "metrics/comparison.json", figures | {"votes": votes, "win_rate": rate} | ends)


def test_other_models_and_votes_stand_with_the_values_of_both(repository: Path) -> None:
    for name, models, rate in (
        ("voted-a", {"last_year": other_model(1.0), "old": other_model(2.0)}, 0.5),
        ("voted-b", {"last_year": other_model(3.0), "new": other_model(2.0, 5)}, 0.7),
    ):
        run(["git", "checkout", "-q", "start"], repository)
        give(repository, models, 40, rate)
        commit(repository, name)
        run(["git", "tag", "-f", name], repository)
    run(["git", "checkout", "-q", "main"], repository)
    with contextlib.chdir(repository):
        a, b = read_two(["voted-a", "voted-b"], fetch=False)
        found = compare(a, b)
        [section] = [one for one in read(render_page(found, a, b)).all("section") if one.attributes["id"] == "others"]
        markdown = render(found)
    others = found["others"]
    [row] = others["models"]
    assert (row["name"], row["measure"], row["same"]) == ("last_year", "chrf_difference", True)
    assert (row["a"]["value"], row["b"]["value"], row["b"]["high"]) == (1, 3, 4)
    assert (others["only_a"], others["only_b"]) == (["old"], ["new"])
    votes = others["votes"]
    assert (votes["votes_a"], votes["votes_b"], votes["change"]["value"]) == (40, 40, pytest.approx(0.2))
    assert votes["change"]["low"] == pytest.approx(0.2 - 0.02**0.5)
    text = section.text()
    assert "last_year" in text
    assert "Only B has replies by new." in text
    assert "0.5 (0.4 – 0.6) of 40 votes" in text
    assert "| `last_year` | chrf difference | 1 (0 to 2) | 3 (2 to 4) |" in markdown
    assert "B's in 0.7 (0.6 to 0.8) of 40 votes (ties split), a difference of 0.2 (" in markdown
    differs = {**found["comparability"], "differences": [{"name": "test", "what": "", "a": None, "b": None}]}
    with contextlib.chdir(repository):
        assert compare_others(a, b, differs)["models"] == []
