"""What git tracks of a run: counts that add up, flat metrics, and no text of a source that report.show_text leaves out."""

import contextlib
import json
import math
import re
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import REPO, tiny_params, write_params

from stages.evaluate import __main__ as evaluate
from stages.lib.base_model.pins import ADAPTER_PIN, AdapterPin, FileHash, write_pin
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_json, read_jsonl, write_json, write_jsonl
from stages.lib.core.params import read_params
from stages.lib.records import cleaned as records
from stages.lib.records import tokenize_ledger
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.lib.records.loss_history import ENVIRONMENT
from stages.lib.records.predictions import FOLDER as PREDICTIONS
from stages.lib.records.predictions import SCHEMA, blank
from stages.report import __main__ as report
from stages.report import accounts
from stages.report.gates import Gate, check_gate
from stages.report.names import shown_label
from stages.report.seeds import NOT_MEASURED, OTHER_RUN, SEEDS, adapter_hash

FLOORS = ("constant", "echo", "random")
SCORED = ("base", "comparison", "training", "tuned")
OTHERS = ("contenders", "data", "floors", "seeds")
FILES = {f"{name}.json" for name in (*SCORED, *OTHERS)} | {"replies.md", "examples.md", "report.html", "report.md"}
DETAILS = {f"{name}.json" for name in ("adapter", "claims", "comparability", "gates", "reasons", "reference", "signatures")} | {
    "languages.csv",
    "strata.csv",
}
HISTORY = [
    {"step": 0, "validation_loss": 3.0},
    {"step": 1, "train_loss": 2.5, "learning_rate": 1e-4, "gradient_norm": 1.0, "validation_loss": 2.0, "kept": True},
    {"step": 2, "train_loss": 2.0, "learning_rate": 0.0, "gradient_norm": 0.5, "validation_loss": 2.25},
]
GATE = {"groups": 110, "groups_too_large": 0, "largest_group": 3, "leaked": 0, "regrouped_group": 0, "regrouped_near": 4}
LABELS = {"pairs": ['billing, "late"', "travel"], "chats": [None, None, "Kunden <b>"]}
CONDITIONS = {
    "task": "dialogue", "task_reason": "many replies", "labels": [], "decoding": "greedy", "max_new_tokens": 40, "batch_size": 4,
    "environment": {"precision": "float32", "device": "cpu"},
}  # fmt: skip
DESCRIBED = SCHEMA.with_metadata({b"reprotune": json.dumps(CONDITIONS).encode()})


def converse(source: str, number: int) -> dict:
    """Public pairs and secret chats, which all hold a word of their own in each text."""
    word = "public" if source == "pairs" else f"geheim{number} 秘密{number}"
    texts = [f"{word} a{number}", f"{word} b"] if source == "pairs" else [f"{word} a", word, f"{word} c\n\n{word} d", f"{word} e"]
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(texts)]
    label = LABELS[source][number % len(LABELS[source])]
    return {"id": f"{source}/{number:02}", "label": label, "language": "en", "group": None, "messages": messages}


CONVERSATIONS = [converse(source, number) for source in ("chats", "pairs") for number in range(60)]


def split_of(conversation: dict) -> str:
    number = int(conversation["id"][-2:])
    return "left_out" if number == 59 else ["test", "validation", *["train"] * 8][number % 10]


