"""The general prompts come with the repo, and a file of one's own is read or refused with its line."""

import contextlib
import json
from pathlib import Path

import pytest
from conftest import REPO

from stages.lib.core.errors import ReprotuneError
from stages.lib.general_prompts import read_prompts
from stages.lib.records.conversation import normalize
from stages.lib.records.predictions import Conditions, blank, predictions_of, write_predictions
from stages.predict.retention import read_base_replies


def test_the_repo_brings_32_english_and_32_chinese_prompts():
    prompts = read_prompts(REPO / "data/retention.jsonl")
    assert [prompt.language for prompt in prompts] == ["en"] * 32 + ["zh"] * 32
    assert all(prompt.id.startswith(f"{prompt.language}/") for prompt in prompts)
    assert len({normalize(prompt.prompt) for prompt in prompts}) == 64
    assert all((prompt.language == "en") == prompt.prompt.isascii() for prompt in prompts)


GOOD = {"id": "a", "language": "en", "prompt": "Why?"}


def read(folder: Path, *lines: str) -> list:
    (folder / "own.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return read_prompts(folder / "own.jsonl")


def test_a_file_may_hold_no_prompt_at_all(tmp_path: Path):
    assert read(tmp_path, "") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Why?", r"own\.jsonl:2: not JSON; expected"),
        (json.dumps(GOOD), r"own\.jsonl:2: the id 'a' stands twice; give each prompt its own"),
        (json.dumps({"id": "b", "language": "en"}), r"own\.jsonl:2: prompt: .* a row has id, language and prompt"),
        (json.dumps(GOOD | {"id": 7}), r"own\.jsonl:2: id: .* a row has id, language and prompt"),
        (json.dumps(GOOD | {"id": "b", "text": "x"}), r"own\.jsonl:2: .*unknown key text"),
        (json.dumps(GOOD | {"id": "b", "prompt": ""}), r"own\.jsonl:2: prompt: "),
        ("[]", r"own\.jsonl:2: the row: "),
    ],
)
def test_a_line_that_is_no_prompt_is_named(tmp_path: Path, line: str, message: str):
    with pytest.raises(ReprotuneError, match=message):
        read(tmp_path, json.dumps(GOOD), line)


def test_without_the_base_model_s_predictions_the_remedy_is_named(tmp_path: Path):
    with contextlib.chdir(tmp_path), pytest.raises(ReprotuneError, match="dvc repro predict@base"):
        read_base_replies("greedy")


def test_replies_of_another_engine_are_not_compared(tmp_path: Path):
    conditions = Conditions(
        environment={}, decoding="greedy/vllm-1.0", batch_size=1, max_new_tokens=1, task="dialogue", task_reason="", labels=[]
    )
    with contextlib.chdir(tmp_path):
        write_predictions(predictions_of("base"), [blank("retention", "a", 1) | {"reply_ids": [1, 2]}], conditions)
        assert read_base_replies("greedy/vllm-1.0") == {"a": [1, 2]}
        with pytest.raises(ReprotuneError, match=r"its decoding is greedy/vllm-1\.0, and here it is greedy; .*--force"):
            read_base_replies("greedy")
