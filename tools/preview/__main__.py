"""What a file of conversations holds, and what to paste to train on it: `python -m tools.preview FILE`.

Only the first rows are read. What is not certain (an encoding, which column holds what, who is
who) is proposed, and said to be.
"""

import argparse
from collections.abc import Sequence

import orjson
import yaml

from stages.clean.__main__ import judge_all
from stages.clean.conversation import clean_lines
from stages.clean.params import CleanParams
from stages.collect.__main__ import Collected
from stages.collect.sources import ANY_VALUE, JsonSource, Source
from stages.lib.chat_template.tokenizer import TOKENIZER, load_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import Yaml12Loader, read_params
from stages.lib.records.conversation import Conversation
from stages.sources.__main__ import SourceNames
from tools.console import print_all, run_tool, takes_colour
from tools.preview.above_rows import refuse_above
from tools.preview.again import again
from tools.preview.chat_exports import refuse_mixed, refuse_trees
from tools.preview.column_notes import tell_columns
from tools.preview.columns import may_be_one_talk, propose_columns
from tools.preview.contexts import refuse_contexts
from tools.preview.description import (
    FORMATS,
    tell_conversations,
    tell_file,
    tell_problems,
    tell_roles,
    tell_what_to_do,
)
from tools.preview.examples import settings_needed, tell_first
from tools.preview.feedback import tell_feedback
from tools.preview.given import find_given, tell_kind_of_all
from tools.preview.guesses import Stated, guess_rest
from tools.preview.known_exports import refuse_known
from tools.preview.nothing_to_paste import tell_all_dropped, tell_nothing_read, tell_unmapped
from tools.preview.proposal import Proposal
from tools.preview.replies import refuse_two_replies
from tools.preview.roles import check_stated, tell_events
from tools.preview.sample import Sample, convert, read_sample, read_whole, without_last_conversation
from tools.preview.source_entry import check_columns, check_entry, choose_name, destination, make_entry, names_of
from tools.preview.unwanted import LeaveOut, count_unwanted, messages_and_rows, tell_unwanted

MAY_SERVE_TWICE = {"label", "language", "group"}  # beside what the column is mapped to besides: a class is an answer too


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
    inner, keys = ("role", "content", "order") if "messages" in stated else (), sample.keys
    taken: dict[tuple[str, bool], str] = {}
    for field, name in stated.items():
        place = (name, field in inner)
        if name not in keys and name.partition(".")[0] not in keys and field not in inner:
            raise ReprotuneError(f"--columns: no column {name!r}; found {', '.join(map(repr, keys))}")
        if place in taken and not {field, taken[place]} & MAY_SERVE_TWICE:
            raise ReprotuneError(f"--columns: {name!r} is mapped to {taken[place]} and to {field}; map it to one of them")
        taken[place] = field
    return Proposal(stated, check_columns(stated), "as stated by --columns")


def read_and_map(source: Source, stated: dict[str, str]) -> tuple[Sample, Proposal | None]:
    """The first rows, and which column holds what. A document that is one conversation is a row, however it is laid out.

    Raises:
        ReprotuneError: it can't be read, nor is it one conversation.
    """
    sample = stopped = whole = None
    try:
        sample = read_sample(source)
        if proposal := map_columns(stated, sample):
            return sample, proposal
    except ReprotuneError as error:
        stopped = error
    if not (isinstance(source, JsonSource) and source.array):
        whole = read_whole(source)
    proposal = map_columns(stated, whole) if whole else None
    if whole and proposal and (proposal.mapping.messages or not sample) and (stated or may_be_one_talk(whole, proposal.mapping)):
        return whole, proposal
    if sample is None or (stated and stopped):
        raise stopped or ReprotuneError(f"{source.path}: holds no row")
    return sample, None


def parse_values(pairs: Sequence[str]) -> LeaveOut:
    """Values as YAML has them: --leave-out public=false type=note."""
    values: LeaveOut = {}
    for key, text in parse_pairs(pairs, "--leave-out").items():
        try:
            value = yaml.load(text, Loader=Yaml12Loader) if text != ANY_VALUE else text
        except yaml.YAMLError:
            value = text
        values[key] = text if isinstance(value, dict) else value
    return values