def write_ledgers() -> None:
    """Of each source 60 conversations are read, and some more that clean or split leaves out; details quote texts."""
    write_json(records.SOURCES, {"chats": {"collected": 123, "unreadable": 2}, "pairs": {"collected": 63, "over_limit": 8}})
    plain = {"fate": "kept", "reason": None, "duplicate_of": None, "similarity": None, "repaired_by": [], "tags": []}
    plain |= {"messages": 2, "messages_joined": 0, "messages_left_out": 0}
    cleaned = [plain | {"id": row["id"]} for row in CONVERSATIONS]
    cleaned[0] |= {"fate": "repaired", "repaired_by": ["html", "whitespace"], "tags": ["refusal"]}
    dropped = {"fate": "dropped", "reason": "exact_duplicate", "duplicate_of": "pairs/01"}
    cleaned += [plain | dropped | {"id": f"{source}/more{number}"} for source in ("pairs", "chats") for number in range(3)]
    write_jsonl(records.LEDGER, cleaned)
    assignment = []
    for row in CONVERSATIONS:
        near = (
            {"nearest_train": "pairs/09", "nearest_similarity": 0.6, "ngrams_in_train": 0.25} if split_of(row) == "test" else {}
        )
        stratum = f"{row['label'] or ''} / en"
        assignment.append({"id": row["id"], "split": split_of(row), "stratum": stratum, "group": row["id"], **near})
    write_jsonl(report.ASSIGNMENT, assignment)
    write_json(report.GATE, GATE)
    for split in ("test", "train"):
        write_jsonl(conversations_of(split), [row for row in CONVERSATIONS if split_of(row) == split])
    write_json(Path("models/base.json"), {"files": {}, "tokenizer": {}})
    tokenized = []
    for row in CONVERSATIONS:
        if split_of(row) in ("train", "validation"):
            misfit = row["id"].endswith("7")
            detail = "messages[0] holds geheim" if misfit else None
            sizes = dict.fromkeys(["examples", "tokens", "labels"], 0) if misfit else {"examples": 1, "tokens": 20, "labels": 5}
            fate = "template_misfit" if misfit else "kept"
            tokenized.append({"id": row["id"], "split": split_of(row), "fate": fate, "detail": detail, **sizes})
    write_jsonl(tokenize_ledger.LEDGER, tokenized)
    rendered = []
    for row in CONVERSATIONS[2:4] + CONVERSATIONS[62:64]:
        texts = [message["content"] for message in row["messages"]]
        pieces = [{"labelled": at % 2 == 1, "text": f"<|im_start|>{text}<|im_end|>\n"} for at, text in enumerate(texts)]
        rendered.append({"id": row["id"], "pieces": pieces})
    write_jsonl(tokenize_ledger.RENDERED, rendered)


