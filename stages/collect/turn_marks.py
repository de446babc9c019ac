"""Which of a row's turns are learned, where a key beside them, or of their file, says it of them by their place or side."""

import re
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Literal

from stages.collect.switches import METADATA, read_switch, words_of
from stages.collect.values import from_json, show
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message

# Only the last reply, what is learned anyway, questions too, or what nobody can tell.
Asked = Literal["last", "nothing", "questions", "unclear"]

# Word -> what it says. With a word of none of these, as hearing_loss_question has one, a name may be about anything.
KINDS = {
    "train": [
        "train", "trains", "trained", "training", "trainable", "learn", "learned", "learnable", "finetune", "finetuning", "sft",
        "supervise", "supervised", "训练", "訓練", "微调", "微調",
    ],
    "loss": ["loss", "losses", "backprop", "损失", "損失"],
    "mask": ["mask", "masks", "masking", "掩码", "掩碼", "掩盖", "屏蔽", "遮蔽"],
    "masked": ["masked"],
    "not": ["no", "not", "dont", "without", "exclude", "excluded", "ignore", "ignored", "skip", "skipped", "disable", "不"],
    "last": ["last", "final", "latest", "最后", "最後", "末轮"],
    "first": ["first", "第一"],
    "history": ["history", "previous", "earlier", "prior", "past", "历史", "歷史"],
    "question": [
        "prompt", "prompts", "input", "inputs", "question", "questions", "query", "queries", "user", "users", "human",
        "instruction", "instructions", "system", "提示词", "问题", "用户",
    ],
    "reply": [
        "response", "responses", "reply", "replies", "assistant", "assistants", "completion", "completions", "output", "outputs",
        "gpt", "回复", "回答", "助手",
    ],
    "answer": ["answer", "answers"],
    "turn": ["turn", "turns", "round", "rounds", "message", "messages", "utterance", "utterances", "轮"],
    "all": ["all", "every", "each", "全部", "所有", "每"],
    "but": ["but", "except"],
    "only": ["only", "仅", "只"],
    "on": ["on"],
    "filling": [
        "for", "the", "to", "from", "in", "is", "are", "and", "use", "used", "do", "should", "be", "compute", "computed",
        "calculate", "apply", "enable", "enabled", "include", "included", "with", "per", "token", "tokens", "flag", "role",
        "roles", "scale", "strategy", "mode", "scope", "target", "targets", "context", "contexts", "计算",
    ],
}  # fmt: skip
KIND_OF = {word: kind for kind, words in KINDS.items() for word in words}
CHINESE = [word for word in KIND_OF if not word.isascii()]
EFFECTS = {"train", "loss", "mask", "masked"}
PLACES = {"last", "first", "history", "question", "reply", "answer", "turn", "all", "only"}
UNKNOWN = "unknown"
QUESTION_WEIGHT = re.compile("loss_?weight$")
NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")
OBJECTS = (*METADATA, "config", "settings", "options")  # that may hold such a key


@lru_cache(maxsize=4096)
def _kinds(text: str) -> frozenset[str]:
    """Of the words of a name, or of a text that stands for one."""
    plain = [KIND_OF.get(word, UNKNOWN) for word in words_of(text) if word]
    return frozenset([*plain, *(KIND_OF[word] for word in CHINESE if word in text)])


@lru_cache(maxsize=4096)
def speaks_of_turns(key: str) -> bool:
    """Whether a name may say which turns are learned.

    >>> speaks_of_turns("mask_history"), speaks_of_turns("last_turn_only"), speaks_of_turns("last_message")
    (True, True, False)
    """
    kinds = _kinds(key)
    return not EFFECTS.isdisjoint(kinds) or ("only" in kinds and not kinds.isdisjoint(("last", "first")))


def asked_of_turns(key: str, value: object) -> Asked | None:
    """What a key asks for; None where it asks for nothing of the kind, as a measured loss does not.

    >>> asked_of_turns("only_last_turn_loss", True), asked_of_turns("train_on_history", False), asked_of_turns("loss_on", "last")
    ('last', 'last', 'last')
    >>> asked_of_turns("mask_prompt", True), asked_of_turns("train_on_inputs", True), asked_of_turns("mask_last_turn", True)
    ('nothing', 'questions', 'unclear')
    >>> asked_of_turns("final_loss", 0.13), asked_of_turns("hearing_loss_question", True), asked_of_turns("mask", [0, 1])
    (None, None, None)
    """
    if not speaks_of_turns(key):
        return None
    if isinstance(value, str) and NUMBER.fullmatch(value.strip()):  # as a CSV has it
        value = float(value) if "." in value else int(value)
    kinds, switch = _kinds(key), read_switch(value)
    asked: Asked | None = None
    if isinstance(value, (list, str)) and switch is None:
        named = _places_in(value)
        if named and kinds <= {*EFFECTS, "not", "on", "filling"}:
            asked = _read(kinds | named, True, in_text=True)
    elif QUESTION_WEIGHT.search(key.lower()) and "question" in kinds and isinstance(value, (int, float)):
        asked = "questions" if value > 0 else "nothing"
    elif isinstance(value, (bool, str)):
        asked = _read(kinds, bool(switch))
    elif (isinstance(value, int) or value in (0.0, 1.0)) and not kinds.isdisjoint(("mask", "masked", "on", "only")):
        asked = _read(kinds, switch is not False)
        asked = "unclear" if asked and switch is None else asked  # so many of the last, say
    return asked


