"""One row's story, from the line of its file to its score on test: `python -m tools.trace ID [--text]`.

ID is a conversation's id (support/41), a part of it that no other one has, or where it stands
(data/raw/support.csv:3).
"""

import argparse
import difflib
import heapq
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import ConfigDict

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import PARAMS, Section, read_params
from stages.lib.records.conversation import Message
from stages.lib.records.scores import perplexity
from tools.console import print_all, run_tool, takes_colour, visible

COLLECT_LEDGERS = Path("data/ledger/collect")
COLLECTED = Path("data/collected")
CLEAN_LEDGER = Path("data/ledger/clean.jsonl")
CLEANED = Path("data/cleaned.jsonl")
ASSIGNMENT = Path("data/split/assignment.jsonl")
TOKENIZE_LEDGER = Path("data/ledger/tokenize.jsonl")
EXAMPLES = Path("data/evaluation/examples.parquet")
MOST_SHOWN = 5
MOST_COUNTED = 1000
MESSAGES_TOLD = {"messages_joined": "joined to the one before", "messages_left_out": "left out"}
LINE_FEED, SHOWN_LINE_FEED = "\n", "\\n\n"
MOST_TOKENS_COMPARED = 4000  # of either text: comparing takes quadratic time
TOKEN = re.compile(r"[a-zA-Z0-9]+|\s+|.", re.DOTALL)
PLACE = re.compile(r"(?P<file>.+?):\s*(?:row |conversation )?(?P<number>\d+)")


# Rows of the ledgers, a line at a time: a million of them take no memory


def read_rows(path: Path, word: str) -> Iterator[dict[str, Any]]:
    """The rows in whose line the word stands, anywhere; none where there is no file."""
    needle = orjson.dumps(word)[1:-1]
    if path.exists():
        with path.open("rb") as file:
            try:
                yield from (orjson.loads(line) for line in file if needle in line)
            except orjson.JSONDecodeError:
                raise ReprotuneError(f"{path}: damaged; `dvc checkout` brings it back") from None


def find_row(path: Path, id: str) -> dict[str, Any] | None:
    return next((row for row in read_rows(path, id) if isinstance(row, dict) and row.get("id") == id), None)


def collect_ledgers() -> list[Path]:
    return sorted(COLLECT_LEDGERS.glob("*.jsonl"))


def all_ledgers() -> list[Path]:
    """Those that name ids. Rows of a locked test may stand in later ones alone."""
    return [path for path in (*collect_ledgers(), CLEAN_LEDGER, ASSIGNMENT) if path.exists()]


# Which row is meant


def find_id(wanted: str) -> str:
    """The id that is meant: as it stands, by its place, or by a part of it.

    Raises:
        ReprotuneError: there is none, or there are several.
    """
    ledgers = all_ledgers()
    if not ledgers:
        raise ReprotuneError(f"{COLLECT_LEDGERS}: not there; `dvc repro` makes it")
    if any(find_row(path, wanted) for path in ledgers):
        return wanted
    found = find_at_place(wanted) or find_part(wanted, ledgers)
    if len(found) == 1:
        return next(iter(found))
    if found:
        some = "\n".join(f"  {id}" for id in list(found)[:MOST_SHOWN])
        number = f"over {MOST_COUNTED:,}" if len(found) > MOST_COUNTED else len(found)
        raise ReprotuneError(f"{wanted}: {number} rows have this; name one of them, such as\n{some}")
    nearest = find_nearest(wanted, ledgers)
    hint = "\nthe nearest:\n" + "\n".join(f"  {id}" for id in nearest) if nearest else ""
    raise ReprotuneError(f"{wanted}: no such id or place in {', '.join(sorted({str(path.parent) for path in ledgers}))}{hint}")


def find_part(wanted: str, ledgers: list[Path]) -> dict[str, None]:
    found: dict[str, None] = {}
    for path in ledgers:
        for row in read_rows(path, wanted):
            if wanted in row["id"]:
                found[row["id"]] = None
            if len(found) > MOST_COUNTED:
                return found
    return found


