"""What collect advises works on the very file that caused the advice; test_preview_remedies.py sees that none is left out."""

import gzip
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from collect_advice import CASES, JSONL, PAIRS, SPAM, TABLE, Case, complaints, lines, read
from conftest import REPO, tiny_params

from stages.collect import __main__ as collect
from stages.collect import files
from stages.collect.raw_conversation import RawConversation
from stages.lib.core.errors import ReprotuneError


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("project/data/raw", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copytree(REPO / "requirements", tmp_path / "project/requirements")
    monkeypatch.chdir(tmp_path / "project")


@pytest.mark.parametrize("case", CASES, ids=[case.advice.strip() for case in CASES])
def test_what_collect_advises_reads_the_file(case: Case) -> None:
    Path(case.name).write_bytes(case.content)
    source = {"path": case.name, **case.source}
    assert any(case.advice in one for one in complaints(**source)), complaints(**source)
    source |= case.then
    if case.mended is not None or not Path(source["path"]).exists():
        Path(source["path"]).write_bytes(case.content if case.mended is None else case.mended)
    rows = read(**source)
    assert any(isinstance(row, RawConversation) for row in rows)
    assert [one for one in complaints(**source) if case.advice in one] == []


def test_what_holds_too_much_can_be_unpacked_by_hand_and_written_without_compression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FREE_EXPANSION", 2000)
    monkeypatch.setattr(files, "MOST_EXPANSION", 2)
    long = b"question,answer\n" + b"q,a\n" * 2000
    Path("raw.csv.gz").write_bytes(gzip.compress(long))
    Path("raw.csv").write_bytes(long)
    assert "unpack it by hand if it is meant" in complaints(**TABLE, path="raw.csv.gz")[0]
    assert len(read(**TABLE, path="raw.csv")) == 2000
    table = pa.table({name: [f"{number % 3} {'x' * 50}" for number in range(2000)] for name in ("question", "answer")})
    options = {"use_dictionary": False}
    pq.write_table(table, "raw.parquet", compression="zstd", **options)
    source = {"format": "parquet", "columns": PAIRS, "path": "raw.parquet"}
    assert "write it without compression if it is meant" in complaints(**source)[0]
    pq.write_table(table, "raw.parquet", compression="none", **options)
    assert len(read(**source)) == 2000


def test_a_conversation_in_two_files_can_be_one_file_or_two_sources() -> None:
    one, other = lines({"id": 1, **SPAM}), lines({"id": 1, "prompt": "r", "completion": "b"})
    Path("data/raw/a.jsonl").write_bytes(one)
    Path("data/raw/b.jsonl").write_bytes(other)
    (reason,) = complaints(**JSONL, path="data/raw")
    assert "make one file of the two if it is one conversation, or else each file a source of its own" in reason
    assert [complaints(**JSONL, path=f"data/raw/{name}.jsonl") for name in "ab"] == [[], []]


def collect_with(**params: object) -> None:
    section = tiny_params()["collect"] | params
    Path("params.yaml").write_text(yaml.safe_dump({"collect": section}), encoding="utf-8")
    collect.main("s")


def test_what_stops_the_stage_is_left_out_or_kept_or_named_as_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/raw/s.jsonl").write_bytes(lines(SPAM | {"public": False}))
    source = JSONL | {"path": "data/raw/s.jsonl"}
    with pytest.raises(ReprotuneError, match=r"its `leave_out` leaves out all 1 of source 's'"):
        collect_with(sources={"s": source | {"leave_out": {"public": False}}})
    with pytest.raises(ReprotuneError, match=r"name one of other behind `python -m stages\.collect`"):
        collect_with(sources={"other": source})
    collect_with(sources={"s": source})
    assert capsys.readouterr().out == "collect s: 1 conversations read, 1 kept\n"
