"""The pages tell the truth in both languages: numbers, paths, settings; and every command in them runs."""

import functools
import json
import operator
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import REPO, environment

from stages.clean.params import CleanParams
from stages.collect.__main__ import CollectParams
from stages.lib.base_model.source import BaseModelParams
from stages.lib.core.params import Yaml12Loader
from stages.train.params import TrainParams

PAGES = {name: name.replace(".md", ".zh.md") for name in ("README.md", *(f"docs/{topic}.md" for topic in (
    "data", "training", "evaluation", "sharing", "ci", "migrate")), "CONTRIBUTING.md")}  # fmt: skip
EVERY_PAGE = [*PAGES, *PAGES.values()]
READMES = ["README.md", "README.zh.md"]
PARAMS = yaml.load((REPO / "params.yaml").read_text(encoding="utf-8"), Yaml12Loader)
# A run of minutes instead of a quarter of an hour; benchmarks/README.md has the whole one.
SHORTER = {
    "limit: null": "limit: 100", "max_steps: null": "max_steps: 2", "validations: 4": "validations: 1",
    "max_new_tokens: null": "max_new_tokens: 8",
}  # fmt: skip
PROMPTS = 4  # general ones


def read(name: str) -> str:
    return (REPO / name).read_text(encoding="utf-8")


def blocks(name: str, kind: str) -> list[str]:
    """The fenced code blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", read(name), flags=re.MULTILINE | re.DOTALL)


def without_blocks(name: str) -> str:
    return re.sub(r"^```.*?^```$", "", read(name), flags=re.MULTILINE | re.DOTALL)


def commands(name: str) -> list[str]:
    """The bash blocks without their comments."""
    return [re.sub(r"\s+#.*$", "", block, flags=re.MULTILINE) for block in blocks(name, "bash")]


def metric(file: str, name: str) -> float:
    """As committed: another machine's run, not committed, differs in the last digits."""
    shown = subprocess.run(["git", "show", f"HEAD:metrics/{file}.json"], cwd=REPO, capture_output=True, check=True)
    return functools.reduce(operator.getitem, name.split("."), json.loads(shown.stdout))


@pytest.mark.parametrize(("english", "chinese"), PAGES.items())
def test_both_languages_give_the_same_commands_settings_and_figures(english: str, chinese: str) -> None:
    assert commands(chinese) == commands(english)
    assert [yaml.safe_load(block) for block in blocks(chinese, "yaml")] == [
        yaml.safe_load(block) for block in blocks(english, "yaml")
    ]
    tables = ["\n".join(re.findall(r"^\|.*", read(name), flags=re.MULTILINE)) for name in (english, chinese)]
    numbers = [sorted(re.findall(r"\d[\d,.]*\d|\d", table)) for table in tables]
    assert numbers[0] == numbers[1]


@pytest.mark.parametrize("name", READMES)
def test_the_readme_is_read_in_some_minutes(name: str) -> None:
    assert len(read(name).splitlines()) <= 150


@pytest.mark.parametrize("name", PAGES.values())
def test_a_chinese_sentence_has_no_line_break_which_would_show_as_a_space(name: str) -> None:
    lines = without_blocks(name).splitlines()
    text = [bool(line) and not line.startswith(("|", "#", "-", "!")) and not re.match(r"\d+\. ", line) for line in lines]
    assert [line for line, one, two in zip(lines, text, text[1:], strict=False) if one and two] == []


