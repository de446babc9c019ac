"""What a file of conversations holds, and what to paste to train on it: `python -m tools.preview FILE`.

Only the first rows are read. What is not certain (an encoding, which column holds what, who is
who) is proposed, and said to be.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import orjson

from stages.clean.__main__ import judge_all
from stages.clean.conversation import clean_lines
from stages.clean.params import CleanParams
from stages.collect.__main__ import Collected
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import read_params
from stages.lib.tokenizer import TOKENIZER, load_tokenizer
from stages.sources.__main__ import SourceNames
from tools.console import print_all, run_tool, takes_colour
from tools.preview.chat_exports import refuse_trees
from tools.preview.columns import Proposal, propose_columns
from tools.preview.description import (
    FORMATS,
    tell_columns,
    tell_conversations,
    tell_file,
    tell_nothing_read,
    tell_problems,
    tell_roles,
    tell_unmapped,
    tell_what_to_do,
)
from tools.preview.examples import tell_first
from tools.preview.file_kind import tell_kind
from tools.preview.roles import check_stated, propose_roles, role_names
from tools.preview.sample import Sample, convert, read_sample, without_last_conversation
from tools.preview.source_entry import check_columns, check_entry, choose_name, destination, make_entry, names_of


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ReprotuneError(f"{option} {key}: expected NAME=NAME")
        if key in found:
            raise ReprotuneError(f"{option}: {key!r} stands twice; state it once")
        found[key] = value
    return found


def map_columns(stated: dict[str, str], sample: Sample) -> Proposal | None:
    """As stated, or as proposed."""
    if not stated:
        return propose_columns(sample)
    inner, keys = ("role", "content") if "messages" in stated else (), sample.keys
    taken: dict[tuple[str, bool], str] = {}
    for field, name in stated.items():
        place = (name, field in inner)
        if name not in keys and field not in inner:
            raise ReprotuneError(f"--columns: no column {name!r}; found {', '.join(map(repr, keys))}")
        if place in taken:
            raise ReprotuneError(f"--columns: {name!r} is mapped to {taken[place]} and to {field}; map it to one of them")
        taken[place] = field
    return Proposal(stated, check_columns(stated), "as stated by --columns")


def print_conversations(rows: list[Collected], problems: list[str]) -> None:
    """How they read, what cleaning does to them, the problems, and the first of those that are kept."""
    params = read_params("clean", CleanParams)
    chunk = clean_lines([row.line for row in rows], params)
    ledger = judge_all([chunk], params)
    print_all(tell_conversations([orjson.loads(row.line) for row in rows], chunk, ledger))
    print_all(problems)
    verdicts = zip(rows, chunk.verdicts, ledger, strict=True)
    kept = [(row.place, orjson.loads(verdict.line)) for row, verdict, fate in verdicts if not fate["reason"]]
    if kept:
        tokenizer = load_tokenizer() if TOKENIZER.exists() else None
        print_all(tell_first(kept, tokenizer, takes_colour()))
    elif rows:
        print("\nCleaning drops them all, so nothing is left to train on. Are the columns and roles the right ones?")


def preview(options: argparse.Namespace) -> int:
    """Print it all; 1 if a person has to say first which columns or roles these are."""
    path, stated_columns = options.file, parse_pairs(options.columns, "--columns")
    stated_roles, sources = parse_pairs(options.roles, "--roles"), read_params("collect", SourceNames).sources
    kind = tell_kind(path, options.format, options.encoding)
    target = destination(path)
    name = choose_name(path, target, options.name, sources)
    entry = make_entry(kind, target)
    sample = read_sample(check_entry(entry | {"path": str(path), "outside": True}))
    refuse_trees(path, sample)
    print_all(tell_file(path, kind, sample))
    proposal = map_columns(stated_columns, sample)
    if proposal is None:
        print_all(tell_unmapped(path, sample))
        return 1
    print_all(tell_columns(sample, proposal))
    if proposal.mapping.conversation:
        sample = without_last_conversation(sample, proposal.mapping.conversation)
    names, openers = role_names(sample, proposal.mapping)
    guess = propose_roles(names, openers)
    print_all(tell_roles(names, guess, stated_roles, list(check_stated(stated_roles, names, sample))))
    roles = guess.roles | stated_roles
    entry |= {key: value for key, value in (("columns", proposal.columns), ("roles", roles)) if value}
    rows, unreadable = convert(sample, check_entry(entry), name)
    print_conversations(rows, list(tell_problems(unreadable, sample.stopped, bool(rows))))
    if not rows:
        print_all(tell_nothing_read(path, bool(names)))
        return 1
    print_all(tell_what_to_do(path, target, name, entry, bool(names_of(target, sources))))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.preview", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="CSV, TSV, JSON, JSONL or Parquet; .gz and .zst too")
    parser.add_argument("--format", choices=FORMATS, help="where it is not told rightly")
    parser.add_argument("--name", help="of the source in params.yaml")
    parser.add_argument("--encoding", help="where it is not told rightly")
    parser.add_argument("--columns", nargs="+", default=[], metavar="FIELD=COLUMN", help="which column holds what")
    parser.add_argument("--roles", nargs="+", default=[], metavar="NAME=ROLE", help="what the file's names of roles mean")
    return preview(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
