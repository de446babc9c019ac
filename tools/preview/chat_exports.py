"""Exports of chat programs that are JSON, but no rows of conversations yet."""

from pathlib import Path

from stages.collect.chat_trees import is_tree
from stages.collect.several_talks import IDS, key_of_talks
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.preview.again import Again
from tools.preview.file_kind import TRANSCRIPT
from tools.preview.message_lists import lists_of_messages
from tools.preview.sample import Sample
from tools.preview.usual_names import find_column

ONE_LINE = '{"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'


def refuse_trees(path: Path, sample: Sample) -> None:
    """Raise where a column holds trees of messages that are not as ChatGPT exports them."""
    for name in sample.keys:
        if 2 * sum(map(is_tree, sample.cells(name))) > len(sample.rows):
            raise ReprotuneError(
                f"{path}: {name!r} holds a tree of messages in each row, in a layout that is not known. Flatten "
                f"each to a list first, from its last node up by `parent`, and write JSONL, a line for each: {ONE_LINE}"
            )


def refuse_mixed(path: Path, sample: Sample, mapping: Columns, again: Again) -> None:
    """
    Raises:
        ReprotuneError: the messages of a list belong to several conversations, by a key of each.
    """
    name = mapping.messages
    for messages in lists_of_messages(sample, mapping) if name else []:
        if key := key_of_talks(messages, IDS):
            remedy = "write JSONL, a row for each message"
            if path.suffix == ".json" and len(sample.rows) == 1:
                columns = {"conversation": key, "role": mapping.role or "role", "content": mapping.content or "content"}
                stated = [f"{field}={column}" for field, column in columns.items()]
                remedy = f"look again with a row for each: `{again.command(array=[str(name)], columns=stated)}`"
            raise ReprotuneError(f"{path}: {name!r} holds the messages of several conversations, by {key!r}; {remedy}")


def find_transcripts(sample: Sample) -> str | None:
    """The column in which most cells are talks written down, a line that begins with a name for each turn."""
    for name in sample.keys:
        cells = [[line for line in cell.splitlines() if line.strip()] for cell in sample.cells(name) if isinstance(cell, str)]
        spoken = [len(lines) > 1 and 2 * sum(map(bool, map(TRANSCRIPT.match, lines))) > len(lines) for lines in cells]
        if 2 * sum(spoken) > len(sample.rows):
            return name
    return None


def lacks_conversation(sample: Sample) -> tuple[str, str] | None:
    """(column of the roles, column of the texts) where a row looks like a message of an unknown conversation.

    Telegram's result.json is such a file.
    """
    role, content = (find_column(field, sample.keys, only_exact=True) for field in ("role", "content"))
    if not role or not content or find_column("conversation", sample.keys):
        return None
    return role[0], content[0]
