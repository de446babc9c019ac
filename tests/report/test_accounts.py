"""Counts from ledgers: each one right on a ledger made by hand, and all of them adding up over a whole run."""

import math
from collections import Counter
from pathlib import Path

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from stages.lib.core.files import read_json, read_jsonl
from stages.report import accounts


def cleaned(id: str, reason: str | None = None, repaired_by: tuple = (), tags: tuple = ()) -> dict:
    fate = "dropped" if reason else "repaired" if repaired_by else "kept"
    row = {"id": id, "fate": fate, "reason": reason, "repaired_by": list(repaired_by), "tags": list(tags)}
    return row | {"duplicate_of": None, "similarity": None, "messages": 4, "messages_joined": 1, "messages_left_out": 0}


def assigned(id: str, split: str, stratum: str = "en", similarity: float | None = None, ngrams: float | None = None) -> dict:
    """Only test rows say how near train comes to them."""
    nearness = {"nearest_train": similarity and "a/0", "nearest_similarity": similarity, "ngrams_in_train": ngrams}
    return {"id": id, "split": split, "stratum": stratum, "group": id} | (nearness if split == "test" else {})


def tokenized(id: str, split: str = "train", fate: str = "kept", tokens: int = 10, labels: int = 4, examples: int = 1) -> dict:
    row = {"id": id, "split": split, "fate": fate, "detail": None, "tokens": tokens, "labels": labels, "examples": examples}
    return row if fate in ("kept", "cut") else row | {"tokens": 0, "labels": 0, "examples": 0}


# Collect


def test_source_rows_of_all_sources_are_counted():
    sources = {"a": {"collected": 4, "over_limit": 2}, "b": {"unreadable": 5}, "c": {"collected": 1, "unreadable": 1}}
    assert accounts.count_collected(sources) == {"rows_read": 13, "rows_unreadable": 6, "rows_over_limit": 2}


def test_what_did_not_happen_is_counted_as_none():
    assert accounts.count_collected({"a": {"collected": 3}}) == {"rows_read": 3, "rows_unreadable": 0, "rows_over_limit": 0}


# Clean


def test_fates_reasons_steps_and_tags_of_cleaning_are_counted():
    ledger = [
        cleaned("a"),
        cleaned("b", tags=("refusal",)),
        cleaned("c", repaired_by=("html", "whitespace"), tags=("refusal", "boilerplate")),
        cleaned("d", repaired_by=("whitespace",)),
        cleaned("e", "exact_duplicate"),
        cleaned("f", "exact_duplicate", repaired_by=("whitespace",)),
        cleaned("g", "near_duplicate"),
    ]
    assert accounts.count_cleaned(ledger) == {
        "collected": 7,
        "kept": 2,
        "repaired": 2,
        "dropped": 3,
        "messages": 16,
        "messages_joined": 4,
        "messages_left_out": 0,
        "dropped_exact_duplicate": 2,
        "dropped_near_duplicate": 1,
        "repaired_html": 1,
        "repaired_whitespace": 3,  # f was repaired too, before it was dropped
        "tagged_boilerplate": 1,
        "tagged_refusal": 2,
    }


def test_fates_without_rows_are_there_and_reasons_without_rows_are_not():
    assert accounts.count_cleaned([cleaned("a")]) == {
        "collected": 1,
        "kept": 1,
        "repaired": 0,
        "dropped": 0,
        "messages": 4,
        "messages_joined": 1,
        "messages_left_out": 0,
    }


# Split


def rows_in(stratum: str, **numbers: int) -> list[dict]:
    return [assigned(f"{stratum}{n}", split, stratum) for split, number in numbers.items() for n in range(number)]


def test_rows_of_each_split_and_those_left_out_are_counted():
    assignment = rows_in("a", train=5, validation=2, left_out=1)
    assert accounts.count_split(assignment) == {"train": 5, "validation": 2, "test": 0, "left_out": 1}


