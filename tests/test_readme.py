"""Both READMEs tell the truth: numbers, paths, settings; and every command in them runs."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPO, environment

from stages.collect.__main__ import CollectParams
from stages.lib.base_model.source import BaseModelParams

READMES = ["README.md", "README.zh.md"]
PARAMS = yaml.safe_load((REPO / "params.yaml").read_text(encoding="utf-8"))


def blocks(name: str, kind: str) -> list[str]:
    """The fenced code blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", (REPO / name).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[str]:
    """The bash blocks without their comments."""
    return [re.sub(r"\s+#.*$", "", block, flags=re.MULTILINE) for block in blocks(name, "bash")]


def metric(file: str, name: str) -> float:
    """As committed: another machine's run, not committed, differs in the last digits."""
    shown = subprocess.run(["git", "show", f"HEAD:metrics/{file}.json"], cwd=REPO, capture_output=True, check=True)
    return json.loads(shown.stdout)[name]


def test_both_languages_give_the_same_commands_and_settings() -> None:
    assert commands("README.zh.md") == commands("README.md")
    settings = [[yaml.safe_load(block) for block in blocks(name, "yaml")] for name in READMES]
    assert settings[0] == settings[1]


@pytest.mark.skipif(list(PARAMS["collect"]["sources"]) != ["chatterbot_english"], reason="this repo is a user's own by now")
@pytest.mark.parametrize("name", READMES)
def test_the_numbers_are_those_of_the_committed_run(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    base, tuned = ([f"{metric(model, key):{form}}" for key, form in (
        ("perplexity", ".2f"), ("bits_per_byte", ".2f"), ("chrf", ".1f"), ("bleu_en", ".1f"), ("rouge_l_en", ".1f"),
        ("reply_stopped", ".0%"), ("reply_characters", ".0f"))] for model in ("base", "tuned"))  # fmt: skip
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    scores = [row[1:] for row in table if len(row) == 3][2:]
    assert scores == [
        [base[0], f"**{tuned[0]}**"],
        [base[1], f"**{tuned[1]}**"],
        [" / ".join(base[2:5]), f"**{' / '.join(tuned[2:5])}**"],
        [base[5], f"**{tuned[5]}**"],
        [base[6], tuned[6]],
    ]
    for number in (
        f"{metric('comparison', 'perplexity_ratio'):.2f}",
        f"{metric('comparison', 'perplexity_ratio_low'):.2f}",
        f"{metric('comparison', 'perplexity_ratio_high'):.2f}",
        f"{metric('data', 'collected'):,}",
        f"{metric('data', 'train')}",
        f"{metric('data', 'kept') + metric('data', 'repaired')}",
        f"{metric('tuned', 'conversations')}",
        f"{metric('reference', 'reply_characters'):.0f}",
    ):
        assert number in text, number


@pytest.mark.parametrize("name", READMES)
def test_links_and_the_tree_name_what_exists(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (REPO / target).exists(), target
    made = ("data/", "models/", ".base_models/")
    for path in re.findall(r"`((?:stages|tools|tests|metrics|requirements|benchmarks)/[\w./]*)`", text):
        assert path.startswith(made) or (REPO / path).exists() or path == "stages/", path


@pytest.mark.parametrize("name", READMES)
def test_every_param_named_exists(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    for section, key in re.findall(rf"\b({'|'.join(PARAMS)})\.([a-z_]+)\b", text):
        assert key in PARAMS[section] or key in ("py", "json", "jsonl"), f"{section}.{key}"


def test_the_settings_shown_are_accepted() -> None:
    pairs, others, model = (yaml.safe_load(block) for block in blocks("README.md", "yaml"))
    CollectParams.model_validate({"limit": None, "bad_rows": "stop", "sources": pairs | others})
    BaseModelParams.model_validate(model["base_model"])


@pytest.mark.slow
def test_every_command_runs_in_a_fresh_clone(tmp_path: Path) -> None:
    """As typed, in order, in one directory: some minutes. The clone has no cache and installs for itself."""
    clone = tmp_path / "reprotune"
    subprocess.run(["git", "clone", "-q", str(REPO), str(clone)], check=True)
    subprocess.run(["git", "config", "user.name", "Test"], cwd=clone, check=True)
    subprocess.run(["git", "config", "user.email", "test@example.org"], cwd=clone, check=True)
    pairs = blocks("README.md", "yaml")[0]
    for block in commands("README.md"):
        if "dvc add data/raw/support.csv" in block:  # by now the reader has pasted the entry above
            text = (clone / "params.yaml").read_text(encoding="utf-8")
            assert "  sources:\n" in text
            (clone / "params.yaml").write_text(text.replace("  sources:\n", f"  sources:\n{pairs}"), encoding="utf-8")
        script = f"set -euo pipefail\n[ ! -d .venv ] || . .venv/bin/activate\n{block}"
        if "make test" in block:  # this is one of its tests; tests/test_makefile.py covers the target
            continue
        done = subprocess.run(
            ["bash", "-c", script], cwd=clone, env=environment(HF_HUB_OFFLINE="0"), input="Hello!\n", text=True,
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        if "make run" in block:
            assert "tuned> " in done.stdout
            again = subprocess.run(["make", "run"], cwd=clone, env=environment(), text=True, capture_output=True, check=True)
            assert "Data and pipelines are up to date." in again.stdout
            changed = subprocess.run(
                ["git", "status", "--porcelain"], cwd=clone, text=True, capture_output=True, check=True
            ).stdout
            assert not [line for line in changed.splitlines() if "dvc.lock" not in line and "metrics/" not in line], changed
        if "dvc add" in block:
            assert "Running stage 'collect@support'" in done.stdout
            assert "Running stage 'collect@chatterbot_english'" not in done.stdout
    shutil.rmtree(clone)
