"""Gates: held against the bad end of an interval; what can't be computed fails; the tool's exit status says so."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import REPO, environment, tiny_params, write_params

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import write_json
from stages.lib.core.params import read_params
from stages.report.__main__ import ReportParams
from stages.report.gates import Gate, check_gate, check_gates, describe

VALUES = {"ratio": 0.9, "ratio_low": 0.8, "ratio_high": 1.1, "share": 0.5, "empty": None, "empty_high": None, "name": "text"}


@pytest.mark.parametrize(
    ("bound", "passed", "key"),
    [
        ({"below": 1.0}, False, "file.ratio_high"),
        ({"below": 1.2}, True, "file.ratio_high"),
        ({"at_most": 1.1}, True, "file.ratio_high"),
        ({"below": 1.1}, False, "file.ratio_high"),
        ({"above": 0.85}, False, "file.ratio_low"),
        ({"at_least": 0.8}, True, "file.ratio_low"),
    ],
)
def test_a_gate_looks_at_the_bad_end_of_the_interval(bound: dict, passed: bool, key: str) -> None:
    outcome = check_gate(Gate(metric="file.ratio", **bound), VALUES, {})
    assert (outcome["passed"], outcome["key"]) == (passed, key)


@pytest.mark.parametrize(
    ("metric", "values", "reason"),
    [
        ("file.empty", VALUES, "one group alone"),
        ("file.unknown", VALUES, "metrics/file.json has no unknown"),
        ("file.name", VALUES, "it is null"),
        ("file.ratio", None, "metrics/file.json has no ratio"),
    ],
)
def test_what_cannot_be_computed_fails_and_says_why(metric: str, values: dict | None, reason: str) -> None:
    outcome = check_gate(Gate(metric=metric, at_most=9e9), values, {"file.empty_high": "one group alone"})
    assert not outcome["passed"]
    assert describe(outcome) == f"fails: {metric} could not be computed: {reason}"


def test_without_an_interval_the_metric_itself_is_held_against_the_bound() -> None:
    assert check_gate(Gate(metric="file.share", at_most=0.5), VALUES, {})["passed"]


@pytest.mark.parametrize(
    ("gate", "problem"),
    [
        ({"metric": "tuned.runaway"}, "tuned.runaway needs one of below, at_most, above, at_least; found 0"),
        ({"metric": "tuned.runaway", "at_most": 1.0, "above": 0.0}, "found 2"),
        ({"metric": "runaway", "at_most": 1.0}, "report.gates.0.metric: found 'runaway'"),
        ({"metric": "tuned.runaway", "max": 1.0}, "unknown key max"),
    ],
)
def test_a_gate_without_a_metric_or_one_bound_is_an_error_of_params(tmp_path: Path, gate: dict, problem: str) -> None:
    params = tiny_params()["report"] | {"gates": [gate]}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"report": params}), encoding="utf-8")
    with pytest.raises(ReprotuneError) as caught:
        read_params("report", ReportParams, tmp_path / "params.yaml")
    assert problem in str(caught.value)


def test_the_tool_ends_with_one_where_a_gate_fails(tmp_path: Path) -> None:
    def run() -> subprocess.CompletedProcess[str]:
        code = f"import sys; sys.path.insert(0, {str(REPO)!r}); import runpy; runpy.run_module('tools.gate', run_name='__main__')"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
        )

    write_json(tmp_path / "metrics/tuned.json", VALUES)
    for limit, status in ((1.2, 0), (1.0, 1)):
        params = tiny_params()
        params["report"] |= {"gates": [{"metric": "tuned.ratio", "below": limit}]}
        write_params(tmp_path, params)
        done = run()
        assert done.returncode == status, done.stderr
        assert f"1 gate, {status} failed" in done.stdout
    with contextlib.chdir(tmp_path):
        assert check_gates([]) == []


def test_a_gate_may_name_a_key_inside_another() -> None:
    values = {"last_year": {"comparison": {"chrf_difference": 1.0, "chrf_difference_low": -3.0}}}
    outcome = check_gate(Gate(metric="contenders.last_year.comparison.chrf_difference", above=-2), values, {})
    assert (outcome["passed"], outcome["key"]) == (False, "contenders.last_year.comparison.chrf_difference_low")
    gone = check_gate(Gate(metric="contenders.hosted.comparison.chrf_difference", above=-2), values, {})
    assert gone["reason"] == "metrics/contenders.json has no hosted.comparison.chrf_difference"
