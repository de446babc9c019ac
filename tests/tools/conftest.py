"""A project of params.yaml alone, in which a file is looked at."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from conftest import REPO
from looking import look_at


@pytest.fixture
def in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data/raw").mkdir(parents=True)
    shutil.copy(REPO / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """(what the command prints, the messages as `collect` reads them with what it prints to paste), or its error alone."""
    return partial(look_at, monkeypatch, capsys)
