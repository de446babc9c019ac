"""Looking at a file with the preview, and reading it as it says."""

import json
import sys

import pytest
import yaml
from pydantic import TypeAdapter

from stages.collect.__main__ import assign_ids
from stages.collect.conversations import read_source
from stages.collect.sources import Source
from tools.console import run_tool
from tools.preview import __main__ as preview


def look_at(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, list[list[dict]]]:
    """(what the preview prints, the messages as `collect` reads them with what it prints to paste), or its error alone."""
    monkeypatch.setattr(sys, "argv", ["preview", *arguments])
    try:
        run_tool(preview.main)
    except SystemExit as end:
        if isinstance(end.code, str):
            return " ".join(end.code.split()), []
    said = capsys.readouterr().out
    block = said.partition("under `collect.sources` in params.yaml:\n\n")[2].partition("\n\nand type")[0]
    if not block:
        return " ".join(said.split()), []
    [entry] = yaml.safe_load(block).values()
    collected, unreadable = assign_ids("s", read_source(TypeAdapter(Source).validate_python(entry)))
    assert [row for row in unreadable if row.fate == "unreadable"] == []
    return " ".join(said.split()), [json.loads(row.line)["messages"] for row in sorted(collected, key=lambda row: row.place)]
