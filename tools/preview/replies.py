"""Which columns may hold replies: beside a talk that ends without one, not the names of who writes them, and not two of them."""

import re
import shlex
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from stages.collect.contexts import NO_TEXT, is_prose
from stages.collect.messages import ROLE_NAMES, as_text
from stages.collect.preferences import TEXT_KEYS
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.preview.again import Again
from tools.preview.message_lists import Messages, texts_of
from tools.preview.roles import usual_role
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, find_column, has_word, key_of

REPLIES = frozenset([
    "answer", "response", "output", "reply", "completion", "response1", "generation", "generations", "choices", "ideal", "target",
    "targets", "expected", "回答", "答案", "回复", "答复", "輸出", "输出",
])  # fmt: skip
NOUNS = REPLIES | {"solution", "truth", "gold", "解答"}
MOST_WORDS = 3  # of a name
MODEL = re.compile(r"(?=.*[A-Za-z])(?=.*[\d/:-])[\w.:/@-]*\w")  # gpt-4o, say


def refuse_two_replies(path: Path, sample: Sample, mapping: Columns, again: Again) -> None:
    """
    Raises:
        ReprotuneError: another column may be the reply as well, so that the order of names would decide what is learned.
    """
    chosen = mapping.assistant
    if chosen is None or chosen == mapping.label or has_word(key_of(chosen), [*USUAL_NAMES["mended"], *USUAL_NAMES["preferred"]]):
        return
    taken = [name for _, name in mapping if name]
    others = [key for key in sample.keys if key not in taken and names_a_reply(key) and holds_other_texts(sample, key, chosen)]
    if not others:
        return
    columns = {field: name for field, name in mapping if name is not None}
    command = again.command(columns=[f"{field}={name}" for field, name in columns.items()])
    names = " and ".join(map(repr, (chosen, *others)))
    choice = " or ".join(shlex.quote(f"assistant={name}") for name in others)
    raise ReprotuneError(
        f"{path}: {names} may each be the reply, and one of them is learned. Look again with `{command}`, or with {choice} in "
        f"place of {shlex.quote(f'assistant={chosen}')}"
    )


def names_a_reply(name: str) -> bool:
    """
    >>> [names_a_reply(name) for name in ("ground_truth_solution", "参考答案", "answer_type", "bad_answer")]
    [True, True, False, False]
    """
    key = key_of(name)
    told = key.rpartition("_")[2] in NOUNS or key.endswith(tuple(noun for noun in NOUNS if not noun.isascii()))
    return told and not has_word(key, [*USUAL_NAMES["not_preferred"], *NO_TEXT])


def holds_other_texts(sample: Sample, name: str, other: str) -> bool:
    """Whether most rows have a text of several words in a column, which another one does not have."""
    pairs = [(cell, row.values.get(other)) for row in sample.rows if isinstance(cell := row.values.get(name), str)]
    return 2 * sum(is_prose(cell.strip()) and cell != one for cell, one in pairs) > len(sample.rows)


def lacks_replies(name: str, lists: Sequence[Messages], role: str, sample: Sample) -> bool:
    """Whether lists hold no last reply, and another column may."""
    names = texts_of(lists, role)
    roles = {one: ROLE_NAMES.get(one) or usual_role(one) for one in set(chain.from_iterable(names)) - {""}}
    unanswered = sum(roles.get(one[-1]) == "user" for one in names)
    left = [key_of(key) for key in sample.keys if key != name]
    asks_alone = "user" in roles.values() and set(roles.values()) <= {"user", "system"}
    return (asks_alone or 2 * unanswered > len(lists)) and any(has_word(key, REPLIES) for key in left)


def reply_keys(sample: Sample) -> list[str]:
    """The columns without those that name a model or an agent, where a reply could stand under such a name.

    Names that stand row after row tell it; where rows are few, the form of a model's name does, if another column has the reply.
    Prodigy's verdicts are no replies either.
    """
    may_be_names = [key for key in sample.keys if key_of(key) in USUAL_NAMES["may_be_name"]]
    has_other = any(key_of(key) in REPLIES for key in sample.keys)
    names = [key for key in may_be_names if holds_names(sample.cells(key)) or (has_other and are_models(sample.cells(key)))]
    verdicts = {*USUAL_NAMES["leave_out"]["verdicts"]}
    names += [key for key in sample.keys if {as_text(cell) for cell in sample.cells(key)} <= verdicts]
    return [key for key in sample.keys if key not in names]


def are_models(cells: Sequence[object]) -> bool:
    """
    >>> are_models(["gpt-4o", "org/some-7b:free"]), are_models(["42"]), are_models(["Hello"]), are_models(["gpt-4o", "At noon."])
    (True, False, False, False)
    """
    texts = [text for cell in cells if (text := as_text(cell))]
    return bool(texts) and all(MODEL.fullmatch(text) for text in texts)


def holds_names(cells: Sequence[object]) -> bool:
    """
    >>> holds_names(["gpt-4o", "gpt-4o"]), holds_names(["Yes.", "At noon."]), holds_names(["Ann", "Bo", "Ann", "Ann"])
    (True, False, True)
    """
    texts = [text for cell in cells if (text := as_text(cell))]
    return len(texts) > 1 and 2 * len(set(texts)) <= len(texts) and all(len(text.split()) <= MOST_WORDS for text in texts)


def find_reply(sample: Sample, other: str | None) -> tuple[str, bool] | None:
    """The column of the reply, as `find_column` finds it; of a reply and the same one corrected, the corrected one.

    None too where only some are corrected: no column holds what is to be learned then. `other`: the question's column.
    """
    keys = [key for key in reply_keys(sample) if key != other]
    filled = [key for key in keys if any(map(as_text, sample.cells(key)))]
    found = find_column("assistant", filled) or find_column("assistant", keys)
    if not found:
        return None
    mended = mended_replies(filled, found[0])
    if not mended:
        return found
    return (mended[0], False) if len(mended) == 1 and all(map(as_text, sample.cells(mended[0]))) else None


def mended_replies(keys: Sequence[str], name: str) -> list[str]:
    """
    >>> mended_replies(["answer", "corrected_answer", "best_guess"], "answer"), mended_replies(["answer_good"], "answer_good")
    (['corrected_answer'], [])
    """
    others = [key for key in keys if key != name and has_word(key_of(key), [key_of(name)])]
    return [key for key in others if has_word(key_of(key), USUAL_NAMES["mended"])]


def lead_to_text(sample: Sample, name: str) -> str:
    """The column; where objects stand in it that are no messages, with the key of the text that all of them have."""
    cells = [cell for cell in sample.cells(name) if cell is not None]
    if not cells or not all(isinstance(cell, dict) and len(cell) > 1 and "role" not in cell for cell in cells):
        return name
    keys = [key for key in TEXT_KEYS if all(isinstance(cell, dict) and isinstance(cell.get(key), str) for cell in cells)]
    return f"{name}.{keys[0]}" if keys else name
