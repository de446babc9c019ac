"""What became of a row, a paragraph a stage."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import ConfigDict

from stages.lib import collected
from stages.lib.collected import CollectedRow
from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import PARAMS, Section, read_params
from stages.lib.personal_data.kinds import MASKS
from stages.lib.records import cleaned, tokenize_ledger
from stages.lib.records.assignment import ASSIGNMENT, AssignedRow
from stages.lib.records.cleaned import CleanedRow
from stages.lib.records.conversation import Conversation
from stages.lib.records.scores import EXAMPLES, REPLIES, perplexity
from stages.lib.records.tokenize_ledger import TokenizedRow
from tools.console import plural, visible
from tools.trace.ledgers import AnyRow, find_row, read_rows, source_of


class LockedTest(Section):
    """Of `split`, only where the locked test is."""

    model_config = ConfigDict(extra="ignore")
    locked_test: str


def tell_locked(id: str) -> str | None:
    """What keeps the row if it is one of the locked test, else None."""
    if not PARAMS.exists():
        return None
    path = Path(read_params("split", LockedTest).locked_test)
    return f"split.locked_test ({path}) keeps it" if find_row(path, id, AnyRow) else None


def absent(path: Path) -> str:
    return f"{path}: not there; `dvc repro` makes it"


def outdated(path: Path) -> str:
    return f"not in {path}, which is of an earlier run; `dvc repro` makes it anew"


def tell_collect(id: str) -> tuple[list[str], bool]:
    """What became of it, and whether the story goes on."""
    path = collected.ledger_of(source_of(id))
    row = find_row(path, id, CollectedRow)
    if row is None and (locked := tell_locked(id)):
        return [f"in no file of today's sources: {locked}"], True
    if not path.exists():
        return [absent(path)], True
    if row is None:
        return ["in no file of today's sources: a row of split.locked_test, or of an earlier run"], True
    rows = "1 row" if row["rows"] == 1 else f"{row['rows']:,} rows, the first of them"
    said = [f"{rows} at {row['place']}"]
    ends = {
        "unreadable": f"unreadable: {row['reason']}",
        "left_out": f"left out by the source's `leave_out`: {row['reason']}",
        "over_limit": "left out: collect.limit or the source's `limit` was reached",
    }
    if row["fate"] in ends:
        return [*said, ends[row["fate"]]], False
    for numbers, what in ((row.get("left_out_rows"), "rows"), (row.get("left_out_messages"), "messages of its list")):
        if numbers:
            said.append(f"without the {what} {', '.join(map(str, numbers))}, which the source's `leave_out` leaves out")
    collected_row = find_row(collected.conversations_of(source_of(id)), id, Conversation)
    return said + (tell_special(collected_row) if collected_row else []), True


def tell_special(conversation: Conversation) -> list[str]:
    """What it holds besides texts of roles to learn from."""
    messages = conversation["messages"]
    unlearned, calls = (
        sum(message.get("weight") == 0 for message in messages),
        sum("tool_calls" in message for message in messages),
    )
    thoughts, rejected = sum("reasoning_content" in message for message in messages), len(conversation.get("rejected", ()))
    said = [f"{plural(unlearned, 'reply')} not to learn: context, by a mark or a label of the source"] if unlearned else []
    said += [f"{plural(calls, 'reply')} with calls of tools"] if calls else []
    said += [f"{plural(thoughts, 'reply')} with thoughts"] if thoughts else []
    return said + ([f"{plural(rejected, 'rejected reply')} beside it, never learned"] if rejected else [])


def tell_clean(id: str) -> tuple[list[str], bool]:
    if not cleaned.LEDGER.exists():
        return [absent(cleaned.LEDGER)], True
    row = find_row(cleaned.LEDGER, id, CleanedRow)
    if row is None:
        locked = tell_locked(id)
        return [f"not among the rows that are cleaned: {locked}" if locked else outdated(cleaned.LEDGER)], True
    masked = [step for step in row["repaired_by"] if step in MASKS]
    repaired = [step for step in row["repaired_by"] if step not in MASKS]
    changed = [f"repaired by {', '.join(repaired)}"] if repaired else []
    changed += [f"masked: {', '.join(masked)}"] if masked else []
    said: list[str] = ["; ".join(changed) or "kept, unchanged"]
    if row["fate"] == "dropped":
        said[0] = f"dropped: {row['reason']}" + (f" ({said[0]})" if changed else "")
    said += tell_messages(row)
    if row["duplicate_of"]:
        likeness = f", Jaccard index {row['similarity']:.2f}" if row["similarity"] is not None else ""
        said += [f"of {row['duplicate_of']}{likeness}", *tell_original(row["duplicate_of"])]
    if row["tags"]:
        said.append(f"tagged {', '.join(row['tags'])}")
    return said, row["fate"] != "dropped"


def tell_messages(row: CleanedRow) -> list[str]:
    """What became of single messages, if anything did."""
    done = [f"{row['messages_joined']:,} joined to the one before"] if row["messages_joined"] else []
    done += [f"{row['messages_left_out']:,} left out"] if row["messages_left_out"] else []
    said = [f"of {row['messages']:,} messages {' and '.join(done)}"] if done else []
    if number := row.get("rejected_left_out"):
        said.append(f"without {plural(number, 'rejected reply')}, which cleaning left without a question or a reply")
    return said


def tell_original(id: str) -> list[str]:
    """Where the row went that stayed in the place of a duplicate; it may be a near duplicate of a third one itself."""
    seen = {id}
    while (row := find_row(cleaned.LEDGER, id, CleanedRow)) and row["duplicate_of"]:
        id = row["duplicate_of"]
        if id in seen:
            break
        seen.add(id)
    where = find_row(ASSIGNMENT, id, AssignedRow)
    then = f" of {id}," if len(seen) > 1 else ""
    if row is None:
        return [f"{id} itself: {outdated(cleaned.LEDGER)}"]
    if where is None:
        return [f"which is a duplicate{then} which was {row['fate']}"] if then else [f"which was {row['fate']}"]
    went = "left out of all splits" if where["split"] == "left_out" else f"in {where['split']}"
    return [f"which is a duplicate{then} which is {went}"] if then else [f"which was {row['fate']} and is {went}"]


def tell_split(id: str) -> tuple[list[str], bool]:
    if not ASSIGNMENT.exists():
        return [absent(ASSIGNMENT)], True
    row = find_row(ASSIGNMENT, id, AssignedRow)
    if row is None:
        return [outdated(ASSIGNMENT)], True
    said = [f"{row['split']}, of the stratum {row['stratum']}"]
    if row["split"] == "left_out":
        said = [f"left out: it belongs together with a row of split.locked_test; stratum {row['stratum']}"]
    others = sum(other["group"] == row["group"] for other in read_rows(ASSIGNMENT, row["group"], AssignedRow)) - 1
    first = "" if row["group"] == id else f", the first of them {row['group']}"
    if others:
        said.append(f"kept together with {plural(others, 'other')}{first}")
    if row["split"] == "test":
        nearest = row["nearest_train"]
        near = f"{nearest}, Jaccard index {row['nearest_similarity']:.2f}" if nearest else "nothing that is like it"
        said.append(f"nearest in train: {near}")
        if row["ngrams_in_train"] is not None:
            said.append(f"{row['ngrams_in_train']:.0%} of its long n-grams stand in train")
    return said, row["split"] != "left_out"


def tell_tokenize(id: str) -> tuple[list[str], bool]:
    if not tokenize_ledger.LEDGER.exists():
        return [absent(tokenize_ledger.LEDGER)], True
    row = find_row(tokenize_ledger.LEDGER, id, TokenizedRow)
    if row is None:
        return ["test rows are not trained on" if is_test(id) else outdated(tokenize_ledger.LEDGER)], True
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
        where = find_row(ASSIGNMENT, id, AssignedRow)
        return ([f"not scored: it is in {where['split']}"] if where and where["split"] != "test" else [outdated(EXAMPLES)]), True
    row, said = rows[0], []
    replies = parquet.read_table(REPLIES, filters=[("id", "==", id)]).sort_by("turn").to_pylist() if REPLIES.exists() else []
    for model in ("base", "tuned"):
        if row[f"{model}_unscored"] is not None:
            said.append(f"{model}: not scored: {row[f'{model}_unscored']}")
        else:
            nll, labels = row[f"{model}_nll"], int(row[f"{model}_labels"])
            said.append(f"{model}: perplexity {perplexity(nll, labels):.2f} (NLL {nll:.2f} over {labels:,} labels)")
        for reply in replies:
            said.append(f"{model} replies{tell_end(reply, model)}")
    return [*said, *(f"the reference is: {reply['reference']}" for reply in replies)], True


def tell_end(reply: dict[str, object], model: str) -> str:
    if reply[f"{model}_reply"] is None:
        return f" nothing: {reply[f'{model}_unanswered']}"
    end = "" if reply[f"{model}_stopped"] else ", cut at the longest reply allowed"
    return f"{end}: {reply[f'{model}_reply']}"


def is_test(id: str) -> bool:
    row = find_row(ASSIGNMENT, id, AssignedRow)
    return row is not None and row["split"] == "test"


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