@pytest.mark.skipif(list(PARAMS["collect"]["sources"]) != ["chatterbot_english"], reason="this repo is a user's own by now")
@pytest.mark.parametrize("name", READMES)
def test_the_numbers_are_those_of_the_committed_run(name: str) -> None:
    text = read(name)
    base, tuned = ([f"{metric(model, key):{form}}" for key, form in (
        ("perplexity", ".2f"), ("bits_per_byte", ".2f"), ("chrf", ".1f"), ("broken", ".0%"),
        ("reply_stopped", ".0%"), ("reply_characters", ".0f"))] for model in ("base", "tuned"))  # fmt: skip
    table = [[cell.strip() for cell in row.split("|")[1:-1]] for row in text.splitlines() if row.startswith("|")]
    scores = [row[1:] for row in table if len(row) == 3][2:]
    assert scores == [
        [base[0], f"**{tuned[0]}**"],
        [base[1], f"**{tuned[1]}**"],
        [base[2], f"**{tuned[2]}**"],
        [base[3], f"**{tuned[3]}**"],
        [base[4], f"**{tuned[4]}**"],
        [base[5], tuned[5]],
    ]
    for number in (
        f"{metric('floors', 'random.chrf'):.1f}",
        f"{metric('comparison', 'perplexity_ratio'):.2f}",
        f"{metric('comparison', 'perplexity_ratio_low'):.2f}",
        f"{metric('comparison', 'perplexity_ratio_high'):.2f}",
        f"{metric('data', 'collected'):,}",
        f"{metric('data', 'train')}",
        f"{metric('data', 'kept') + metric('data', 'repaired')}",
        f"{metric('tuned', 'conversations')}",
        f"{metric('details/reference', 'reply_characters'):.0f}",
    ):
        assert re.search(rf"(?<![\d.,]){re.escape(number)}(?![\d,]|\.\d)", text), number


def outs() -> set[str]:
    """What a run makes, by dvc.yaml; of a `foreach` the folder."""
    stages = [stage.get("do", stage) for stage in yaml.safe_load(read("dvc.yaml"))["stages"].values()]
    made = [one for stage in stages for one in stage["outs"] + stage.get("metrics", [])]
    return {(one if isinstance(one, str) else next(iter(one))).partition("/${")[0] for one in made}


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_links_lead_somewhere_and_paths_exist(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", read(name)):
        path = (REPO / name).parent / target if target else REPO / name
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), anchor
    for path in re.findall(r"`((?:stages|tools|tests|metrics|requirements|benchmarks|docs)/[\w./]*)`", read(name)):
        assert (REPO / path).exists() or path in outs(), path


def tree(name: str) -> dict[str, str]:
    """Path -> what the README's tree says of it."""
    [drawn] = [block for block in blocks(name, "") if "Makefile" in block]
    described, folder = {}, ""
    for line in drawn.splitlines():
        indented, paths, words = re.fullmatch(r"( *)(.*?\S) {2,}(\S.*)", re.sub(r"(?<=\S)  (?=\S+[./]\S* )", "\t", line)).groups()
        folder = folder if indented else paths if paths.endswith("/") else ""
        described |= {(folder if indented else "") + path: words for path in paths.split("\t")}
    return described


