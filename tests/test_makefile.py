"""What the make targets would run; tests/test_readme.py runs them."""

import importlib
import re
import sys
import sysconfig
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml
from conftest import PINS, REPO, run
from packaging.requirements import Requirement


def would_run(*arguments: str) -> str:
    """The commands of a target whose environment does not exist yet."""
    return run(["make", "-n", "VENV=no-such-venv", *arguments], REPO).stdout


def test_run_installs_the_pins_and_runs_the_pipeline() -> None:
    commands = would_run("run")
    assert "requirements/install.py -r requirements.txt" in commands
    assert re.search(r"&& dvc repro$", commands, flags=re.MULTILINE)
    where_to_look = commands[commands.index("dvc repro") :]
    assert all(
        hint in where_to_look
        for hint in ("make chat", "metrics/report.html", "metrics/replies.md", "dvc metrics show", "dvc plots show")
    )
    assert "download.pytorch.org" not in commands


def test_the_cpu_build_is_the_pinned_version() -> None:
    [pin] = re.findall(
        r"^torch==.*", (REPO / "stages/lib/base_model/requirements.txt").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    commands = would_run("run", "TORCH=cpu")
    assert f"--index-url https://download.pytorch.org/whl/cpu {pin}\n" in commands
    assert commands.index("whl/cpu") < commands.index("-r requirements.txt")


@pytest.mark.parametrize(("target", "marks"), [("test", ["not slow"]), ("test-all", ["not slow", "slow or hypothesis"])])
def test_test_all_adds_the_slow_proofs_to_test(target: str, marks: list[str]) -> None:
    commands = re.findall(r"pytest (.*) -m \"?([a-z ]+?)\"?$", would_run(target), flags=re.MULTILINE)
    assert [mark for _, mark in commands] == marks
    measured = target == "test-all"  # and the slow ones never: it would double their time
    assert ["--cov " in options for options, _ in commands] == [measured, False][: len(marks)]
    assert ("coverage report --fail-under=95" in would_run(target)) == measured


def test_ci_types_what_a_person_types() -> None:
    """The workflow runs .ci/run, and that runs make's targets."""
    workflow = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step and not step["run"].startswith("git config")] == [".ci/run"]
    assert all(re.search("@[0-9a-f]{40}$", step["uses"]) for step in job["steps"] if "uses" in step)
    *_, targets = re.findall(r"^make (.*)$", (REPO / ".ci" / "run").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"lint", "test", "test-all", "hooks"} <= set(targets.split())
    assert would_run(*targets.split())


def test_an_old_python_is_refused_in_one_sentence(tmp_path) -> None:
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\n[ "$1" = -c ] && echo "error: Python 3.11 or newer is needed" >&2\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    done = run(["make", f"VENV={tmp_path}/venv", f"PYTHON={old}", "env"], REPO, check=False)
    assert done.returncode != 0
    assert "Python 3.11 or newer is needed" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("status", [0, 3])
def test_an_installation_shows_that_it_lives_and_ends_as_pip_does(
    status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Silence for minutes looks like a hang; pip's hundred lines hide the one that matters."""
    install = importlib.import_module("requirements.install")
    said = ["Collecting torch==2.13.0", "  Downloading torch-2.13.0.whl (200 MB)", "WARNING: Retrying", "no such version"]
    script = f"import sys, time; print({chr(10).join(said)!r}, flush=True); time.sleep(1); sys.exit({status})"
    monkeypatch.setattr(install, "PIP", [sys.executable, "-c", script])
    compiled = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
    monkeypatch.setattr(install, "COMPILE", [sys.executable, "-c", compiled, str(tmp_path / "compiled")])
    monkeypatch.setattr(install, "SECONDS", {True: 0.1, False: 0.1})
    monkeypatch.setattr(sys, "argv", ["install.py"])
    assert install.main() == status
    output, errors = capsys.readouterr()
    assert "s, downloading torch-2.13.0.whl" in output
    assert "WARNING: Retrying" in output
    assert ("environment: installed" in output) == (status == 0)
    assert ("no such version" in errors) == (status != 0)
    assert [path.read_text() for path in tmp_path.iterdir()] == ([sysconfig.get_paths()["purelib"]] if status == 0 else [])


def test_every_requirement_is_pinned_exactly() -> None:
    for path in PINS:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert re.fullmatch(r"#.*|-c constraints\.txt|[A-Za-z0-9._-]+(\[[a-z,]+\])?==[A-Za-z0-9.]+|", line), f"{path}: {line}"


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned_names() -> set[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PINS)
    return {canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, flags=re.MULTILINE)}


def test_constraints_pin_what_the_requirements_require_in_turn() -> None:
    """So that a new release of a dependency's dependency changes nothing."""
    pinned = pinned_names()
    waiting, seen = list(pinned), set()
    while waiting:
        name = waiting.pop()
        if name in seen or (name not in pinned and not list(distributions(name=name))):
            continue
        seen.add(name)
        for found in distributions(name=name):
            required = [Requirement(line) for line in found.requires or []]
            waiting += [canonical(one.name) for one in required if not one.marker or one.marker.evaluate({"extra": ""})]
    # PyTorch's CUDA build pins the packages that it brings; setuptools comes with some Pythons.
    assert {name for name in seen - pinned if not name.startswith(("nvidia-", "cuda-"))} <= {"setuptools", "triton"}
