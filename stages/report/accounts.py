"""Ledgers -> counts: where each source row went, and what the splits are like. Everything adds up:

rows read = conversations' rows + unreadable + over the limit + left out by the source; collected = kept + repaired + dropped;
messages of what is kept or repaired = those after cleaning + joined + left out;
kept + repaired = train + validation + test + left out, but for locked test rows that are no longer among them;
train = tokenised + left out of training.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from stages.lib.personal_data.kinds import MASKS
from stages.lib.records.assignment import AssignedRow
from stages.lib.records.cleaned import CleanedRow
from stages.lib.records.conversation import SPLITS
from stages.lib.records.tokenize_ledger import TokenizedRow

MESSAGES: tuple[Literal["messages", "messages_joined", "messages_left_out"], ...] = (
    "messages", "messages_joined", "messages_left_out",
)  # fmt: skip


def count_collected(sources: dict[str, dict[str, int]]) -> dict[str, int]:
    """Rows of all sources by what collect did with them."""
    rows: Counter[str] = Counter()
    for fates in sources.values():
        rows.update(fates)
    counts = {"rows_read": rows.total(), "rows_unreadable": rows["unreadable"], "rows_over_limit": rows["over_limit"]}
    return counts | ({"rows_left_out": rows["left_out"]} if rows["left_out"] else {})


def count_cleaned(ledger: Sequence[CleanedRow]) -> dict[str, int]:
    fates = Counter(row["fate"] for row in ledger)
    counts = {"collected": len(ledger), **{fate: fates[fate] for fate in ("kept", "repaired", "dropped")}}
    counts |= {name: sum(row[name] for row in ledger if row["fate"] != "dropped") for name in MESSAGES}
    counts |= prefixed("dropped", (row["reason"] for row in ledger if row["reason"]))
    for prefix, masks in (("repaired", False), ("masked", True)):
        counts |= prefixed(prefix, (step for row in ledger for step in row["repaired_by"] if (step in MASKS) == masks))
    if rejected := sum(row.get("rejected_left_out", 0) for row in ledger if row["fate"] != "dropped"):
        counts["rejected_left_out"] = rejected
    return counts | prefixed("tagged", (tag for row in ledger for tag in row["tags"]))


def prefixed(prefix: str, names: Iterable[str]) -> dict[str, int]:
    return {f"{prefix}_{name}": number for name, number in Counter(names).items()}


def count_split(assignment: Sequence[AssignedRow]) -> dict[str, int]:
    sizes: Counter[str] = Counter(row["split"] for row in assignment)
    return {name: sizes[name] for name in (*SPLITS, "left_out")}


def shares_of_strata(assignment: Sequence[AssignedRow]) -> pd.DataFrame:
    """One row a stratum: its share of all that is split (`whole`) and of each split, and its number of conversations."""
    table = pd.DataFrame(
        [(row["stratum"], row["split"]) for row in assignment if row["split"] in SPLITS], columns=["stratum", "split"]
    )
    counts = pd.crosstab(table["stratum"], table["split"]).reindex(columns=list(SPLITS), fill_value=0)
    shares = counts / counts.sum()
    shares.insert(0, "whole", counts.sum(axis=1) / counts.to_numpy().sum())
    shares["conversations"] = counts.sum(axis=1)
    return shares


def measure_balance(shares: pd.DataFrame) -> dict[str, float]:
    """Total variation distance of each split from the whole over the strata: the share of its rows in wrong ones."""
    return {f"imbalance_{split}": round(float((shares[split] - shares["whole"]).abs().sum() / 2), 4) for split in SPLITS}


def measure_nearness(assignment: Sequence[AssignedRow]) -> dict[str, float | None]:
    """How near train comes to the test rows: shares of these with a train row at so much Jaccard index, and n-grams known."""
    test = [row for row in assignment if row["split"] == "test"]
    similarities = np.array([row["nearest_similarity"] or 0 for row in test])
    covered = np.array([row["ngrams_in_train"] for row in test if row["ngrams_in_train"] is not None])
    return {
        "test_with_twin_at_50": round(float((similarities >= 0.5).mean()), 4),
        "test_with_twin_at_70": round(float((similarities >= 0.7).mean()), 4),
        "test_ngrams_in_train": round(float(covered.mean()), 4) if len(covered) else None,
        "test_mostly_in_train": round(float((covered >= 0.7).mean()), 4) if len(covered) else None,
    }


def count_tokenized(ledger: Sequence[TokenizedRow]) -> dict[str, float]:
    """Per split: examples, tokens, labels and their share; the median, the 95th percentile and the longest; what was left out.

    `repeated_tokens`, where there are any: those of `tokens` that it costs where a template renders a reply otherwise once it is
    past.
    """
    counts: dict[str, float] = {}
    for split in ("train", "validation"):
        rows = [row for row in ledger if row["split"] == split]
        tokens = np.array([row["tokens"] for row in rows if row["examples"]])
        counts |= {f"{split}_{total}": sum(row[total] for row in rows) for total in ("examples", "tokens", "labels")}
        counts[f"{split}_label_share"] = round(counts[f"{split}_labels"] / counts[f"{split}_tokens"], 4)
        counts |= {f"{split}_tokens_p{q}": int(np.quantile(tokens, q / 100, method="higher")) for q in (50, 95, 100)}
        fates = Counter(row["fate"] for row in rows)
        counts |= {f"{split}_{fate}": fates[fate] for fate in ("too_long", "cut", "template_misfit", "identical_replies")}
        if repeated := sum(row.get("repeated", 0) for row in rows):
            counts[f"{split}_repeated_tokens"] = repeated
        if fates["no_labels"]:
            counts[f"{split}_no_labels"] = fates["no_labels"]
    return counts


def fates_of_rows(
    sources: dict[str, dict[str, int]],
    cleaned: Sequence[CleanedRow],
    assignment: Sequence[AssignedRow],
    tokenized: Sequence[TokenizedRow],
) -> pd.DataFrame:
    """Where conversations ended, for the plot: (fate, conversations), in the order of the stages."""
    fates: Counter[str] = Counter()
    for name, number in count_collected(sources).items():
        if name != "rows_read" and number:
            fates[f"collect: {name}"] = number
    fates.update(f"clean: dropped, {row['reason']}" for row in cleaned if row["reason"])
    fates.update("split: left out" for row in assignment if row["split"] == "left_out")
    fates.update(f"tokenize: {row['fate']}" for row in tokenized if not row["examples"])
    trained = {row["id"] for row in tokenized if row["examples"]}
    fates.update(row["split"] for row in assignment if row["id"] in trained or row["split"] == "test")
    return pd.DataFrame([(fate.replace("_", " "), number) for fate, number in fates.items()], columns=["fate", "conversations"])