def test_shares_are_of_the_split_and_of_the_whole_without_what_is_left_out():
    assignment = (
        rows_in("a", train=6, validation=1, test=1, left_out=7) + rows_in("b", train=2, test=3) + rows_in("c", left_out=9)
    )
    shares = accounts.shares_of_strata(assignment)
    assert list(shares.index) == ["a", "b"]
    assert list(shares.columns) == ["whole", "train", "validation", "test", "conversations"]
    assert shares.loc["a"].tolist() == [8 / 13, 6 / 8, 1.0, 1 / 4, 8]
    assert shares.loc["b"].tolist() == [5 / 13, 2 / 8, 0.0, 3 / 4, 5]


def test_imbalance_is_the_share_of_a_splits_rows_in_wrong_strata():
    assignment = rows_in("a", train=6, validation=1, test=2) + rows_in("b", train=6, validation=1, test=2)
    shares = accounts.shares_of_strata(assignment + rows_in("c", validation=2))
    whole = {"a": 9 / 20, "b": 9 / 20, "c": 2 / 20}
    assert accounts.measure_balance(shares) == {
        "imbalance_train": 0.1,
        "imbalance_validation": round(((whole["a"] - 1 / 4) * 2 + (2 / 4 - whole["c"])) / 2, 4),
        "imbalance_test": 0.1,
    }


def test_splits_like_the_whole_are_in_balance_and_one_of_a_stratum_of_its_own_is_not():
    alike = rows_in("a", train=8, validation=1, test=1) + rows_in("b", train=16, validation=2, test=2)
    assert set(accounts.measure_balance(accounts.shares_of_strata(alike)).values()) == {0}
    apart = accounts.shares_of_strata(rows_in("a", train=90, validation=9) + rows_in("b", test=1))
    assert accounts.measure_balance(apart) == {"imbalance_train": 0.01, "imbalance_validation": 0.01, "imbalance_test": 0.99}


def test_one_stratum_for_all_is_in_balance():
    shares = accounts.shares_of_strata(rows_in("", train=8, validation=1, test=1))
    assert shares.index.tolist() == [""]
    assert accounts.measure_balance(shares) == {f"imbalance_{split}": 0 for split in accounts.SPLITS}


def test_nearness_counts_test_rows_from_each_threshold_on():
    near = [(0.4999, 0.6999), (0.5, 0.7), (0.6999, None), (0.7, 1.0), (1.0, 0.0), (None, None), (None, 0.5), (None, 0.1)]
    assignment = [assigned(f"t{n}", "test", "en", *values) for n, values in enumerate(near)] + rows_in("en", train=50)
    shares = [ngrams for _, ngrams in near if ngrams is not None]
    assert accounts.measure_nearness(assignment) == {
        "test_with_twin_at_50": 0.5,
        "test_with_twin_at_70": 0.25,
        "test_ngrams_in_train": round(sum(shares) / 6, 4),
        "test_mostly_in_train": round(2 / 6, 4),
    }


def test_nearness_of_texts_too_short_for_n_grams_is_not_known():
    nearness = accounts.measure_nearness([assigned("t", "test"), assigned("u", "train")])
    assert nearness == {
        "test_with_twin_at_50": 0,
        "test_with_twin_at_70": 0,
        "test_ngrams_in_train": None,
        "test_mostly_in_train": None,
    }


# Tokenize


