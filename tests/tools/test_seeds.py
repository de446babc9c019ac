"""Seed noise: several seeds, each run once, also after a kill; what would mix with the seeds stops the tool."""

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import copy_project, environment, run

from stages.lib.core.errors import ReprotuneError
from tools import seeds


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """With a params.yaml and a metrics/seeds.json, committed."""
    (tmp_path / "metrics").mkdir()
    for name in ("params.yaml", "metrics/seeds.json"):
        (tmp_path / name).write_text("{}\n", encoding="utf-8")
    run(["git", "init", "-q", "-b", "main"], tmp_path)
    run(["git", "add", "-A"], tmp_path)
    run(["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", "commit", "-qm", "start"], tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "stops"),
    [
        ("params.yaml", True),
        ("data/raw/new.csv.dvc", True),
        ("data/数据/新.csv.dvc", True),
        ("metrics/seeds.json", False),
        ("notes.txt", False),
    ],
)
def test_what_an_experiment_would_take_along_or_leave_behind_stops_it(repository: Path, changed: str, stops: bool) -> None:
    (repository / changed).parent.mkdir(parents=True, exist_ok=True)
    (repository / changed).write_text("changed: 1\n", encoding="utf-8")
    expected = pytest.raises(ReprotuneError, match=f"^{changed}: not as committed") if stops else contextlib.nullcontext()
    with contextlib.chdir(repository), expected:
        seeds.check_clean()


def test_ratios_are_gathered_as_logarithms_and_what_one_run_lacks_spoils_no_other() -> None:
    claims = [{"measure": "perplexity_ratio", "estimate": value} for value in (0.5, None, 2.0)]
    values = [seeds.value_of(claim) for claim in claims]
    assert values == [math.log(0.5), None, math.log(2)]
    spread = seeds.spread_of(values)
    assert (spread["mean"], spread["standard_deviation"]) == (0, pytest.approx(math.sqrt(2) * math.log(2)))
    assert seeds.spread_of([None, 1.0])["standard_deviation"] is None
    assert seeds.value_of({"measure": "chrf_difference", "estimate": -3.0}) == -3


def test_runs_that_were_measured_differently_are_not_pooled(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": {"test": "1", "tuned_device": "cpu"}, "b": {"test": "1", "tuned_device": "cuda"}}
    monkeypatch.setattr(seeds, "read_at", lambda revision, _path: files[revision])
    with pytest.raises(ReprotuneError, match=r"experiments seed-4 and seed-5 differ in tuned_device"):
        seeds.gather([4, 5], ["a", "b"])


def test_one_seed_has_no_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["seeds", "1"])
    with pytest.raises(ReprotuneError, match="1 seeds: expected 2 or more"):
        seeds.main()


def test_the_stages_run_in_this_python_also_where_its_environment_is_not_active(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DVC's place is taken by what it would start: `python`, found as a shell finds it."""
    found = tmp_path / "found"
    monkeypatch.setenv("PATH", os.defpath)
    monkeypatch.setattr(seeds, "find_run", lambda _seed: "revision")
    monkeypatch.setattr(seeds, "DVC", ["sh", "-c", f"command -v python > {found}"])
    assert seeds.run_seed(7) == "revision"
    assert Path(found.read_text().strip()).parent == Path(sys.executable).parent


def refs(folder: Path) -> list[str]:
    found = run(["git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"], folder).stdout.split()
    return sorted(name for name in found if name.startswith("seed-"))


@pytest.mark.slow
def test_seeds_run_once_each_also_after_a_kill_and_the_report_says_their_spread(
    finished_project: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    folder = copy_project(finished_project, tmp_path / "project")
    command = [sys.executable, "-m", "tools.seeds", "2"]
    killed = subprocess.Popen(command, cwd=folder, env=environment(), start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while refs(folder) != ["seed-0"] and killed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert refs(folder) == ["seed-0"]
    again = run(command, folder, **warm)
    assert "seed 1:" in again.stderr
    assert "seed 0:" not in again.stderr
    noise = json.loads((folder / "metrics/seeds.json").read_text(encoding="utf-8"))
    assert noise["seeds"] == [0, 1]
    assert len(set(noise["adapters"])) == 2
    values = noise["measures"]["log_perplexity_ratio"]["values"]
    comparison = json.loads((folder / "metrics/comparison.json").read_text(encoding="utf-8"))
    assert values[0] == pytest.approx(math.log(comparison["perplexity_ratio"]))
    assert values[1] != values[0]
    run(["dvc", "repro", "-q"], folder, **warm)
    assert "Seed noise: with 2 seeds the log perplexity ratio" in (folder / "metrics/report.md").read_text(encoding="utf-8")
    changed = {line[3:] for line in run(["git", "status", "--porcelain"], folder).stdout.splitlines()}
    assert changed == {"dvc.lock", "metrics/report.md", "metrics/seeds.json"}
    refused = run(command, folder, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: dvc.lock and 1 more files: not as committed")