def find_at_place(wanted: str) -> dict[str, None]:
    """Ids of the rows that begin at FILE:LINE.

    Raises:
        ReprotuneError: the file was collected, but no row of a conversation begins at this line.
    """
    if not (asked := PLACE.fullmatch(wanted)):
        return {}
    file, number = os.path.normpath(asked["file"]), int(asked["number"])
    at: dict[str, None] = {}
    before: tuple[int, str] | None = None
    for path in collect_ledgers():
        for row in read_rows(path, Path(file).name):
            place = PLACE.fullmatch(row["place"])
            if not place or not same_file(place["file"], file):
                continue
            starts = [int(place["number"]), *(row.get("further") or ())]  # a ledger of an earlier version names the first alone
            if number in starts:
                at[row["id"]] = None
            nearest = max((start for start in starts if start < number), default=None)
            if nearest is not None and (before is None or nearest > before[0]):
                before = (nearest, row["id"])
    if not at and before:
        raise ReprotuneError(f"{wanted}: no row begins there; the nearest before it is at {before[0]}, of {before[1]}")
    return at


def same_file(one: str, other: str) -> bool:
    """Whether one path is the end of the other.

    >>> same_file("data/raw/a.csv", "a.csv"), same_file("raw/a.csv", "/home/me/raw/a.csv"), same_file("aa.csv", "a.csv")
    (True, True, False)
    """
    return f"/{one}".endswith(f"/{other}") or f"/{other}".endswith(f"/{one}")


def find_nearest(wanted: str, ledgers: list[Path]) -> list[str]:
    """Up to five ids that share the most runs of three characters with what was asked for, the nearest first."""
    runs = {wanted[start : start + 3] for start in range(max(1, len(wanted) - 2))}

    def likeness(id: str) -> tuple[int, int, str]:
        return sum(run in id for run in runs), -abs(len(id) - len(wanted)), id

    first = collect_ledgers() or ledgers  # the later ones hold the same ids again
    ids = (row["id"] for path in first for row in read_rows(path, ""))
    nearest = heapq.nlargest(len(first) * MOST_SHOWN, ids, key=likeness)
    return [id for id in dict.fromkeys(nearest) if likeness(id)[0]][:MOST_SHOWN]


# The locked test, which split reads beside what clean wrote


class LockedTest(Section):
    """Of `split`, only where the locked test is."""

    model_config = ConfigDict(extra="ignore")
    locked_test: str


def tell_locked(id: str) -> str | None:
    """What keeps the row if it is one of the locked test, else None."""
    if not PARAMS.exists():
        return None
    path = Path(read_params("split", LockedTest).locked_test)
    return f"split.locked_test ({path}) keeps it" if find_row(path, id) else None


# The story, a paragraph a stage


def absent(path: Path) -> str:
    return f"{path}: not there; `dvc repro` makes it"


def outdated(path: Path) -> str:
    return f"not in {path}, which is of an earlier run; `dvc repro` makes it anew"


def tell_collect(id: str) -> tuple[list[str], bool]:
    """What became of it, and whether the story goes on."""
    path = COLLECT_LEDGERS / f"{id.partition('/')[0]}.jsonl"
    row = find_row(path, id)
    if row is None and (locked := tell_locked(id)):
        return [f"in no file of today's sources: {locked}"], True
    if not path.exists():
        return [absent(path)], True
    if row is None:
        return ["in no file of today's sources: a row of split.locked_test, or of an earlier run"], True
    rows = "1 row" if row["rows"] == 1 else f"{row['rows']:,} rows, the first of them"
    said = [f"{rows} at {row['place']}"]
    if row["fate"] == "unreadable":
        return [*said, f"unreadable: {row['reason']}"], False
    if row["fate"] == "over_limit":
        return [*said, "left out: collect.limit or the source's `limit` was reached"], False
    return said, True


def tell_clean(id: str) -> tuple[list[str], bool]:
    if not CLEAN_LEDGER.exists():
        return [absent(CLEAN_LEDGER)], True
    row = find_row(CLEAN_LEDGER, id)
    if row is None:
        locked = tell_locked(id)
        return [f"not among the rows that are cleaned: {locked}" if locked else outdated(CLEAN_LEDGER)], True
    said = ["kept, unchanged" if row["fate"] == "kept" else row["fate"]]
    if row["repaired_by"]:
        said[0] += f"{' after repair' if row['fate'] == 'dropped' else ''} by {', '.join(row['repaired_by'])}"
    if row["reason"]:
        said[0] += f": {row['reason']}"
    said += tell_messages(row)
    if row["duplicate_of"]:
        likeness = f", Jaccard index {row['similarity']:.2f}" if row["similarity"] is not None else ""
        said += [f"of {row['duplicate_of']}{likeness}", *tell_original(row["duplicate_of"])]
    if row["tags"]:
        said.append(f"tagged {', '.join(row['tags'])}")
    return said, row["fate"] != "dropped"


