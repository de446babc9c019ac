"""Which key of a message says whether its text is one to learn from: OpenAI's, Axolotl's, ms-swift's and others'."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal

from stages.collect.switches import METADATA, SWITCHES, read_switch, words_of
from stages.collect.turn_marks import asked_of_turns, turn_marks_in
from stages.collect.values import from_json, show
from stages.lib.core.errors import ReprotuneError

Meaning = Literal["train", "mask", "ignore"]  # true: learn from it; true: do not; no mark at all

TRAIN_KEYS = (
    "weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask", "train_on_turn", "train_on_message",
)  # fmt: skip
MASK_KEYS = ("mask", "masked", "ignore_loss", "mask_loss", "no_loss", "no_train")
KNOWN: dict[str, Meaning] = {**dict.fromkeys(TRAIN_KEYS, "train"), **dict.fromkeys(MASK_KEYS, "mask")}
WORDS = frozenset([
    "train", "trains", "trained", "training", "trainable", "untrained", "loss", "losses", "weight", "weights", "mask", "masks",
    "masked", "masking", "unmask", "unmasked", "learn", "learned", "learnable", "supervise", "supervised", "ignore", "ignored",
    "exclude", "excluded", "backprop", "gradient",
])  # fmt: skip
# Of these, what can only be meant of the replies where it stands beside them, and the words that make a number a switch.
TRAINING_WORDS = frozenset(
    ["train", "trained", "training", "trainable", "untrained", "learn", "learned", "learnable", "finetune", "finetuning"]
)
SWITCHING_WORDS = frozenset(
    ["is", "no", "not", "dont", "exclude", "excluded", "include", "included", "skip", "ignore", "use", "used", "for", "from"]
)
CHINESE_WORDS = ("训练", "訓練", "微调", "微調", "损失", "損失", "掩码", "掩碼")
# What people think of a reply, where a source says that a key of it is such a mark.
UP = (
    "thumbs up", "thumb up", "up", "upvote", "upvoted", "like", "liked", "good", "positive", "helpful", "👍", "+1", "赞", "点赞",
    "好评", "满意", "有用",
)  # fmt: skip
DOWN = (
    "thumbs down", "thumb down", "down", "downvote", "downvoted", "dislike", "disliked", "bad", "negative", "unhelpful",
    "not helpful", "👎", "-1", "踩", "点踩", "差评", "不满意", "没用", "无用",
)  # fmt: skip
THUMBS = {**dict.fromkeys(UP, True), **dict.fromkeys(DOWN, False)}


def read_thumb_word(value: object) -> bool | None:
    """
    >>> read_thumb_word("THUMBS_DOWN"), read_thumb_word("👍"), read_thumb_word(-1), read_thumb_word("five")
    (False, True, False, None)
    """
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return value if isinstance(value, bool) else None
    plain = str(value).strip().lower()
    return THUMBS.get(plain, THUMBS.get(plain.replace("_", " ").replace("-", " ").rstrip("🏻🏼🏽🏾🏿")))


def is_marked_off(message: Mapping[str, object], meanings: Mapping[str, Meaning]) -> bool:
    """Whether a key of an assistant's message says that its text is not to be learned. `meanings`: the source's own.

    Raises:
        ReprotuneError: a key looks like such a mark, and what it means can't be told.
    """
    off = [_says_off(key, value, meanings) for key, value in message.items() if is_mark(key) or key in meanings]
    off += [_says_off(key, value, meanings) for inner in message.values() for key, value in switches_in(inner)]
    return any(off)


def switches_in(inner: object) -> Iterator[tuple[str, object]]:
    """What an object of a message, or beside messages, such as its metadata, says of training.

    >>> list(switches_in({"train": False, "weight": 70, "source": "x"}))
    [('train', False)]
    """
    for key, value in inner.items() if isinstance(inner, dict) else ():
        if (isinstance(value, bool) and key in KNOWN) or (names_training(key) and _switches(key, value)):
            yield key, value


def is_row_marked_off(
    values: Mapping[str, object], meanings: Mapping[str, Meaning], taken: Callable[[], Collection[str]]
) -> bool:
    """Whether a key of a row, beside its messages or its pair, says that its replies are not to be learned.

    Beside texts of people's own a word is no mark, nor is a key whose name only looks like one's, unless it is a
    switch that speaks of training; `taken` gives those with a field.

    Raises:
        ReprotuneError: what the key means can't be told.
    """
    inner = [found for key in METADATA if key in values for found in _row_switches_in(values[key])]
    inner += [(key, value) for key, value in turn_marks_in(values).items() if key in meanings and key not in values]
    keys = [key for key in values if key in KNOWN or key in meanings or _switches_row(key, values[key])]
    lists = [key for key in values if is_mark(key) and key not in meanings and _are_switches(from_json(values[key]))]
    if not keys and not inner and not lists:
        return False
    names = taken()
    if several := next((key for key in lists if key not in names), None):
        raise ReprotuneError(
            f"{several} is {show(values[several])}, which looks like a mark for each message, and can't be read beside them; put "
            f"each into its message, under `train` say, or set `marks: {{{several}: ignore}}` in the source if it is none"
        )
    off = [
        _says_off(key, values[key], meanings)
        for key in keys
        if key not in names and (key in meanings or not _is_word(values[key]))
    ]
    return any(off) or any(_says_off(key, value, meanings) for key, value in inner)


def is_row_mark(key: str, cells: Iterable[object]) -> bool:
    """Whether a key of rows is such a mark, by its name and what stands there."""
    if key in METADATA:
        return any(any(_row_switches_in(cell)) for cell in cells)
    if names_training(key) and key not in KNOWN:
        return any(_switches_row(key, cell) for cell in cells)
    return key in KNOWN and any(cell not in (None, "") and not _is_word(cell) for cell in cells)


def _row_switches_in(cell: object) -> Iterator[tuple[str, object]]:
    return ((key, value) for key, value in switches_in(from_json(cell)) if not asked_of_turns(key, value))


def _switches_row(key: str, value: object) -> bool:
    """Whether it speaks of training, and of all replies of its row; which of them, `turn_marks` reads."""
    return names_training(key) and _switches(key, value) and not asked_of_turns(key, value)


@lru_cache(maxsize=4096)
def names_training(key: str) -> bool:
    """Whether a name speaks of training, as that of a key beside a pair may.

    >>> names_training("do_not_train"), names_training("是否参与训练"), names_training("weight"), names_training("trainer")
    (True, True, False, False)
    """
    return not TRAINING_WORDS.isdisjoint(words_of(key)) or any(word in key for word in CHINESE_WORDS)


def _switches(key: str, value: object) -> bool:
    """Whether what stands under such a name beside a pair switches something: training_id is 1 does not."""
    if (isinstance(value, (int, float)) and not isinstance(value, bool)) or str(value) in ("0", "1"):
        return read_switch(value) is not None and (not key.isascii() or not SWITCHING_WORDS.isdisjoint(words_of(key)))
    return read_switch(value) is not None


def _are_switches(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(read_switch(one) is not None for one in value)


def _is_word(value: object) -> bool:
    return isinstance(value, (list, dict)) or (isinstance(value, str) and value.strip().lower() not in SWITCHES)


@lru_cache(maxsize=4096)
def is_mark(key: str) -> bool:
    """Whether a key has the name of a mark, known or not.

    >>> is_mark("weight"), is_mark("loss_scale"), is_mark("computeLoss"), is_mark("content"), is_mark("closs")
    (True, True, True, False, False)
    """
    return key in KNOWN or not WORDS.isdisjoint(words_of(key)) or any(word in key for word in CHINESE_WORDS)


def _says_off(key: str, value: object, meanings: Mapping[str, Meaning]) -> bool:
    meaning = meanings.get(key, KNOWN.get(key))
    if meaning == "ignore" or value is None or value in ("", [], {}) or value != value:  # noqa: PLR0124  NaN
        return False
    switch = read_switch(value)
    if switch is None and key in meanings:
        switch = read_thumb_word(value)
    if switch is None and meaning is None and isinstance(value, str):
        return False  # a text under such a name, as mask_url has one, is no mark
    # Of 1 under `mask` nobody knows whether it stands for "masked out" or for "counts", as in a mask of the loss.
    unclear = meaning is None or (key == "mask" and key not in meanings and str(value).lower() not in ("true", "false"))
    if unclear or switch is None:
        shown = f"{key} is {show(value)}"
        if not unclear and isinstance(value, (int, float)):
            raise ReprotuneError(
                f"{shown}; expected 0 or 1, since a reply is learned or it is not; mend it, or set `marks: {{{key}: ignore}}` in "
                "the source to learn from all"
            )
        if isinstance(value, (list, dict)):
            raise ReprotuneError(
                f"{shown}, which looks like marks for pieces of a reply, and a reply is learned whole or not at all; put `train: "
                f"false` into messages that are not to be learned, and set `marks: {{{key}: ignore}}` in the source"
            )
        raise ReprotuneError(
            f"{shown}, which looks like a mark of what to learn from and can't be read; say in the source what it means: `marks: "
            f"{{{key}: train}}` if true or 1 is to be learned, `{key}: mask` if it is not, `{key}: ignore` if it is no mark"
        )
    return switch == (meaning == "mask")
