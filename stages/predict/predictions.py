"""What a model says and how likely it finds the references: the rows of data/predictions/*.parquet."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tqdm import tqdm

from stages.lib.chat_template import what_is_said
from stages.lib.general_prompts import RetentionPrompt
from stages.lib.records.conversation import Conversation, Message, Tool, trained_positions
from stages.lib.records.predictions import Prediction, SetName, blank
from stages.predict import classes, likelihood
from stages.predict.journal import Journal
from stages.predict.params import PredictParams
from stages.predict.questions import Question, ask, choose_turns
from stages.predict.reply import Reply
from stages.predict.training_data import TrainingData
from stages.predict.work import Continuation, Labels, Scoring, Segment, Task, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

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
    """What all predictions of a model have in common; `name`, the contender's."""

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        params: PredictParams,
        max_new_tokens: int,
        name: str,
        journal: Journal,
    ) -> None:
        self.tokenizer, self.params, self.max_new_tokens = tokenizer, params, max_new_tokens
        self.name, self.journal = name, journal
        self.worker: Worker

    def reply_ahead(self, worker: Worker, inputs: Inputs) -> None:
        """Have another engine reply; `predict` finds its replies in the journal."""
        self.worker = worker
        rows = [blank("test", one["id"], turn) for one in inputs.test for turn in trained_positions(one["messages"])]
        self.reply([*self.ask_test(inputs.test, rows), *self.ask_retention(inputs.retention)])

    def predict(self, worker: Worker, inputs: Inputs) -> list[Prediction]:
        """Test, train, repeated and retention rows, each in the order of its conversations and turns."""
        self.worker = worker
        rows = self.score_all(inputs)
        test = list(self.ask_test(inputs.test, rows))
        retention = list(self.ask_retention(inputs.retention))
        self.reply([*test, *retention])
        self.score_retention(retention, inputs.base_replies)
        if inputs.training.labels:
            self.score_labels(inputs, test)
        return rows + [wanted.row for wanted in retention]

    def work(self, tasks: Iterable[Task], results: int, what: str) -> None:
        """Have the tasks done, whose results go into the journal; there are so many of them at most."""
        with tqdm(total=results, desc=f"predict {self.name}: {what}", delay=2, disable=None) as bar:

            def put(key: str, value: object) -> None:
                self.journal.put(key, value)
                bar.update()

            self.worker.work(tasks, put)

    # --- Likelihoods --------------------------------------------------------------------------------------------------

    def score_all(self, inputs: Inputs) -> list[Prediction]:
        parts: list[tuple[SetName, Conversation, int | None]] = [("test", conversation, None) for conversation in inputs.test]
        parts += [("train", conversation, None) for conversation in inputs.training.sample[: len(inputs.test)]]
        parts += [("repeated", conversation, turn) for conversation, turn in inputs.training.repeated]
        conversations = {conversation["id"]: conversation for _, conversation, _ in parts}
        reasons: dict[str, str] = {}
        self.work(self.score(conversations.values(), reasons), len(conversations), "likelihood")
        return [row for set, one, turn in parts for row in self.score_rows(set, one, reasons) if turn in (None, row["turn"])]

    def score(self, conversations: Iterable[Conversation], reasons: dict[str, str]) -> Iterator[Task]:
        """Of those that are not done; why the others cannot be goes into `reasons`."""
        for conversation in conversations:
            examples = likelihood.tokenize(self.tokenizer, conversation, self.worker.context)
            key = key_of_likelihood(conversation)
            if isinstance(examples, str):
                reasons[conversation["id"]] = examples
            elif key not in self.journal.done:
                tools = conversation.get("tools")
                labels = likelihood.count_labels(self.tokenizer, conversation["messages"], tools, examples)
                yield Scoring(key, examples, labels)

    def score_rows(self, set: SetName, conversation: Conversation, reasons: dict[str, str]) -> list[Prediction]:
        """A row for each message to learn."""
        rows = [blank(set, conversation["id"], turn) for turn in trained_positions(conversation["messages"]) or [-1]]
        if reason := reasons.get(conversation["id"]):
            for row in rows:
                row["unscored"] = reason
            return rows
        for row, score in zip(rows, self.journal.done[key_of_likelihood(conversation)], strict=True):
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
        return ask(self.tokenizer, messages, tools, self.max_new_tokens, self.worker.context)

    def reply(self, wanted: Sequence[Wanted]) -> None:
        """Put into each row its reply, or why there is none."""
        asked = [(key_of_reply(row), question) for row, question in wanted if isinstance(question, Question)]
        segments = self.divide(sorted(asked, key=lambda one: len(one[1].prompt)))
        self.work(segments, sum(len(segment.keys) for segment in segments), "replies")
        for row, question in wanted:
            if isinstance(question, str):
                row["unanswered"] = question
                continue
            tokens, stopped, broken = self.journal.done[key_of_reply(row)]
            reply = Reply(tokens, stopped, broken)
            row["room"] = question.room
            if broken:
                row["unanswered"] = BROKEN
                continue
            row["reply"], row["thoughts"] = what_is_said(self.tokenizer, reply.ids)
            row["reply_tokens"], row["stopped"] = len(reply.ids), stopped

    def divide(self, asked: Sequence[tuple[str, Question]]) -> list[Segment]:
        """What is not done yet, by length, a part for each process; where neighbours matter, the same parts whatever was done and
        however many processes there are, those with the longest prompts first, which take longest.
        """
        done = self.journal.done
        if self.worker.exact:
            missing = [one for one in asked if one[0] not in done]
            parts = [missing[start :: self.worker.number] for start in range(self.worker.number)]
        else:
            size = SEGMENT * self.params.batch_size
            parts = [list(asked[start : start + size]) for start in range(0, len(asked), size)]
            parts = [part for part in parts if any(key not in done for key, _ in part)]
            if self.worker.number > 1:
                parts.reverse()
        return [Segment([key for key, _ in part], [question for _, question in part]) for part in parts if part]

    # --- What follows from replies ------------------------------------------------------------------------------------

    def score_retention(self, wanted: Sequence[Wanted], base_replies: dict[str, list[int]] | None) -> None:
        """How likely the base model's replies to the general prompts are."""
        tasks = []
        for row, question in wanted:
            if isinstance(question, str):
                row["unscored"] = question
                continue
            tokens, _, broken = self.journal.done[key_of_reply(row)]
            row["reply_ids"] = None if broken else tokens
            reference = row["reply_ids"] if base_replies is None else base_replies.get(row["id"])
            if not reference:
                row["unscored"] = "the base model has no reply to it"
            elif key_of_retention(row) not in self.journal.done:
                tasks.append(Continuation(key_of_retention(row), question.prompt, reference))
        self.work(tasks, len(tasks), "retention")
        for row, _ in wanted:
            if not row["unscored"]:
                likelihood.put_score(row, likelihood.Score(*self.journal.done[key_of_retention(row)]))

    def score_labels(self, inputs: Inputs, wanted: Sequence[Wanted]) -> None:
        """Where prompt and labels have room."""
        conversation_of = {conversation["id"]: conversation for conversation in inputs.test}

        def tasks() -> Iterator[Task]:
            for row, question in wanted:
                if isinstance(question, str) or key_of_labels(row) in self.journal.done:
                    continue
                conversation = conversation_of[row["id"]]
                labels = classes.tokenize_labels(
                    self.tokenizer, conversation["messages"][: row["turn"]], conversation.get("tools"), inputs.training.labels
                )
                if labels and len(question.prompt) + max(map(len, labels.values())) <= self.worker.context:
                    yield Labels(key_of_labels(row), question.prompt, labels)

        self.work(tasks(), len(wanted), "labels")
        for row, _ in wanted:
            row["label_nll"] = self.journal.done.get(key_of_labels(row))


# Of each result, in the journal.


def key_of_likelihood(conversation: Conversation) -> str:
    return f"likelihood {conversation['id']}"


def key_of_reply(row: Prediction) -> str:
    return f"reply {row['set']} {row['turn']} {row['id']}"


def key_of_retention(row: Prediction) -> str:
    return f"retention {row['id']}"


def key_of_labels(row: Prediction) -> str:
    return f"labels {row['turn']} {row['id']}"
