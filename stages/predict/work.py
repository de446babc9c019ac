"""What a model has to compute for the predictions, in parts that do not depend on each other, and a model that computes them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from stages.lib.base_model.tokenized import Example
from stages.predict.classes import score_labels
from stages.predict.generation import generate_replies
from stages.predict.likelihood import score_continuation, score_replies
from stages.predict.questions import Question, context_of
from stages.predict.reply import Reply

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Put = Callable[[str, object], None]  # takes a result by its key in the journal


class Scoring(NamedTuple):
    """The likelihoods of a conversation's replies; `labels`, how many each has."""

    key: str
    examples: list[Example]
    labels: list[int]


class Segment(NamedTuple):
    """Questions that are replied to together, a result each."""

    keys: list[str]
    questions: list[Question]


class Continuation(NamedTuple):
    """The likelihood of tokens after a prompt."""

    key: str
    prompt: list[int]
    reply: list[int]


class Labels(NamedTuple):
    """The likelihood of each label after a prompt."""

    key: str
    prompt: list[int]
    labels: dict[str, list[int]]


Task = Scoring | Segment | Continuation | Labels


class Worker(Protocol):
    """One model or several that are alike. `context`: tokens that prompt and reply may have together; `exact`: whether a reply is
    the same whatever its batch.
    """

    @property
    def number(self) -> int: ...

    @property
    def context(self) -> int: ...

    @property
    def exact(self) -> bool: ...

    def work(self, tasks: Iterable[Task], put: Put) -> None:
        """Do all of them, in no particular order; `put` gets each result as it is there."""


class OneModel:
    """A model in this process."""

    number = 1

    def __init__(self, model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", batch_size: int) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size
        self.context, self.exact = context_of(model.config), model.dtype == torch.float32

    def work(self, tasks: Iterable[Task], put: Put) -> None:
        for task in tasks:
            self.do(task, put)

    def do(self, task: Task, put: Put) -> None:
        match task:
            case Scoring(key, examples, labels):
                put(key, score_replies(self.model, examples, labels))
            case Continuation(key, prompt, reply):
                put(key, score_continuation(self.model, prompt, reply))
            case Labels(key, prompt, tokens):
                put(key, score_labels(self.model, prompt, tokens))
            case Segment(keys, questions):

                def note(position: int, reply: Reply) -> None:
                    put(keys[position], reply)

                generate_replies(self.model, self.tokenizer, questions, self.batch_size, note)
