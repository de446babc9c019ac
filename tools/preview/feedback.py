"""What people thought of replies, in a key of rows or messages: thumbs, which can say what is to be learned, and grades."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from stages.collect.marks import KNOWN, read_thumb_word
from stages.collect.rows import plain_text
from stages.collect.sources import Columns
from tools.console import paragraph
from tools.preview.message_lists import lists_of_messages
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of
from tools.preview.wording import counted

MOST_VALUES = 11  # of a grade, 0 to 10


def find_feedback(sample: Sample, mapping: Columns) -> dict[str, Counter[str]]:
    """Key -> its values that are something, where its name says that it may be such a judgement, and no field has it."""
    taken = {name for _, name in mapping if name}
    values = [row.values for row in sample.rows]
    values += [message for messages in lists_of_messages(sample, mapping) for message in messages]
    found: dict[str, Counter[str]] = {}
    for one in values:
        for key, value in one.items():
            if key in taken or key in KNOWN or not names_feedback(key) or value is None or isinstance(value, (dict, list)):
                continue
            if text := plain_text(value).strip():
                found.setdefault(key, Counter())[text] += 1
    return found


def names_feedback(key: str) -> bool:
    """
    >>> names_feedback("userFeedback"), names_feedback("rating"), names_feedback("用户评价"), names_feedback("text")
    (True, True, True, False)
    """
    words = USUAL_NAMES["feedback_words"]
    return not {*key_of(key).split("_")}.isdisjoint(words) or any(word in key for word in words if not word.isascii())


def propose_marks(feedback: dict[str, Counter[str]]) -> dict[str, str]:
    """`marks` for keys that hold a thumb up or down, some down, and nothing else."""
    return {key: "train" for key, values in feedback.items() if is_thumb(values)}


def is_thumb(values: Counter[str]) -> bool:
    """Whether they are thumbs, some of them down; 1 is one up only where -1 stands too."""
    plain = {"true": True, "false": False} | ({"1": True} if "-1" in values else {})
    thumbs = [plain.get(value, read_thumb_word(value)) for value in values]
    return None not in thumbs and False in thumbs


def worst_of(values: Iterable[str]) -> str:
    """The lowest grade, or a word that people dislike by; a stand-in where no such one is there.

    >>> worst_of(["5", "1", "-"]), worst_of(["fine", "bad", "good"]), worst_of(["high", "low"])
    ('1', 'bad', 'VALUE')
    """
    grades = sorted((int(value), value) for value in values if value.removeprefix("-").isdecimal())
    words = [value for value in values if read_thumb_word(value) is False]
    return next((value for value in (*(value for _, value in grades[:1]), *words)), "VALUE")


def tell_feedback(feedback: dict[str, Counter[str]], stated: dict[str, str], leave_out: Collection[str]) -> Iterator[str]:
    """`stated`: what --marks says."""
    for key, values in feedback.items():
        if key in stated or key in leave_out:
            continue
        if is_thumb(values):
            yield from paragraph(
                "",
                f"{key} holds {counted(values)}: a reply that people disliked is context, and not learned; a proposal: take "
                "`marks` away to learn from all",
            )
        elif 1 < len(values) <= MOST_VALUES:
            note = f"{key} holds {counted(values)}, and all are learned alike; to leave some out: --leave-out {key}="
            yield from paragraph("", note + worst_of(values))