def _places_in(value: list | str) -> frozenset[str]:
    """What a text, or a list of texts, says where it names nothing but places and sides."""
    parts = [
        _kinds(part[:60]) if isinstance(part, str) else frozenset([UNKNOWN])
        for part in ([value] if isinstance(value, str) else value)
    ]
    found = frozenset[str]().union(*parts)
    return found if found <= PLACES else frozenset()


def _is_rule(kinds: Collection[str], in_text: bool) -> bool:
    """Whether words speak of what is learned, and of which turns."""
    has = frozenset(kinds)
    said = has & {"turn", "reply", "answer"}
    if not has & EFFECTS:
        return has == {"last", "only"} or bool(
            "only" in has and has & {"last", "first"} and has & {"turn", "reply"} and UNKNOWN not in has
        )
    if UNKNOWN in has:
        on_training = has & {"train", "only"} or (has & {"mask", "masked"} and has & {"history", "loss"})
        return bool(on_training and (said or has & {"question", "history"}))
    placed = has & {"last", "first", "history", "question", "reply", "answer"} or has >= {"all", "turn"}
    # final_loss is a number somebody measured, and history_of_loss none that anybody learns from.
    certain = has & {"train", "mask", "masked", "on", "only", "not", "question", "reply", "answer"} or has >= {"last", "turn"}
    return bool(placed and (certain or in_text))


def _read(kinds: frozenset[str], switch: bool, in_text: bool = False) -> Asked | None:
    """`in_text`: whether a text under the key names the turns."""
    if not _is_rule(kinds, in_text):
        return None
    masks = bool(kinds & {"mask", "masked"})
    learned = switch != (masks != ("not" in kinds))
    if UNKNOWN in kinds:
        return "unclear" if switch else None
    if "history" in kinds and (masks or "last" not in kinds):
        return _of_history(kinds, switch, learned)
    if kinds & {"last", "first"}:
        learned = learned != ("but" in kinds)
        plain = learned and "last" in kinds and not kinds & {"first", "question"}
        return "nothing" if not switch else "last" if plain else "unclear"
    return _of_sides(kinds, switch, learned)


def _of_history(kinds: frozenset[str], switch: bool, learned: bool) -> Asked:
    if learned:
        return "unclear" if "only" in kinds else "nothing"
    return "last" if switch or "on" in kinds else "unclear"


def _of_sides(kinds: frozenset[str], switch: bool, learned: bool) -> Asked | None:
    replies = bool(kinds & {"reply", "answer"})
    if "question" in kinds and replies:
        return "unclear" if switch else "nothing"
    if "question" in kinds:
        of_names = "masked" in kinds and not switch and not kinds & {"train", "loss"}  # masked_user: false
        return None if of_names else "questions" if learned else "nothing"
    if learned:
        return "nothing"
    return "questions" if replies and "only" in kinds and not switch else "unclear"


def turn_marks_in(values: Mapping[str, object]) -> dict[str, object]:
    """Key -> value of those that say which turns are learned, also of those in objects such as metadata."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if key in OBJECTS or speaks_of_turns(key):
            inner = from_json(value)
            if isinstance(inner, dict):
                found |= {name: one for name, one in inner.items() if asked_of_turns(name, one)}
            elif asked_of_turns(key, inner):
                found[key] = value
    return found


def learns_last_only(
    values: Mapping[str, object], meanings: Collection[str], taken: Collection[str], in_tree: bool = False
) -> bool:
    """Whether a row says that of its replies only the last one is learned.

    `meanings`: the keys that the source's `marks` explains; `taken`: those with a field. `in_tree`: rows name the one before
    them, so that what a row holds is a piece, of which nobody can tell whether it is the last.

    Raises:
        ReprotuneError: a key asks for something else that is not done, or that can't be told.
    """
    beside = {key: value for key, value in values.items() if key not in taken}
    last = False
    for key, value in turn_marks_in(beside).items():
        asked = asked_of_turns(key, from_json(value)) if key not in meanings else "nothing"
        if asked == "questions":
            raise ReprotuneError(
                f"{key} is {show(value)}, which asks that questions be learned too, and only replies are; set `marks: {{{key}: "
                "ignore}` in the source to learn from the replies all the same"
            )
        if asked == "unclear" or (asked == "last" and in_tree):
            raise ReprotuneError(
                f"{key} is {show(value)}, which says in a way that can't be read which turns are to be learned; set `marks: "
                f"{{{key}: ignore}}` in the source to learn from all replies"
            )
        last = last or asked == "last"
    return last


def without_turn_marks(values: dict[str, object], taken: Collection[str]) -> dict[str, object]:
    """A row without the keys that say which turns are learned: no marks of one message, where a row is one."""
    found = [key for key in values if key not in taken and asked_of_turns(key, values[key])]
    return {key: value for key, value in values.items() if key not in found} if found else values


def last_learned(messages: Iterable[Message]) -> list[Message]:
    """The messages, of which only the last reply is learned."""
    listed = list(messages)
    replies = [at for at, message in enumerate(listed) if message["role"] == "assistant"]
    for at in replies[:-1]:
        listed[at] = {**listed[at], "weight": 0}
    return listed