def write_predictions() -> None:
    """Made-up predictions: the base model repeats the prompt, the tuned one the reference; three chats cannot be scored."""
    test = read_conversations(conversations_of("test"))
    unscored = [row["id"] for row in test if row["id"].startswith("chats/")][:3]
    PREDICTIONS.mkdir(parents=True)
    for model, nll in (("base", 30.0), ("tuned", 10.0)):
        rows = []
        for row in test:
            message = row["messages"][0 if model == "base" else -1]
            one = {"nll": nll, "labels": 10, "reply": message["content"], "reply_tokens": 5, "stopped": True}
            if row["id"] in unscored:
                one = dict.fromkeys(("unscored", "unanswered"), "messages[0] holds geheim")
            rows.append(blank("test", row["id"], len(row["messages"]) - 1) | one)
        pq.write_table(pa.Table.from_pylist(rows, DESCRIBED), PREDICTIONS / f"{model}.parquet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after every stage; all but the scores is made up. Read it, never write."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(REPO / "requirements", folder / "requirements")
    params = tiny_params()
    params["report"] |= {"show_text": ["pairs"], "replies": 100, "strata": 3}
    write_params(folder, params)
    with contextlib.chdir(folder):
        write_json(SEEDS, {})
        Path("data").mkdir()
        Path("data/no_contenders.jsonl").write_text("\n", encoding="utf-8")
        Path("data/retention.jsonl").write_text("\n", encoding="utf-8")
        write_ledgers()
        write_jsonl(report.LOSS_HISTORY, HISTORY)
        write_json(ENVIRONMENT, {"device": "cpu", "packages": {"torch": "2.13.0"}})
        Path("data/votes.jsonl").touch()
        write_pin(ADAPTER_PIN, AdapterPin(files={"adapter_model.safetensors": FileHash(size=3, sha256="ab")}))
        write_predictions()
        (folder / report.EXAMPLES).parent.mkdir(parents=True)
        evaluate.main()
    return folder


@pytest.fixture(scope="module")
def metrics(folder: Path) -> Path:
    """The metrics folder that the stage writes."""
    with contextlib.chdir(folder):
        report.main()
    return folder / report.METRICS


def report_again(folder: Path, target: Path, **params: object) -> Path:
    """The metrics folder that the stage writes with other params."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("metrics"))
    with contextlib.chdir(target):
        write_json(SEEDS, {})
        written = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        write_params(target, written | {"report": written["report"] | params})
        report.main()
    return target / report.METRICS


def place(metrics: Path, name: str) -> Path:
    return (metrics / "details" if f"{name}.json" in DETAILS else metrics) / f"{name}.json"


def read(metrics: Path, name: str) -> dict:
    return json.loads(place(metrics, name).read_text(encoding="utf-8"))


def test_the_stage_writes_the_files_that_dvc_yaml_declares_and_no_others(metrics: Path) -> None:
    stage = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["report"]
    declared = {name for out in (*stage["outs"], *stage["metrics"]) for name in ([out] if isinstance(out, str) else out)}
    written = {str(path.relative_to(metrics.parent)) for path in metrics.iterdir()}
    assert written == declared | {str(SEEDS)}
    plots = yaml.safe_load((REPO / "dvc.yaml").read_text(encoding="utf-8"))["plots"]
    drawn = {path for plot in plots for options in plot.values() for path in options["y"]}
    assert drawn == {str(path.relative_to(metrics.parent)) for path in (metrics / "plots").iterdir()}
    assert {path.name for path in metrics.iterdir() if path.is_file()} == FILES
    assert {path.name for path in (metrics / "details").iterdir()} == DETAILS


# Counts


def test_the_counts_are_those_of_the_ledgers(metrics: Path) -> None:
    data = read(metrics, "data")
    assert (data["rows_read"], data["rows_unreadable"], data["rows_over_limit"]) == (196, 2, 8)
    assert (data["collected"], data["kept"], data["repaired"], data["dropped"]) == (126, 119, 1, 6)
    assert (data["dropped_exact_duplicate"], data["repaired_html"], data["tagged_refusal"]) == (6, 1, 1)
    assert (data["train"], data["validation"], data["test"], data["left_out"]) == (94, 12, 12, 2)
    assert (data["train_examples"], data["train_template_misfit"], data["validation_examples"]) == (82, 12, 12)
    assert (data["train_tokens"], data["train_labels"], data["train_label_share"]) == (1640, 410, 0.25)
    assert (data["train_tokens_p50"], data["train_too_long"], data["validation_identical_replies"]) == (20, 0, 0)
    assert (data["test_with_twin_at_50"], data["test_with_twin_at_70"], data["test_ngrams_in_train"]) == (1, 0, 0.25)
    assert {key: data[key] for key in GATE} == GATE


def test_no_count_hides_another_of_the_same_name(metrics: Path, folder: Path) -> None:
    with contextlib.chdir(folder):
        assignment = read_jsonl(report.ASSIGNMENT)
        parts = [
            accounts.count_collected(read_json(records.SOURCES)),
            accounts.count_cleaned(read_jsonl(records.LEDGER)),
            accounts.count_split(assignment),
            GATE,
            accounts.measure_balance(accounts.shares_of_strata(assignment)),
            accounts.measure_nearness(assignment),
            accounts.count_tokenized(read_jsonl(tokenize_ledger.LEDGER)),
        ]
    assert Counter(key for part in parts for key in part) == Counter(list(read(metrics, "data")))


def test_the_fates_account_for_every_conversation_that_was_read(metrics: Path) -> None:
    fates = pd.read_csv(metrics / "plots/fates.csv")
    assert fates.to_numpy().tolist() == [
        ["collect: rows unreadable", 2],
        ["collect: rows over limit", 8],
        ["clean: dropped, exact duplicate", 6],
        ["split: left out", 2],
        ["tokenize: template misfit", 12],
        ["test", 12],
        ["validation", 12],
        ["train", 82],
    ]
    assert fates["conversations"].sum() == 2 + 8 + read(metrics, "data")["collected"]


def test_the_plot_of_the_balance_has_the_largest_strata_each_with_its_share_of_each_split(metrics: Path, folder: Path) -> None:
    table = pd.read_csv(metrics / "plots/balance.csv")
    assert list(table.columns) == ["stratum", "conversations", "split", "share"]
    strata = [" / en", 'billing, "late" / en', "travel / en"]  # 40 chats, 30 pairs each; two of them are left out
    assert table["stratum"].tolist() == strata * 4
    assert table["conversations"].tolist() == [40, 30, 29] * 4
    assert table["split"].tolist() == [split for split in ("whole", "train", "validation", "test") for _ in strata]
    shares = accounts.shares_of_strata(read_jsonl(folder / report.ASSIGNMENT))
    for row in table.itertuples():
        assert row.share == pytest.approx(shares.loc[row.stratum, row.split])
    assert table["share"][:3].tolist() == pytest.approx([40 / 118, 30 / 118, 29 / 118])


def test_strata_as_large_as_one_another_come_in_the_order_of_their_names(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "project", ignore=shutil.ignore_patterns("metrics"))
    with contextlib.chdir(tmp_path / "project"):
        sizes = {"d": 3, "b": 3, "c": 4, "a": 3}
        rows = [
            {
                "id": f"{stratum}{n}",
                "split": ["train", "validation", "test"][n % 3],
                "stratum": stratum,
                "nearest_similarity": None,
            }
            for stratum, size in sizes.items()
            for n in range(size)
        ]
        write_jsonl(report.ASSIGNMENT, [row | {"ngrams_in_train": None} for row in rows])
        report.report_data(read_params("report", report.ReportParams))
        assert pd.read_csv(report.PLOTS / "balance.csv")["stratum"].tolist() == ["c", "a", "b"] * 4


@pytest.mark.parametrize("value", [0, -1, None, 2.5])
def test_a_number_of_strata_below_one_is_an_error(tmp_path: Path, value: object) -> None:
    params = {"report": {"show_text": [], "replies": 1, "smallest_label": 1, "strata": value}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"report\.strata: found"):
        read_params("report", report.ReportParams, tmp_path / "params.yaml")


# Metrics files


@pytest.mark.parametrize("name", [*SCORED, "data", "reference", "signatures"])
def test_a_metrics_file_is_flat_and_sorted(metrics: Path, name: str) -> None:
    text = place(metrics, name).read_text(encoding="utf-8")
    values = json.loads(text)
    assert list(values) == sorted(values)
    assert text == json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    reasons = read(metrics, "reasons")
    for key, value in values.items():
        assert isinstance(value, str if name == "signatures" else int | float) or reasons[f"{name}.{key}"]


def test_the_floors_stand_in_one_file_with_the_reasons_of_what_is_null(metrics: Path) -> None:
    floors, reasons = read(metrics, "floors"), read(metrics, "reasons")
    assert set(floors) == set(FLOORS)
    null = {f"floors.{floor}.{key}" for floor, scores in floors.items() for key, value in scores.items() if value is None}
    assert null == {key for key in reasons if key.startswith("floor")}
    assert null
    assert check_gate(Gate(metric="floors.echo.chrf", above=0), floors, reasons)["value"] == floors["echo"]["chrf"]
    unmeasured = check_gate(Gate(metric="floors.echo.embedding_similarity", above=0), floors, reasons)
    assert unmeasured["reason"] == reasons["floors.echo.embedding_similarity"]


@pytest.mark.parametrize("name", [*SCORED, "data"])
def test_dvc_shows_each_value_of_a_metrics_file(metrics: Path, name: str) -> None:
    from dvc.repo.metrics.show import _extract_metrics

    values = read(metrics, name)
    assert values
    assert _extract_metrics(values, name) == {key: value for key, value in values.items() if value is not None}


def test_the_scores_are_the_evaluations(metrics: Path, folder: Path) -> None:
    scores = json.loads((folder / report.SCORES).read_text(encoding="utf-8"))
    floors = {f"floor_{name}": values for name, values in read(metrics, "floors").items()}
    shown = {name: floors[name] if name in floors else read(metrics, name) for name in scores["contenders"]}
    assert shown == scores["contenders"]
    assert read(metrics, "comparison") == scores["comparison"]
    claims = read(metrics, "claims")
    assert all(claims[one["name"]].pop("sentence") for one in scores["claims"])
    assert claims == {one["name"]: one for one in scores["claims"]}
    assert (read(metrics, "tuned")["perplexity"], read(metrics, "tuned")["unscored"]) == (pytest.approx(math.e), 3)


def test_the_losses_are_those_of_the_history(metrics: Path) -> None:
    assert read(metrics, "training") == {
        "steps": 2,
        "kept_step": 1,
        "validation_loss_start": 3.0,
        "validation_loss": 2.0,
    }
    assert (metrics / "plots/learning_rate.csv").read_text(encoding="utf-8") == "step,learning_rate\n1,0.0001\n2,0.0\n"
    assert (metrics / "plots/gradient_norm.csv").read_text(encoding="utf-8") == "step,gradient_norm\n1,1.0\n2,0.5\n"
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
    assert list(base.index) == ["(other)", "a"]
    assert base["conversations"].to_dict() == {"a": 2, "(other)": 2}
    assert base["perplexity"]["a"] == pytest.approx(math.exp(91 / 11))
    assert base["perplexity"]["(other)"] == pytest.approx(math.exp(6 / 3))
    assert set(table[table["model"] == "tuned"]["perplexity"]) == {1.0}


def test_the_plot_counts_each_scored_conversation_once(metrics: Path) -> None:
    table = pd.read_csv(metrics / "plots/perplexity.csv")
    for _, part in table.groupby("model"):
        assert part["conversations"].sum() == read(metrics, "base")["conversations"]


def test_the_same_ledgers_give_the_same_bytes(metrics: Path, folder: Path, tmp_path: Path) -> None:
    again = report_again(folder, tmp_path / "project")
    for path in metrics.rglob("*"):
        if path.is_file():
            assert (again / path.relative_to(metrics)).read_bytes() == path.read_bytes()


# Texts


def words_found(folder: Path, *words: str) -> set[tuple[str, str]]:
    """(file, word) wherever one of the words stands."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return {(path.name, word) for path in files for word in words if word.encode() in path.read_bytes()}


def test_no_text_of_a_source_that_is_not_shown_is_anywhere_in_metrics(metrics: Path, folder: Path) -> None:
    assert len(words_found(folder / "data", "geheim", "秘密")) > 10
    assert not words_found(metrics, "geheim", "秘密")
    assert {name for name, _ in words_found(metrics, "public")} == {"replies.md", "examples.md", "report.html"}


@pytest.mark.parametrize("shown", [[], ["chat"], ["chats2", "Chats", "pairs"], ["chats/00", "*", ""]])
def test_a_source_is_shown_by_its_own_whole_name_alone(folder: Path, tmp_path: Path, shown: list[str]) -> None:
    metrics = report_again(folder, tmp_path / "project", show_text=shown)
    assert not words_found(metrics, "geheim", "秘密")
    assert bool(words_found(metrics, "public")) == ("pairs" in shown)


def test_ids_and_labels_are_shown_whatever_the_source(folder: Path, tmp_path: Path) -> None:
    metrics = report_again(folder, tmp_path / "project", show_text=[], strata=99, smallest_label=1)
    assert {name for name, _ in words_found(metrics, "chats/")} == {"replies.md", "examples.md", "report.html"}
    assert {name for name, _ in words_found(metrics, "Kunden ‹b›")} == {"balance.csv", "perplexity.csv", "report.html"}
    assert not words_found(metrics, "<b>")


def rename(folder: Path, ids: dict[str, str], labels: dict[str | None, str]) -> None:
    """Give the conversations of what the stages wrote other ids and labels."""
    for path in (folder / "data").rglob("*.jsonl"):
        if path.name in ("no_contenders.jsonl", "retention.jsonl"):
            continue
        rows = read_jsonl(path)
        for row in rows:
            row["id"] = ids.get(row["id"], row["id"])
            if "label" in row:
                row["label"] = labels.get(row["label"], row["label"])
            if "stratum" in row:
                label, rest = row["stratum"].rsplit(" / ", 1)
                row["stratum"] = f"{labels.get(label or None, label)} / {rest}"
        write_jsonl(path, rows)
    for path in (folder / PREDICTIONS).iterdir():
        table = pd.read_parquet(path)
        pq.write_table(pa.Table.from_pandas(table.assign(id=table["id"].replace(ids)), DESCRIBED, preserve_index=False), path)
    with contextlib.chdir(folder):
        evaluate.main()


NAMES = [
    "ann.lee@firm.io", "https://ann.lee:x@firm.io/", "call 13812345678", "ann.lee@firm.io / VIP", "138 / 1234 / 5678",
    "<script>alert(1)</script>", "</script><!--", '=HYPERLINK("https://evil.io")', "+cmd|' /C calc'!A0", "@SUM(1)", "-2+3",
    " =1+1", "＝1+1", "\t=1+1", "a\n=1+1",
]  # fmt: skip


@pytest.mark.parametrize("label", NAMES)
def test_a_label_is_neither_personal_nor_markup_nor_a_formula_in_any_file_that_git_tracks(
    folder: Path, tmp_path: Path, label: str
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, ignore=shutil.ignore_patterns("metrics"))
    rename(changed, {"chats/02": "chats/ann.lee@firm.io", "chats/00": "chats/13812345678"}, {None: label, "travel": label})
    metrics = report_again(changed, tmp_path / "project", strata=99, smallest_label=1)
    assert not words_found(metrics, "ann.lee", "13812345678", "1234 / 5678")
    for path in (metrics / "plots").iterdir():
        cells = pd.read_csv(path, dtype=str, keep_default_na=False).to_numpy().ravel().tolist()
        assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@", "＝")) or set("<\t\n") & set(cell)]
    assert [id for id in sections(metrics / "replies.md") if re.fullmatch("chats/[0-9a-f]{12}", id)]
    assert [id for id in sections(metrics / "examples.md") if re.fullmatch("chats/[0-9a-f]{12}", id)]


def test_a_personal_label_keeps_what_else_its_stratum_says(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "changed", ignore=shutil.ignore_patterns("metrics"))
    rename(tmp_path / "changed", {}, {'billing, "late"': "ann.lee@firm.io"})
    metrics = report_again(tmp_path / "changed", tmp_path / "project", strata=99, smallest_label=1)
    hashed = shown_label("ann.lee@firm.io")
    assert f"{hashed} / en" in set(pd.read_csv(metrics / "plots/balance.csv")["stratum"])
    assert hashed in set(pd.read_csv(metrics / "plots/perplexity.csv")["label"])


def test_a_language_that_is_personal_data_is_hashed_where_it_names_a_metric(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "changed", ignore=shutil.ignore_patterns("metrics"))
    with contextlib.chdir(tmp_path / "changed"):
        test = read_jsonl(conversations_of("test"))
        write_jsonl(conversations_of("test"), [row | {"language": "ann.lee@firm.io"} for row in test])
        evaluate.main()
    metrics = report_again(tmp_path / "changed", tmp_path / "project")
    assert not words_found(metrics, "ann.lee")
    assert len(read(metrics, "tuned")) == len(read(metrics, "base")) > 10


def sections(path: Path) -> dict[str, str]:
    """Id -> what stands under it."""
    parts = path.read_text(encoding="utf-8").split("\n## ")[1:]
    return {part.split("\n", 1)[0].strip("`"): part.split("\n", 1)[1] for part in parts}


def test_replies_show_the_texts_of_a_shown_source_and_only_the_ids_of_another(metrics: Path, folder: Path) -> None:
    test = {row["id"]: row["messages"] for row in read_conversations(folder / conversations_of("test"))}
    shown = sections(metrics / "replies.md")
    assert sorted(shown) == sorted(test)
    for id, section in shown.items():
        if id.startswith("pairs/"):
            assert all(f"    {message['content']}" in section for message in test[id])
        else:
            assert section.strip() == "(text not shown: its source is not in report.show_text)"
    assert Counter(id.split("/")[0] for id in shown) == {"pairs": 6, "chats": 6}


def test_examples_show_the_pieces_of_a_shown_source_and_only_the_ids_of_another(metrics: Path, folder: Path) -> None:
    rendered = {row["id"]: row["pieces"] for row in read_jsonl(folder / tokenize_ledger.RENDERED)}
    shown = sections(metrics / "examples.md")
    assert list(shown) == ["chats/02", "chats/03", "pairs/02", "pairs/03"] == list(rendered)
    for id, section in shown.items():
        if id.startswith("pairs/"):
            assert all(f"    {piece['text'].strip()}" in section for piece in rendered[id])
        else:
            assert section.strip() == "(text not shown: its source is not in report.show_text)"


# Other models


def test_another_model_stands_beside_base_and_tuned_with_how_much_of_it_there_is_and_none_of_its_text(
    folder: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed, ignore=shutil.ignore_patterns("metrics"))
    test = read_jsonl(changed / conversations_of("test"))
    write_jsonl(changed / "data/13812345678.jsonl", [{"id": row["id"], "reply": "geheim reply"} for row in test[:-2]])
    with contextlib.chdir(changed):
        params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
        params["evaluate"]["contenders"] = "data/13812345678.jsonl"
        write_params(changed, params)
        evaluate.main()
    metrics = report_again(changed, tmp_path / "project")
    [(name, one)] = read(metrics, "contenders").items()
    assert not words_found(metrics, "13812345678", "geheim reply")
    assert (one["replies"] + one["missing"], one["foreign"]) == (read(metrics, "tuned")["replies"], 0)
    assert set(one["comparison"]) >= {"chrf_difference", "chrf_difference_low", "broken_difference", "length_ratio"}
    said = (metrics / "report.md").read_text(encoding="utf-8")
    assert f"| {name} ({one['replies']} of {one['replies'] + one['missing']} replies) |" in said
    against = said.partition(f"## Against {name}")[2].partition("##")[0]
    assert "alone.\n\n|  | chrf | length ratio | distinct 2 | broken |" in against
    assert against.count("\n- ") == 3
    assert f"times as long as {name}'s" in against or "Too few to tell (length)" in against


# Seed noise


def test_the_report_says_the_seed_noise_of_a_run_that_was_measured_and_of_no_other(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "project"
    metrics = report_again(folder, target)
    assert NOT_MEASURED["en"] in (metrics / "report.md").read_text(encoding="utf-8")
    noise = {
        "seeds": [0, 1],
        "adapters": ["other", adapter_hash(read(metrics, "adapter"))],
        "comparability": read(metrics, "comparability"),
        "measures": {"log_perplexity_ratio": {"values": [-1.25, -1.0], "mean": -1.125, "standard_deviation": 0.177}},
    }
    measured = "Seed noise: with 2 seeds the log perplexity ratio lay between -1.25 and -1, standard deviation 0.18"
    for change, said in (({}, measured), ({"adapters": ["other"]}, OTHER_RUN["en"]), ({"comparability": {}}, OTHER_RUN["en"])):
        write_json(target / SEEDS, noise | change)
        with contextlib.chdir(target):
            report.main()
        assert said in (metrics / "report.md").read_text(encoding="utf-8")