@pytest.mark.parametrize("name", READMES)
def test_the_tree_shows_the_repo(name: str) -> None:
    described = tree(name)
    for path in described:
        made = any(out == path.rstrip("/") or out.startswith(path) for out in outs())
        assert (REPO / path).is_dir() if path.endswith("/") and not made else made or (REPO / path).is_file(), path
    folders = {path.parent.name for path in (REPO / "stages").glob("*/__main__.py")} | {"lib"}
    assert {path.removeprefix("stages/").rstrip("/") for path in described if re.match("stages/.", path)} == folders
    tools = {path.stem for path in (REPO / "tools").iterdir() if not path.name.startswith(("_", "."))} - {"console"}
    assert tools == set(re.findall("[a-z_]{3,}", re.split("[:：]", described["tools/"])[1]))
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True).stdout.split()
    top = {path.partition("/")[0] for path in tracked if not path.startswith(".")}
    papers = {"README.md", "README.zh.md", "CONTRIBUTING.md", "CONTRIBUTING.zh.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    assert top - papers == {path.partition("/")[0] for path in described}


@pytest.mark.parametrize("name", EVERY_PAGE)
def test_every_param_named_exists(name: str) -> None:
    for section, key in re.findall(rf"\b({'|'.join(PARAMS)})\.([a-z_]+)\b", read(name)):
        assert key in PARAMS[section] or key in ("py", "json", "jsonl", "md", "html"), f"{section}.{key}"


@pytest.mark.parametrize("name", ["docs/training.md", "docs/training.zh.md"])
def test_the_table_of_names_has_each_param_of_train_and_is_right_about_the_libraries(name: str) -> None:
    import dataclasses

    from peft import LoraConfig
    from transformers import TrainingArguments

    rows = [re.findall(r"`([^`]+)`", row) for row in re.findall(r"^\| `.*", read(name), flags=re.MULTILINE)]
    names = {cell: row for row in rows for cell in row if cell in PARAMS["train"]}
    assert set(names) == set(PARAMS["train"])
    for library in (TrainingArguments, LoraConfig):
        fields = {field.name for field in dataclasses.fields(library)}
        same = [row for row in rows if row[0] in names and library.__name__ in row and row[0] in fields]
        assert len(same) == (2 if library is TrainingArguments else 1)
        assert all(cell in fields for row in same for cell in row if cell in names)


@pytest.mark.parametrize("name", ["docs/sharing.md", "docs/sharing.zh.md"])
def test_every_environment_variable_is_documented(name: str) -> None:
    code = [path.read_text(encoding="utf-8") for folder in ("stages", "tools") for path in (REPO / folder).rglob("*.py")]
    assert set(re.findall(r"REPROTUNE_[A-Z_]+", read(name))) == set(re.findall(r"REPROTUNE_[A-Z_]+", "".join(code)))


@pytest.mark.parametrize("name", ["docs/evaluation.md", "docs/evaluation.zh.md"])
def test_every_metric_is_explained(name: str) -> None:
    explained = re.findall(r"`([^`]+)`", re.sub(r"`_(?=low|high)", "`perplexity_ratio_", without_blocks(name)))
    files = [json.loads(read(f"metrics/{file}.json")) for file in ("base", "tuned", "comparison", "details/reference")]
    for values in (*files, *json.loads(read("metrics/floors.json")).values()):
        for key in values:
            assert key in explained or re.sub("_[a-z]{2,3}$", "_<language>", key) in explained, key


def test_the_settings_shown_are_accepted() -> None:
    pairs, others, names = (yaml.safe_load(block) for block in blocks("docs/data.md", "yaml"))
    CollectParams.model_validate({"limit": None, "bad_rows": "stop", "sources": pairs | others})
    CleanParams.model_validate(PARAMS["clean"] | names)
    model, experts = (yaml.safe_load(block) for block in blocks("docs/training.md", "yaml"))
    BaseModelParams.model_validate(model["base_model"])
    TrainParams.model_validate(PARAMS["train"] | experts["train"])


@pytest.mark.slow
def test_every_command_runs_in_a_fresh_clone(tmp_path: Path) -> None:
    """As typed, page by page, in one directory, on a run made shorter. The clone has no cache and installs for itself."""
    clone = tmp_path / "reprotune"
    subprocess.run(["git", "clone", "-q", str(REPO), str(clone)], check=True)
    subprocess.run(["git", "config", "user.name", "Test"], cwd=clone, check=True)
    subprocess.run(["git", "config", "user.email", "test@example.org"], cwd=clone, check=True)
    text = (clone / "params.yaml").read_text(encoding="utf-8")
    for whole, short in SHORTER.items():
        assert text.count(whole) == 1, whole
        text = text.replace(whole, short)
    (clone / "params.yaml").write_text(text, encoding="utf-8")
    prompts = clone / PARAMS["predict"]["retention"]
    prompts.write_text("".join(prompts.read_text(encoding="utf-8").splitlines(keepends=True)[:PROMPTS]), encoding="utf-8")
    subprocess.run(["git", "commit", "-qam", "A shorter run"], cwd=clone, check=True)
    pairs = blocks("docs/data.md", "yaml")[0]
    pages = [name for name in PAGES if name != "docs/migrate.md"]  # tests/test_migrate.py does that one
    for block in [block for name in pages for block in commands(name)]:
        if "dvc add data/raw/support.csv" in block:  # by now the reader has pasted the entry above
            text = (clone / "params.yaml").read_text(encoding="utf-8")
            assert "  sources:\n" in text
            (clone / "params.yaml").write_text(text.replace("  sources:\n", f"  sources:\n{pairs}"), encoding="utf-8")
        script = f"set -euo pipefail\n[ ! -d .venv ] || . .venv/bin/activate\n{block}"
        if "make lint test" in block:  # this is one of its tests; tests/test_makefile.py covers the target
            continue
        done = subprocess.run(
            ["bash", "-c", script], cwd=clone, input="Hello!\n", text=True, capture_output=True, check=False,
            env=environment(HF_HUB_OFFLINE="0", OMP_NUM_THREADS=str(os.cpu_count())),
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