def tell_messages(row: dict[str, Any]) -> list[str]:
    """What became of single messages, if anything did."""
    done = [f"{row[name]:,} {what}" for name, what in MESSAGES_TOLD.items() if row[name]]
    return [f"of {row['messages']:,} messages {' and '.join(done)}"] if done else []


def tell_original(id: str) -> list[str]:
    """Where the row went that stayed in the place of a duplicate; it may be a near duplicate of a third one itself."""
    seen = {id}
    while (row := find_row(CLEAN_LEDGER, id)) and row["duplicate_of"]:
        id = row["duplicate_of"]
        if id in seen:
            break
        seen.add(id)
    where = find_row(ASSIGNMENT, id)
    then = f" of {id}," if len(seen) > 1 else ""
    if row is None:
        return [f"{id} itself: {outdated(CLEAN_LEDGER)}"]
    if where is None:
        return [f"which is a duplicate{then} which was {row['fate']}"] if then else [f"which was {row['fate']}"]
    went = "left out of all splits" if where["split"] == "left_out" else f"in {where['split']}"
    return [f"which is a duplicate{then} which is {went}"] if then else [f"which was {row['fate']} and is {went}"]


def tell_split(id: str) -> tuple[list[str], bool]:
    if not ASSIGNMENT.exists():
        return [absent(ASSIGNMENT)], True
    row = find_row(ASSIGNMENT, id)
    if row is None:
        return [outdated(ASSIGNMENT)], True
    said = [f"{row['split']}, of the stratum {row['stratum']}"]
    if row["split"] == "left_out":
        said = [f"left out: it belongs together with a row of split.locked_test; stratum {row['stratum']}"]
    others = sum(other["group"] == row["group"] for other in read_rows(ASSIGNMENT, row["group"])) - 1
    first = "" if row["group"] == id else f", the first of them {row['group']}"
    if others:
        said.append(f"kept together with {others:,} other{'s' if others > 1 else ''}{first}")
    if row["split"] == "test":
        nearest = row["nearest_train"]
        near = f"{nearest}, Jaccard index {row['nearest_similarity']:.2f}" if nearest else "nothing that is like it"
        said.append(f"nearest in train: {near}")
        if row["ngrams_in_train"] is not None:
            said.append(f"{row['ngrams_in_train']:.0%} of its long n-grams stand in train")
    return said, row["split"] != "left_out"


def tell_tokenize(id: str) -> tuple[list[str], bool]:
    if not TOKENIZE_LEDGER.exists():
        return [absent(TOKENIZE_LEDGER)], True
    row = find_row(TOKENIZE_LEDGER, id)
    if row is None:
        return ["test rows are not trained on" if is_test(id) else outdated(TOKENIZE_LEDGER)], True
    amount = f"{row['tokens']:,} tokens, {row['labels']:,} of them labels"
    several = f" in {row['examples']:,} examples" if row["examples"] > 1 else ""
    said = [{"kept": "whole", "cut": "cut to fit"}.get(row["fate"], f"left out: {row['fate']}")]
    said[0] += f": {amount}{several}" if row["examples"] else ""
    return said + ([row["detail"]] if row["detail"] else []), True


