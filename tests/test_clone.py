"""A colleague's clone, without any data: what is changed there is computed with what depends on it, the rest is fetched."""

import json
from pathlib import Path

import pytest
from conftest import CHATML, run, tiny_params
from test_dag import AFTER, edit_params, ran

MORE = {"messages": [{"role": "user", "content": "What is new?"}, {"role": "assistant", "content": "This source is."}]}
MORE_SOURCES = tiny_params()["collect"]["sources"] | {"more": {"format": "jsonl", "path": "data/raw/more.jsonl"}}
FEWER_CHATS = tiny_params()["collect"]["sources"] | {"chats": tiny_params()["collect"]["sources"]["chats"] | {"limit": 20}}
COLONS = CHATML.replace("role }}\n", "role }}: ").replace("assistant\n", "assistant: ")
CHANGES = {  # of what in which section, and what has to run then
    "base_model": ("base_model", {"chat_template": COLONS}, AFTER["base_model"]),
    "sources": ("collect", {"sources": MORE_SOURCES}, {"sources", "collect@more"} | AFTER["clean"]),
    "collect": ("collect", {"sources": FEWER_CHATS}, {"sources", "collect@chats"} | AFTER["clean"]),
    "clean": ("clean", {"length_quantiles": [0.1, 0.9]}, AFTER["clean"]),
    "split": ("split", {"seed": 1}, AFTER["split"]),
    "tokenize": ("tokenize", {"max_length": 64}, AFTER["tokenize"]),
    "train": ("train", {"learning_rate": 0.01}, AFTER["train"]),
    "predict": ("predict", {"max_new_tokens": 5}, AFTER["predict@base"]),
    "evaluate": ("evaluate", {"confidence": 0.9}, AFTER["evaluate"]),
    "report": ("report", {"replies": 2}, AFTER["report"]),
}


def clone_of(pushed: Path, folder: Path) -> Path:
    run(["git", "clone", "-q", str(pushed), str(folder)], pushed)
    assert not (folder / "data" / "collected").exists()
    return folder


def change(folder: Path, stage: str) -> set[str]:
    """Change params; what has to run then."""
    section, values, following = CHANGES[stage]
    edit_params(folder, section, **values)
    (folder / "data" / "raw" / "more.jsonl").write_text(json.dumps(MORE) + "\n", encoding="utf-8")
    return following


def stale(folder: Path, warm: dict[str, str]) -> set[str]:
    """All that `tools.stale` names."""
    *lines, _ = run(["python", "-m", "tools.stale"], folder, check=False, **warm).stdout.splitlines()
    named = (line.partition(": ") for line in lines)
    return {name for first, _, rest in named for name in (rest.split(", ") if first == "after it" else [first])}


@pytest.mark.slow
@pytest.mark.parametrize("stage", CHANGES)
def test_a_changed_param_of_any_stage_computes_exactly_what_depends_on_it(
    pushed: Path, stage: str, warm: dict[str, str], tmp_path: Path
) -> None:
    clone = clone_of(pushed, tmp_path / "clone")
    assert stale(clone, warm) == set()
    expected = change(clone, stage)
    after_a_list_of_names_that_may_change = {"collect@pairs", "collect@chats"} if "sources" in expected else set()
    assert expected <= stale(clone, warm) <= expected | after_a_list_of_names_that_may_change
    assert set(ran(run(["dvc", "repro", "--pull"], clone, **warm).stdout)) == expected
    assert stale(clone, warm) == set()


@pytest.mark.slow
def test_what_was_collected_is_fetched_by_itself_where_little_is_wanted(
    pushed: Path, warm: dict[str, str], tmp_path: Path
) -> None:
    clone = clone_of(pushed, tmp_path / "clone")
    change(clone, "clean")
    run(["dvc", "pull", "-q", "collect"], clone, **warm)
    assert ran(run(["dvc", "repro", "--pull", "--allow-missing", "clean"], clone, **warm).stdout) == ["clean"]
    assert not (clone / "models" / "adapter").exists()