def test_tokens_labels_and_fates_of_each_split_are_counted():
    ledger = [tokenized(f"t{n}", tokens=10 * n, labels=n) for n in range(1, 21)]
    ledger += [tokenized(f"x{n}", fate="identical_replies") for n in range(4)]
    ledger += [tokenized("l0", fate="too_long"), tokenized("l1", fate="too_long"), tokenized("m", fate="template_misfit")]
    ledger += [tokenized("c", fate="cut", tokens=1000, labels=90, examples=3)]
    ledger += [tokenized("v", "validation", tokens=7, labels=3), tokenized("w", "validation", fate="too_long")]
    counts = accounts.count_tokenized(ledger)
    assert {key: value for key, value in counts.items() if key.startswith("train")} == {
        "train_examples": 23,
        "train_tokens": 2100 + 1000,
        "train_labels": 210 + 90,
        "train_label_share": round(300 / 3100, 4),
        "train_tokens_p50": 110,  # of the 21 conversations that gave examples
        "train_tokens_p95": 200,
        "train_tokens_p100": 1000,
        "train_too_long": 2,
        "train_cut": 1,
        "train_template_misfit": 1,
        "train_identical_replies": 4,
    }
    assert {key: value for key, value in counts.items() if not key.startswith("train")} == {
        "validation_examples": 1,
        "validation_tokens": 7,
        "validation_labels": 3,
        "validation_label_share": round(3 / 7, 4),
        "validation_tokens_p50": 7,
        "validation_tokens_p95": 7,
        "validation_tokens_p100": 7,
        "validation_too_long": 1,
        "validation_cut": 0,
        "validation_template_misfit": 0,
        "validation_identical_replies": 0,
    }


def test_a_quantile_is_a_length_that_some_conversation_has():
    ledger = [tokenized("a", tokens=10), tokenized("b", tokens=20), tokenized("v", "validation")]
    assert accounts.count_tokenized(ledger)["train_tokens_p50"] == 20


# Fates


def test_every_conversation_ends_in_one_place_and_stages_come_in_order():
    fates = accounts.fates_of_rows(
        {"a": {"collected": 16, "over_limit": 1}, "b": {"unreadable": 5, "over_limit": 2}},
        [*(cleaned(id) for id in "abcdefg"), cleaned("h", "near_duplicate", repaired_by=("html",))],
        [
            assigned("a", "test"),
            assigned("b", "left_out"),
            assigned("c", "validation"),
            *(assigned(id, "train") for id in "defg"),
        ],
        [
            tokenized("c", "validation", fate="too_long"),
            tokenized("d", examples=3),
            tokenized("e", fate="cut"),
            tokenized("f", fate="identical_replies"),
            tokenized("g", fate="template_misfit"),
        ],
    )
    assert fates.to_numpy().tolist() == [
        ["collect: rows unreadable", 5],
        ["collect: rows over limit", 3],
        ["clean: dropped, near duplicate", 1],
        ["split: left out", 1],
        ["tokenize: too long", 1],
        ["tokenize: identical replies", 1],
        ["tokenize: template misfit", 1],
        ["test", 1],
        ["train", 2],
    ]
    assert list(fates.columns) == ["fate", "conversations"]


def test_where_nothing_was_left_out_the_splits_stand_alone():
    assignment = [assigned(split, split) for split in accounts.SPLITS]
    ledger = [tokenized("train"), tokenized("validation", "validation")]
    fates = accounts.fates_of_rows({"a": {"collected": 3}}, [cleaned(split) for split in accounts.SPLITS], assignment, ledger)
    assert fates.to_numpy().tolist() == [["train", 1], ["validation", 1], ["test", 1]]


# All of a run. One draw a conversation: its rows, where it ends, and what was done to it on the way.
ENDS = st.sampled_from(
    ["unreadable", "over_limit", "exact_duplicate", "refusal", "left_out", "test"]
    + [f"{split} {fate}" for split in ("train", "validation") for fate in ("kept", "cut", "too_long", "template_misfit")]
    + ["train identical_replies", "train no_labels", "validation no_labels"]
)
ROWS = st.tuples(ENDS, st.integers(1, 5), st.lists(st.sampled_from(["html", "roles"]), unique=True), st.sampled_from("abc"))
# One of each that the stages see to: no split is empty.
FIRST = [("train kept", 1, [], "a"), ("validation kept", 1, [], "a"), ("test", 1, [], "b")]