def tell_evaluation(id: str) -> tuple[list[str], bool]:
    if not EXAMPLES.exists():
        return [absent(EXAMPLES)], True
    from pyarrow import parquet

    rows = parquet.read_table(EXAMPLES, filters=[("id", "==", id)]).to_pylist()
    if not rows:
        where = find_row(ASSIGNMENT, id)
        return ([f"not scored: it is in {where['split']}"] if where and where["split"] != "test" else [outdated(EXAMPLES)]), True
    row, said = rows[0], []
    for model in ("base", "tuned"):
        if row[f"{model}_unscored"] is not None:
            said.append(f"{model}: not scored: {row[f'{model}_unscored']}")
            continue
        nll, labels = row[f"{model}_nll"], int(row[f"{model}_labels"])
        end = "" if row[f"{model}_stopped"] else ", cut at predict.max_new_tokens"
        said.append(f"{model}: perplexity {perplexity(nll, labels):.2f} (NLL {nll:.2f} over {labels:,} labels)")
        said.append(f"{model} replies{end}: {row[f'{model}_reply']}")
    return [*said, f"the reference is: {row['reference']}"], True


def is_test(id: str) -> bool:
    return (find_row(ASSIGNMENT, id) or {}).get("split") == "test"


def tell(id: str) -> Iterator[str]:
    """The lines of the story, up to the stage that dropped the row."""
    yield f"{visible(id)}\n"
    stages = {
        "collect": tell_collect,
        "clean": tell_clean,
        "split": tell_split,
        "tokenize": tell_tokenize,
        "evaluate": tell_evaluation,
    }
    for name, tell_stage in stages.items():
        try:
            said, goes_on = tell_stage(id)
        except KeyError as error:
            raise ReprotuneError(f"what {name} wrote is of an earlier version (no {error}); `dvc repro` makes it anew") from None
        for number, line in enumerate(said):
            yield f"{'' if number else name:10}{visible(line).replace(chr(10), chr(10) + ' ' * 12)}"
        if not goes_on:
            yield f"{'':10}The story ends here."
            return


# The texts


def mark_differences(before: str, after: str, colour: bool) -> tuple[str, str]:
    """Both texts, with what only one of them has in brackets, or coloured.

    >>> mark_differences("caf\\u00c3\\u00a9 now", "caf\\u00e9 now", False)
    ('caf[-Ã©-] now', 'caf{+é+} now')
    """
    old, new = TOKEN.findall(before), TOKEN.findall(after)
    if max(len(old), len(new)) > MOST_TOKENS_COMPARED:
        return visible(before), visible(after)
    sides = (old, ("\x1b[31m", "\x1b[0m") if colour else ("[-", "-]")), (new, ("\x1b[32m", "\x1b[0m") if colour else ("{+", "+}"))
    pieces: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for side, (tokens, (begin, end)), (start, stop) in zip(pieces, sides, ((a, b), (c, d)), strict=True):
            text = visible("".join(tokens[start:stop]))
            if kind != "equal" and text:
                text = f"{begin}{text.replace(LINE_FEED, SHOWN_LINE_FEED).removesuffix(LINE_FEED)}{end}"
                text += LINE_FEED if stop < len(tokens) and tokens[stop - 1].endswith(LINE_FEED) else ""
            side.append(text)
    return "".join(pieces[0]), "".join(pieces[1])


def as_text(messages: list[Message]) -> str:
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


def tell_texts(id: str, colour: bool) -> Iterator[str]:
    """The messages as collected and as cleaned."""
    collected, cleaned = (find_row(path, id) for path in (COLLECTED / f"{id.partition('/')[0]}.jsonl", CLEANED))
    before = as_text(collected["messages"]) if collected else None
    after = as_text(cleaned["messages"]) if cleaned else None
    if before is not None and after is not None and before != after:
        before, after = mark_differences(before, after, colour)
    else:
        before, after = (text and visible(text) for text in (before, after))
    if before is not None and before == after:
        yield from _block("As collected, and the same after cleaning", before)
        return
    yield from _block("As collected", before if before is not None else "(not there)")
    dropped = CLEANED.exists() and (find_row(CLEAN_LEDGER, id) or {}).get("fate") == "dropped"
    yield from _block("As cleaned", after if after is not None else "(dropped)" if dropped else "(not there)")


def _block(title: str, text: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in text.split("\n"))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.trace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", metavar="ID", help="an id, a part of one, or FILE:LINE")
    parser.add_argument("--text", action="store_true", help="show the messages, too, as collected and as cleaned")
    options = parser.parse_args()
    id = find_id(options.id)
    print_all(tell(id))
    if options.text:
        print_all(tell_texts(id, takes_colour()))


if __name__ == "__main__":
    run_tool(main)
