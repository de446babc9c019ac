"""data/collected/*.jsonl -> data/cleaned.jsonl: repaired, masked, de-duplicated conversations, sorted by id.

In data/ledger/clean/, conversations.jsonl has one row for every collected conversation: kept, repaired (how) or dropped (why);
sources.json counts the rows that collect read.
"""

import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np
import orjson

from stages.clean.conversation import CleanedChunk, Verdict, clean_lines
from stages.clean.near_duplicates import find_originals
from stages.clean.params import CleanParams
from stages.lib import collected
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import read_json, read_lines, to_line, write_json, write_lines
from stages.lib.core.params import read_params
from stages.lib.core.requirements import check_installed
from stages.lib.processes import collect_garbage_seldom, in_chunks, map_chunks
from stages.lib.records.cleaned import CLEANED, FOLDER, LEDGER, SOURCES, CleanedRow
from stages.lib.similarity.shingles import Shingles, concatenate

ROWS_AT_ONCE = 1000


def find_length_outliers(verdicts: list[Verdict], quantiles: tuple[float, float]) -> set[int]:
    """Rows where what one side says is shorter or longer than the quantiles of its language. Characters, each side by itself."""
    outliers: set[int] = set()
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, verdict in enumerate(verdicts):
        if verdict.reason is None:
            rows_of[verdict.language].append(row)
    for rows in rows_of.values():
        for side in ("user_characters", "assistant_characters"):
            lengths = np.array([getattr(verdicts[row], side) for row in rows])
            low = np.quantile(lengths, quantiles[0], method="lower")
            high = np.quantile(lengths, quantiles[1], method="higher")
            outliers |= {row for row, length in zip(rows, lengths, strict=True) if not low <= length <= high}
    return outliers


def find_exact_duplicates(verdicts: list[Verdict], outliers: set[int]) -> dict[int, int]:
    """Row -> the first row with the same normalised messages."""
    first_of: dict[bytes, int] = {}
    duplicates = {}
    for row, verdict in enumerate(verdicts):
        if verdict.reason is None and row not in outliers:
            first = first_of.setdefault(verdict.key, row)
            if first != row:
                duplicates[row] = first
    return duplicates


def find_near_duplicates(shingles: Shingles, left: np.ndarray, threshold: float) -> dict[int, tuple[int, float]]:
    """Row -> (the earlier row that stays in its place, their Jaccard index), among the rows that are `left`."""
    originals = find_originals(shingles.take(left), threshold)
    return {int(left[row]): (int(left[original]), similarity) for row, (original, similarity) in originals.items()}


def ledger_row(verdict: Verdict, reason: str | None, duplicate_of: str | None, similarity: float | None) -> CleanedRow:
    row: CleanedRow = {
        "id": verdict.id,
        "fate": "dropped" if reason else "repaired" if verdict.repaired_by else "kept",
        "reason": reason,
        "duplicate_of": duplicate_of,
        "similarity": similarity,
        "repaired_by": verdict.repaired_by,
        "tags": verdict.tags,
        "messages": verdict.counts.messages,
        "messages_joined": verdict.counts.messages_joined,
        "messages_left_out": verdict.counts.messages_left_out,
    }
    if verdict.rejected_left_out:
        row["rejected_left_out"] = verdict.rejected_left_out
    return row


def ledger_rows(verdicts: list[Verdict], shingles: Shingles, params: CleanParams) -> Iterator[CleanedRow]:
    """For each collected conversation, in order, what became of it. Of duplicates the lowest id stays."""
    outliers = find_length_outliers(verdicts, params.length_quantiles) if params.length_quantiles else set()
    exact = find_exact_duplicates(verdicts, outliers) if params.duplicates else {}
    near = {}
    if params.near_duplicates is not None:
        gone = outliers | exact.keys()
        left = [row for row, verdict in enumerate(verdicts) if verdict.reason is None and row not in gone]
        near = find_near_duplicates(shingles, np.array(left, np.int64), params.near_duplicates) if left else {}
    for row, verdict in enumerate(verdicts):
        reason, original, similarity = verdict.reason, None, None
        if row in outliers:
            reason = "length"
        elif row in exact:
            reason, original = "exact_duplicate", verdicts[exact[row]].id
        elif row in near:
            reason, original, similarity = "near_duplicate", verdicts[near[row][0]].id, round(near[row][1], 4)
        yield ledger_row(verdict, reason, original, similarity)


