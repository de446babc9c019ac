"""Write the splits as CSV, a row a message: `python -m tools.split_csv [FOLDER] [--bom]`.

data/split/{train,validation,test}.jsonl become FOLDER/{train,validation,test}.csv with the columns
conversation, label, language, group, turn, role and content. `collect` reads them back, sorted by
`turn`. Cells stay as they are, also those that a spreadsheet takes for a formula (=1+1): import the
files as text where the conversations are other people's.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import orjson

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.files import read_lines
from stages.lib.records.conversation import SPLITS, Conversation, conversations_of
from tools.console import run_tool, whole

HEADER = ("conversation", "label", "language", "group", "turn", "role", "content")


def rows_of(conversation: Conversation) -> Iterator[tuple[str | int | None, ...]]:
    """One row of HEADER for each message; `turn` counts them from 1."""
    start = (conversation["id"], conversation["label"], conversation["language"], conversation["group"])
    for turn, message in enumerate(conversation["messages"], start=1):
        yield (*start, turn, message["role"], message["content"])


def write_csv(path: Path, lines: Iterator[bytes], encoding: str) -> tuple[int, int]:
    """Write the conversations that are serialised in `lines`; their number and that of the messages.

    Lines end in CRLF, as RFC 4180 has it: so the writer quotes each cell that holds a line feed or a carriage return.
    """
    conversations = messages = 0
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        for line in lines:
            rows = list(rows_of(orjson.loads(line)))
            writer.writerows(rows)
            conversations += 1
            messages += len(rows)
    return conversations, messages


def export(folder: Path, bom: bool) -> None:
    for split in SPLITS:  # all or none: a folder with a file of an earlier run in it would mislead
        if not (path := conversations_of(split)).exists():
            raise ReprotuneError(f"{path}: not found; `dvc repro` makes it, `dvc pull` fetches it")
    if folder.exists() and not folder.is_dir():
        raise ReprotuneError(f"{folder}: is a file; name a folder")
    for split in SPLITS:
        path = folder / f"{split}.csv"
        with whole(path) as half:
            conversations, messages = write_csv(half, read_lines(conversations_of(split)), "utf-8-sig" if bom else "utf-8")
        print(f"{path}: {conversations:,} conversations, {messages:,} messages")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.split_csv", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=conversations_of("train").parent / "csv", help="(default: %(default)s)"
    )
    parser.add_argument("--bom", action="store_true", help="begin with a byte-order mark, from which Excel tells UTF-8")
    options = parser.parse_args()
    export(options.folder, options.bom)


if __name__ == "__main__":
    run_tool(main)