@given(rows=st.lists(ROWS, max_size=60).map(lambda rows: FIRST + rows))
def test_the_counts_of_a_run_add_up(rows: list[tuple[str, int, list[str], str]]):
    sources: dict[str, Counter] = {"a": Counter(), "b": Counter()}
    clean_ledger, assignment, tokenize_ledger = [], [], []
    for number, (end, size, steps, stratum) in enumerate(rows):
        source = "ab"[number % 2]
        id = f"{source}/{number}"
        sources[source][end if end in ("unreadable", "over_limit") else "collected"] += size
        if end in ("unreadable", "over_limit"):
            continue
        clean_ledger.append(cleaned(id, end if end in ("exact_duplicate", "refusal") else None, tuple(steps)))
        if end in ("exact_duplicate", "refusal"):
            continue
        split, _, fate = end.partition(" ")
        assignment.append(assigned(id, split, stratum))
        if fate:
            tokenize_ledger.append(tokenized(id, split, fate))
    counts = accounts.count_collected(sources) | accounts.count_cleaned(clean_ledger) | accounts.count_split(assignment)
    counts |= accounts.count_tokenized(tokenize_ledger)

    collected = sum(fates["collected"] for fates in sources.values())
    assert counts["rows_read"] == collected + counts["rows_unreadable"] + counts["rows_over_limit"]
    assert counts["collected"] == counts["kept"] + counts["repaired"] + counts["dropped"]
    assert counts["dropped"] == sum(count for key, count in counts.items() if key.startswith("dropped_"))
    splits = counts["train"] + counts["validation"] + counts["test"] + counts["left_out"]
    assert counts["kept"] + counts["repaired"] == splits
    fates = accounts.fates_of_rows(sources, clean_ledger, assignment, tokenize_ledger).set_index("fate")["conversations"]
    assert fates.sum() == counts["rows_unreadable"] + counts["rows_over_limit"] + counts["collected"]
    for split in ("train", "validation"):
        kinds = ("too_long", "template_misfit", "identical_replies", "no_labels")
        left_out = sum(counts.get(f"{split}_{fate}", 0) for fate in kinds)
        assert counts[split] == fates[split] + left_out
        assert counts[f"{split}_examples"] == fates[split]  # one example each here
    assert fates["test"] == counts["test"]

    shares = accounts.shares_of_strata(assignment)
    assert shares["conversations"].sum() == splits - counts["left_out"]
    assert all(math.isclose(shares[name].sum(), 1) for name in ("whole", *accounts.SPLITS))
    assert all(0 <= value <= 1 for value in accounts.measure_balance(shares).values())


def test_the_ledgers_of_a_run_add_up(finished_project: Path):
    ledgers = finished_project / "data/ledger"
    collect_rows = [row for path in sorted((ledgers / "collect").glob("*.jsonl")) for row in read_jsonl(path)]
    clean_rows, tokenize_rows = (read_jsonl(ledgers / name / "conversations.jsonl") for name in ("clean", "tokenize"))
    assignment = read_jsonl(finished_project / "data/split/assignment.jsonl")
    scored = pd.read_parquet(finished_project / "data/evaluation/examples.parquet")

    sources = read_json(ledgers / "clean/sources.json")
    counted = Counter()
    for row in collect_rows:
        counted[row["id"].partition("/")[0], row["fate"]] += row["rows"]
    assert {(source, fate): number for source, fates in sources.items() for fate, number in fates.items()} == counted

    def ids(rows: list[dict], key: str, *values: str) -> list[str]:
        return sorted(row["id"] for row in rows if row[key] in values)

    assert ids(collect_rows, "fate", "collected") == sorted(row["id"] for row in clean_rows)
    assert ids(clean_rows, "fate", "kept", "repaired") == sorted(row["id"] for row in assignment)
    assert ids(assignment, "split", "train", "validation") == sorted(row["id"] for row in tokenize_rows)
    for split in ("train", "validation"):
        assert ids(assignment, "split", split) == ids(tokenize_rows, "split", split)
    assert ids(assignment, "split", "test") == sorted(scored["id"])
    assert min(len(ids(assignment, "split", split)) for split in accounts.SPLITS) > 0
    fates = accounts.fates_of_rows(sources, clean_rows, assignment, tokenize_rows)
    left_out = sum(row["rows"] for row in collect_rows if row["fate"] != "collected")
    assert fates["conversations"].sum() == left_out + len(clean_rows)