def judge_all(chunks: list[CleanedChunk], params: CleanParams) -> list[CleanedRow]:
    """The ledger, of conversations few enough to be held."""
    verdicts = [verdict for chunk in chunks for verdict in chunk.verdicts]
    return list(ledger_rows(verdicts, concatenate([chunk.shingles for chunk in chunks]), params))


def set_lines_down(chunks: Iterable[CleanedChunk], file: IO[bytes]) -> tuple[list[Verdict], Shingles]:
    """All verdicts without their lines, which go to the file, one each: held in memory they would be most of it."""
    verdicts: list[Verdict] = []
    shingles: list[Shingles] = []
    for chunk in chunks:
        file.writelines(verdict.line or b"\n" for verdict in chunk.verdicts)
        verdicts += [verdict._replace(line=b"") for verdict in chunk.verdicts]
        shingles.append(chunk.shingles)
    file.seek(0)
    return verdicts, concatenate(shingles)


def kept_lines(
    lines: Iterable[bytes], ledger: Iterable[CleanedRow], file: IO[bytes], counts: Counter[str | None]
) -> Iterator[bytes]:
    """Of the lines those that stay; the ledger goes to its file on the way, and its reasons are counted."""
    for line, row in zip(lines, ledger, strict=True):
        file.write(to_line(row))
        counts[row["reason"]] += 1
        if row["fate"] != "dropped":
            yield line


def count_rows(ledger: Path) -> dict[str, int]:
    """Rows of a source by their fate in collect: collected, over_limit, unreadable."""
    rows: Counter[str] = Counter()
    for line in read_lines(ledger):
        row: collected.CollectedRow = orjson.loads(line)
        rows[row["fate"]] += row["rows"]
    return dict(rows)


def remove_files_of_removed_sources(names: list[str]) -> None:
    """A source taken out of params.yaml leaves its files behind, which DVC no longer knows: they must not be trained on."""
    for path in [*collected.FOLDER.glob("*.jsonl"), *collected.LEDGERS.glob("*.jsonl")]:
        if path.stem not in names:
            path.unlink()


def main() -> None:
    collect_garbage_seldom()
    check_installed("stages/clean", "stages/lib/languages", "stages/lib/personal_data")
    names = read_json(collected.NAMES)
    params = read_params("clean", CleanParams)
    remove_files_of_removed_sources(names)
    # In order of their ids, since each file is.
    lines = chain.from_iterable(read_lines(collected.conversations_of(name)) for name in names)
    chunks = map_chunks(partial(clean_lines, params=params), in_chunks(lines, ROWS_AT_ONCE))
    counts: Counter[str | None] = Counter()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=FOLDER) as cleaned, LEDGER.open("wb") as ledger:
        verdicts, shingles = set_lines_down(chunks, cleaned)
        write_lines(CLEANED, kept_lines(cleaned, ledger_rows(verdicts, shingles, params), ledger, counts))
    kept = counts.pop(None, 0)
    dropped = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items())) or "none"
    if not kept:
        raise ReprotuneError(
            f"{collected.FOLDER}: none of {len(verdicts):,} conversations is left; dropped: {dropped} (see collect.sources)"
        )
    write_json(SOURCES, {name: count_rows(collected.ledger_of(name)) for name in names})
    print(f"clean: {len(verdicts):,} in, {kept:,} out; dropped: {dropped}")


if __name__ == "__main__":
    run_stage(main, outs=[CLEANED, FOLDER], restore="dvc checkout clean")