def print_conversations(rows: list[Collected], problems: list[str]) -> list[Conversation]:
    """How they read, what cleaning does to them, the problems, and the first of those that are kept, which are returned."""
    params = read_params("clean", CleanParams)
    chunk = clean_lines([row.line for row in rows], params)
    ledger = judge_all([chunk], params)
    print_all(tell_conversations([orjson.loads(row.line) for row in rows], chunk, ledger))
    print_all(problems)
    verdicts = zip(rows, chunk.verdicts, ledger, strict=True)
    if rows and all(fate["reason"] for fate in ledger):
        print_all(tell_all_dropped(ledger))
    kept = [(row.place, orjson.loads(verdict.line)) for row, verdict, fate in verdicts if not fate["reason"]]
    if kept:
        tokenizer = load_tokenizer() if TOKENIZER.exists() else None
        print_all(tell_first(kept, tokenizer, takes_colour()))
        if tokenizer:
            from tools.preview.lengths import tell_lengths  # loads transformers

            print_all(tell_lengths([conversation for _, conversation in kept], tokenizer))
    return [conversation for _, conversation in kept]


def preview(options: argparse.Namespace) -> int:
    """Print it all; 1 if a person has to say first which columns or roles these are."""
    given, stated_columns = find_given(options.files), parse_pairs(options.columns, "--columns")
    roles, marks = parse_pairs(options.roles, "--roles"), parse_pairs(options.marks, "--marks")
    stated = Stated(roles, options.begins, parse_values(options.leave_out), marks)
    sources = read_params("collect", SourceNames).sources
    path, kind = given.path, tell_kind_of_all(given, options.format, options.encoding)
    target = destination(path)
    name = choose_name(path, target, options.name, sources, options.array)
    known, typed = bool(names_of(target, sources, options.array)), again(options)
    entry = make_entry(kind, target, given.pattern, options.array)
    source = check_entry(entry | {"path": str(path), "outside": True})
    sample, proposal = read_and_map(source, stated_columns)
    refuse_trees(path, sample)
    if not stated_columns:
        refuse_known(path, sample, proposal is not None)
        refuse_above(source, sample, proposal and proposal.mapping, typed)
        if proposal:
            refuse_mixed(path, sample, proposal.mapping, typed)
            refuse_two_replies(path, sample, proposal.mapping, typed)
            refuse_contexts(path, sample, proposal.mapping, typed)
    print_all(tell_file(given, kind, sample))
    if proposal is None:
        print_all(tell_unmapped(typed, sample))
        return 1
    guesses = guess_rest(sample, proposal.mapping, proposal.begins, stated)
    print_all(tell_columns(sample, proposal, guesses.leave_out, guesses.marks))
    print_all(tell_feedback(guesses.feedback, stated.marks, guesses.leave_out))
    unwanted = count_unwanted(messages_and_rows(sample, proposal.mapping, guesses.leave_out), guesses.leave_out)
    print_all(tell_unwanted(unwanted, bool(stated.leave_out)))
    if proposal.mapping.conversation:
        sample = without_last_conversation(sample, proposal.mapping.conversation)
    notes = [*check_stated(stated.roles, guesses.names, sample)]
    notes += tell_events(guesses.speakers, guesses.roles, proposal.mapping.role or "role")
    print_all(tell_roles(guesses.names, guesses.proposal, stated.roles, notes))
    told = {"columns": proposal.columns, "begins": guesses.begins, "leave_out": guesses.leave_out, "marks": guesses.marks}
    entry |= {key: value for key, value in (told | {"roles": guesses.roles}).items() if value}
    rows, others = convert(sample, check_entry(entry), name)
    unreadable = [row for row in others if row.fate == "unreadable"]
    kept = print_conversations(rows, list(tell_problems(unreadable, sample.stopped, bool(rows))))
    if not rows:
        left = [one for one in guesses.proposal.left if one not in stated.roles]
        print_all(tell_nothing_read(typed, left, unreadable, proposal.mapping.role or "role"))
    elif kept:
        print_all(tell_what_to_do(path, target, name, entry, known, settings_needed(kept)))
    return 0 if kept else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.preview", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="CSV, TSV, JSON, JSONL, Parquet, .gz and .zst too; or a folder")
    parser.add_argument("--format", choices=FORMATS, help="where it is not told rightly")
    parser.add_argument("--name", help="of the source in params.yaml")
    parser.add_argument("--encoding", help="where it is not told rightly")
    parser.add_argument("--array", metavar="KEY", help="of a JSON document with several arrays, the one to read")
    parser.add_argument("--columns", nargs="+", default=[], metavar="FIELD=COLUMN", help="which column holds what")
    parser.add_argument("--roles", nargs="+", default=[], metavar="NAME=ROLE", help="what the file's names of roles mean")
    parser.add_argument("--begins", choices=("user", "assistant"), help="who speaks first, where messages name no role")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="KEY=VALUE", help="which rows and messages are no part")
    parser.add_argument("--marks", nargs="+", default=[], metavar="KEY=MEANING", help="of what to learn: train, mask or ignore")
    return preview(parser.parse_args())


if __name__ == "__main__":
    run_tool(main)
