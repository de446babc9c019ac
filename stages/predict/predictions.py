"""What a model says and how likely it finds the references: the rows of data/predictions/*.parquet."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from tqdm import tqdm

from stages.lib.chat_template import what_is_said
from stages.lib.records.conversation import Conversation, Message, Tool, trained_positions
from stages.lib.records.predictions import Prediction, SetName, blank
from stages.predict import classes, likelihood
from stages.predict.generation import Reply, generate_replies
from stages.predict.journal import Journal
from stages.predict.params import PredictParams
from stages.predict.questions import Question, ask, choose_turns, context_of
from stages.predict.retention import RetentionPrompt
from stages.predict.training_data import TrainingData

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BROKEN = "the model's scores are no finite numbers; predict.precision: float32 may help"
SEGMENT = 4  # batches: in low precision a reply's last bits depend on its neighbours, so those are the same after a kill


class Inputs(NamedTuple):
    """`base_replies`: of the general prompts, by id, tokens; None for the base model, which makes them."""

    test: list[Conversation]
    training: TrainingData
    retention: list[RetentionPrompt]
    base_replies: dict[str, list[int]] | None


class Wanted(NamedTuple):
    """A row that is to have a reply: to `question`, or none for the reason that stands there."""

    row: Prediction
    question: Question | str


class Predictor:
    """A model with what all of its predictions have in common; `name`, the contender's."""

    def __init__(
        self,
        model: "PreTrainedModel",
        tokenizer: "PreTrainedTokenizerBase",
        params: PredictParams,
        max_new_tokens: int,
        name: str,
        journal: Journal,
    ) -> None:
        self.model, self.tokenizer, self.params, self.max_new_tokens = model, tokenizer, params, max_new_tokens
        self.name, self.journal = name, journal
        self.context = context_of(model.config)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        """Test, train, repeated and retention rows, each in the order of its conversations and turns."""
        rows = self.score_all(inputs)
        test = list(self.ask_test(inputs.test, rows))
        retention = list(self.ask_retention(inputs.retention))
        self.reply([*test, *retention])
        self.score_retention(retention, inputs.base_replies)
        if inputs.training.labels:
            self.score_labels(inputs, test)
        return rows + [wanted.row for wanted in retention]

    # --- Likelihoods --------------------------------------------------------------------------------------------------

    def score_all(self, inputs: Inputs) -> list[Prediction]:
        parts: list[tuple[SetName, Conversation, int | None]] = [("test", conversation, None) for conversation in inputs.test]
        parts += [("train", conversation, None) for conversation in inputs.training.sample[: len(inputs.test)]]
        parts += [("repeated", conversation, turn) for conversation, turn in inputs.training.repeated]
        rows = []
        for set, conversation, turn in self.progress(parts, "likelihood"):
            rows += [row for row in self.score(set, conversation) if turn in (None, row["turn"])]
        return rows

    def score(self, set: SetName, conversation: Conversation) -> list[Prediction]:
        """A row for each message to learn."""
        id, messages = conversation["id"], conversation["messages"]
        rows = [blank(set, id, turn) for turn in trained_positions(messages) or [-1]]
        examples = likelihood.tokenize(self.tokenizer, conversation, self.context)
        if isinstance(examples, str):
            for row in rows:
                row["unscored"] = examples
            return rows
        key = f"likelihood {id}"
        if key not in self.journal.done:
            labels = likelihood.count_labels(self.tokenizer, messages, conversation.get("tools"), examples)
            self.journal.put(key, likelihood.score_replies(self.model, examples, labels))
        for row, score in zip(rows, self.journal.done[key], strict=True):
            likelihood.put_score(row, likelihood.Score(*score))
        return rows

    # --- Replies ------------------------------------------------------------------------------------------------------

    def ask_test(self, conversations: Sequence[Conversation], rows: Sequence[Prediction]) -> Iterator[Wanted]:
        """Some turns of each conversation, chosen by the seed and the conversation's id alone."""
        row_of = {(row["id"], row["turn"]): row for row in rows if row["set"] == "test"}
        for conversation in conversations:
            messages = conversation["messages"]
            for turn in choose_turns(conversation, self.params.turns, self.params.seed):
                yield Wanted(row_of[conversation["id"], turn], self.ask(messages[:turn], conversation.get("tools")))

    def ask_retention(self, prompts: Sequence[RetentionPrompt]) -> Iterator[Wanted]:
        for prompt in prompts:
            yield Wanted(blank("retention", prompt.id, len(prompt.messages)), self.ask(prompt.messages, None))

    def ask(self, messages: Sequence[Message], tools: list[Tool] | None) -> Question | str:
        return ask(self.tokenizer, messages, tools, self.max_new_tokens, self.context)

    def reply(self, wanted: Sequence[Wanted]) -> None:
        """Put into each row its reply, or why there is none."""
        asked = sorted((each for each in wanted if isinstance(each.question, Question)), key=length_of_prompt)
        size = max(1, len(asked)) if self.is_exact else SEGMENT * self.params.batch_size
        bar = self.progress(range(len(asked)), "replies")
        for start in range(0, len(asked), size):
            self.reply_to_segment(asked[start : start + size], bar)
        bar.close()
        for row, question in wanted:
            if isinstance(question, str):
                row["unanswered"] = question
                continue
            tokens, stopped, broken = self.journal.done[key_of(row)]
            reply = Reply(tokens, stopped, broken)
            row["room"] = question.room
            if broken:
                row["unanswered"] = BROKEN
                continue
            row["reply"], row["thoughts"] = what_is_said(self.tokenizer, reply.ids)
            row["reply_tokens"], row["stopped"] = len(reply.ids), stopped

    @property
    def is_exact(self) -> bool:
        """Whether a reply is the same whatever its batch."""
        return self.model.dtype == torch.float32

    def reply_to_segment(self, segment: Sequence[Wanted], bar: tqdm) -> None:
        missing = [each for each in segment if key_of(each.row) not in self.journal.done]
        todo = list(segment) if missing and not self.is_exact else missing
        bar.update(len(segment) - len(todo))
        questions = [each.question for each in todo if isinstance(each.question, Question)]

        def note(position: int, reply: Reply) -> None:
            self.journal.put(key_of(todo[position].row), reply)
            bar.update()

        generate_replies(self.model, self.tokenizer, questions, self.params.batch_size, note)

    # --- What follows from replies ------------------------------------------------------------------------------------

    def score_retention(self, wanted: Sequence[Wanted], base_replies: dict[str, list[int]] | None) -> None:
        """How likely the base model's replies to the general prompts are."""
        for row, question in self.progress(wanted, "retention"):
            if isinstance(question, str):
                row["unscored"] = question
                continue
            tokens, _, broken = self.journal.done[key_of(row)]
            row["reply_ids"] = None if broken else tokens
            reference = row["reply_ids"] if base_replies is None else base_replies.get(row["id"])
            if reference:
                likelihood.put_score(row, likelihood.score_continuation(self.model, question.prompt, reference))
            else:
                row["unscored"] = "the base model has no reply to it"

    def score_labels(self, inputs: Inputs, wanted: Sequence[Wanted]) -> None:
        conversation_of = {conversation["id"]: conversation for conversation in inputs.test}
        for row, question in self.progress(wanted, "labels"):
            if isinstance(question, str):
                continue
            key = f"labels {row['turn']} {row['id']}"
            if key in self.journal.done:
                row["label_nll"] = self.journal.done[key]
                continue
            conversation = conversation_of[row["id"]]
            labels = classes.tokenize_labels(
                self.tokenizer, conversation["messages"][: row["turn"]], conversation.get("tools"), inputs.training.labels
            )
            if labels and len(question.prompt) + max(map(len, labels.values())) <= self.context:
                row["label_nll"] = classes.score_labels(self.model, question.prompt, labels)
                self.journal.put(key, row["label_nll"])

    def progress(self, things: Any, what: str) -> tqdm:
        return tqdm(things, desc=f"predict {self.name}: {what}", delay=2, disable=None)


def key_of(row: Prediction) -> str:
    """Of its reply, in the journal."""
    return f"reply {row['set']} {row['turn']} {row['id']}"


def length_of_prompt(wanted: Wanted) -> int:
    return len(wanted.question.prompt) if isinstance(wanted.question, Question) else 0
