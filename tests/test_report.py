"""What git tracks of a run: counts that add up, flat metrics, and no text of a source that report.show_text leaves out."""

import contextlib
import json
import math
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPO, tiny_params

from stages import clean, collect, evaluate, report, split, tokenize
from stages.lib.conversations import read_conversations, read_jsonl, write_jsonl
from stages.lib.predictions import FOLDER as PREDICTIONS
from stages.lib.predictions import SCHEMA
from stages.lib.tokenizer import TOKENIZER

METRICS = ("base", "comparison", "training", "tuned")
FILES = {f"{name}.json" for name in (*METRICS, "data", "reference", "signatures")} | {"replies.md"}
HISTORY = [
    {"step": 0, "validation_loss": 3.0},
    {"step": 1, "train_loss": 2.5, "learning_rate": 1e-4, "gradient_norm": 1.0, "validation_loss": 2.0},
    {"step": 2, "train_loss": 2.0, "learning_rate": 0.0, "gradient_norm": 1.0, "validation_loss": 2.25},
]


def write_sources(raw: Path) -> None:
    """Public pairs and secret chats, which all hold a word of their own; some rows to repair, drop and leave unscored."""
    raw.mkdir(parents=True)
    lines = ["question,answer,topic"]
    lines += [f"public question {number}?,public answer {number}.,{['travel', 'billing'][number % 2]}" for number in range(60)]
    lines += [
        "public question 0?,public answer 0.,travel",
        " public question 0?,public answer 0.,travel",
        "public nobody,,travel",
    ]
    (raw / "pairs.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    chats = []
    for number in range(60):
        secret = f"geheim{number} 秘密{number}"
        messages = [
            ("user", f"{secret} a"),
            ("assistant", f"{secret} b"),
            ("user", f"{secret} c\n\n{secret} d"),
            ("assistant", secret),
        ]
        chats.append({"id": number, "messages": [{"role": role, "content": text} for role, text in messages]})
    write_jsonl(raw / "chats.jsonl", chats)


def write_predictions(test: list[dict]) -> None:
    """Made-up predictions: the base model repeats the prompt, the tuned one the reference; three chats cannot be scored."""
    unscored = [row["id"] for row in test if row["id"].startswith("chats/")][:3]
    PREDICTIONS.mkdir(parents=True)
    for model, nll in (("base", 30.0), ("tuned", 10.0)):
        rows = []
        for row in test:
            message = row["messages"][0 if model == "base" else -1]
            one = {"nll": nll, "labels": 10, "reply": message["content"], "reply_tokens": 5, "stopped": True}
            if row["id"] in unscored:
                one = {"unscored": "messages[0] holds the special token <|im_end|>"}
            rows.append(dict.fromkeys(SCHEMA.names) | {"id": row["id"]} | one)
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), PREDICTIONS / f"{model}.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_model_folder: Path) -> Path:
    """A project after every stage but those that need a model; what these give is made up. Read it, never write."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(REPO / "requirements", folder / "requirements")
    shutil.copytree(tiny_model_folder, folder / TOKENIZER)
    write_sources(folder / "data/raw")
    params = tiny_params()
    params["tokenize"]["max_length"] = 96
    params["report"] |= {"show_text": ["pairs"], "replies": 100}
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with contextlib.chdir(folder):
        for name in params["collect"]["sources"]:
            collect.main(name)
        for stage in (clean, split, tokenize):
            stage.main()
        write_jsonl(report.LOSS_HISTORY, HISTORY)
        write_predictions(read_conversations(report.TEST))
        (folder / report.EXAMPLES).parent.mkdir(parents=True)
        evaluate.main()
    return folder


@pytest.fixture(scope="module")
def metrics(folder: Path) -> Path:
    """The metrics folder that the stage writes."""
    with contextlib.chdir(folder):
        report.main()
    return folder / report.METRICS


def read(metrics: Path, name: str) -> dict:
    return json.loads((metrics / f"{name}.json").read_text(encoding="utf-8"))


def test_the_stage_writes_the_files_that_dvc_yaml_declares_and_no_others(metrics: Path) -> None:
    stage = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]
    declared = {name for out in (*stage["outs"], *stage["metrics"]) for name in out}
    written = {str(path.relative_to(metrics.parent)) for path in metrics.rglob("*") if path.is_file()}
    assert written == declared
    assert {path.name for path in metrics.iterdir() if path.is_file()} == FILES


def test_every_collected_row_is_kept_repaired_or_dropped_and_has_its_reason(metrics: Path, folder: Path) -> None:
    data = read(metrics, "data")
    assert data["collected"] == 123 == data["kept"] + data["repaired"] + data["dropped"]
    reasons = {key: count for key, count in data.items() if key.startswith("dropped_")}
    assert sum(reasons.values()) == data["dropped"] == 3
    assert reasons["dropped_exact_duplicate"] == 2
    ledger = read_jsonl(folder / report.CLEAN_LEDGER)
    assert data["repaired"] == sum(row["fate"] == "repaired" for row in ledger)


def test_the_splits_add_up_to_what_was_kept(metrics: Path, folder: Path) -> None:
    data = read(metrics, "data")
    assert data["train"] + data["validation"] + data["test"] == data["kept"] + data["repaired"]
    assert (data["validation"], data["test"]) == (12, 12)
    assert data["groups"] == len({row["group"] for row in read_jsonl(folder / report.ASSIGNMENT)})


@pytest.mark.parametrize("name", ["train", "validation"])
def test_tokens_labels_and_fates_are_those_of_the_tokenised_rows(metrics: Path, folder: Path, name: str) -> None:
    data = read(metrics, "data")
    table = pq.read_table(folder / f"data/tokenized/{name}.parquet").to_pydict()
    assert data[f"{name}_examples"] == len(table["id"])
    assert data[f"{name}_tokens"] == sum(map(len, table["input_ids"]))
    assert data[f"{name}_labels"] == sum(label != -100 for labels in table["labels"] for label in labels)
    assert data[f"{name}_too_long"] == data[name] - len(set(table["id"]))
    assert data["train_too_long"] > 0


@pytest.mark.parametrize("name", [*METRICS, "data", "reference", "signatures"])
def test_a_metrics_file_is_flat_and_sorted(metrics: Path, name: str) -> None:
    text = (metrics / f"{name}.json").read_text(encoding="utf-8")
    values = json.loads(text)
    assert list(values) == sorted(values)
    assert text == json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    assert all(isinstance(value, str if name == "signatures" else int | float) for value in values.values())


@pytest.mark.parametrize("name", METRICS)
def test_dvc_shows_each_value_of_a_metrics_file(metrics: Path, name: str) -> None:
    from dvc.repo.metrics.show import _extract_metrics

    values = read(metrics, name)
    assert values
    assert _extract_metrics(values, name) == values


def test_the_scores_are_the_evaluations(metrics: Path, folder: Path) -> None:
    scores = json.loads((folder / report.SCORES).read_text(encoding="utf-8"))
    assert {name: read(metrics, name) for name in scores} == scores
    assert (read(metrics, "tuned")["perplexity"], read(metrics, "tuned")["unscored"]) == (pytest.approx(math.e), 3)


def test_the_losses_are_those_of_the_history(metrics: Path) -> None:
    assert read(metrics, "training") == {"steps": 2, "validation_loss_start": 3.0, "validation_loss": 2.25}
    assert (metrics / "plots/train_loss.csv").read_text(encoding="utf-8") == "step,loss\n1,2.5\n2,2.0\n"
    assert (metrics / "plots/validation_loss.csv").read_text(encoding="utf-8") == "step,loss\n0,3.0\n1,2.0\n2,2.25\n"


def test_the_plot_pools_labels_with_few_conversations_and_weighs_by_labels() -> None:
    examples = pd.DataFrame(
        {
            "label": ["a", "a", "b", "c", "c"],
            "base_unscored": [None, None, None, None, "too long"],
            "tuned_unscored": None,
            "base_nll": [1.0, 90.0, 4.0, 2.0, 99.0],
            "base_labels": [1, 10, 2, 1, 1],
            "tuned_nll": 0.0,
            "tuned_labels": 1,
        }
    )
    table = report.perplexity_by_label(examples, smallest=2)
    base = table[table["model"] == "base"].set_index("label")
    assert list(base.index) == ["a", "other"]
    assert list(base["conversations"]) == [2, 2]
    assert base["perplexity"]["a"] == pytest.approx(math.exp(91 / 11))
    assert base["perplexity"]["other"] == pytest.approx(math.exp(6 / 3))
    assert set(table[table["model"] == "tuned"]["perplexity"]) == {1.0}


def test_the_plot_counts_each_scored_conversation_once(metrics: Path) -> None:
    table = pd.read_csv(metrics / "plots/perplexity.csv")
    for _, part in table.groupby("model"):
        assert part["conversations"].sum() == read(metrics, "base")["conversations"]


# Texts


def test_no_text_of_a_source_that_is_not_shown_is_anywhere_in_metrics(metrics: Path) -> None:
    for path in metrics.rglob("*"):
        if path.is_file():
            content = path.read_text(encoding="utf-8")
            assert "geheim" not in content, path
            assert "秘密" not in content, path


def test_replies_show_the_texts_of_a_shown_source_and_only_the_ids_of_another(metrics: Path, folder: Path) -> None:
    sections = (metrics / "replies.md").read_text(encoding="utf-8").split("\n## ")[1:]
    test = {row["id"]: row["messages"] for row in read_conversations(folder / report.TEST)}
    assert sorted(section.splitlines()[0] for section in sections) == sorted(test)
    sources = Counter()
    for section in sections:
        id = section.splitlines()[0]
        sources[id.split("/")[0]] += 1
        if id.startswith("pairs/"):
            assert all(f"    {message['content']}" in section for message in test[id])
        else:
            assert section.strip() == f"{id}\n\n(text not shown: its source is not in report.show_text)"
    assert min(sources["pairs"], sources["chats"]) > 0


def examples_of(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / report.EXAMPLES)


def shown_row(folder: Path) -> pd.DataFrame:
    """One conversation whose source is shown."""
    examples = examples_of(folder)
    return examples[examples["id"].str.startswith("pairs/")].head(1)


def test_a_row_that_could_not_be_scored_has_no_replies_to_show(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    scored = shown_row(folder)
    unscored = scored.assign(base_reply=None, tuned_reply=None, base_unscored="too long", tuned_unscored="too long")
    pd.concat([scored, unscored]).to_parquet(tmp_path / "examples.parquet", index=False)
    text = report.render_replies(pd.read_parquet(tmp_path / "examples.parquet"), ["pairs"], 2)
    assert "**base**\n\n    (none)\n" in text
    assert "**tuned**\n\n    (none)\n" in text


@pytest.mark.parametrize(("number", "expected"), [(0, 0), (1, 1), (5, 5), (12, 12), (99, 12)])
def test_as_many_conversations_as_asked_are_shown_spread_over_the_test_set(
    folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: int
) -> None:
    monkeypatch.chdir(folder)
    examples = examples_of(folder)
    ids = [line[3:] for line in report.render_replies(examples, [], number).splitlines() if line.startswith("## ")]
    assert len(ids) == len(set(ids)) == expected
    if number == 5:
        assert ids != list(examples["id"][:5])


def test_a_text_stays_inside_its_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    text = report.render_replies(shown_row(folder).assign(base_reply="one\n\n## two\n```\n<script>"), ["pairs"], 1)
    assert "**base**\n\n    one\n\n    ## two\n    ```\n    <script>\n\n**tuned**" in text
