"""What predicting meets after training: how long replies may be, and whether the prompts of test leave them room."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.params import read_params
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.predict.params import PredictParams
from stages.predict.questions import Question, ask, choose_turns, context_of
from stages.predict.training_data import read_training_data
from tools.console import paragraph, plural

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def tell_replies(config: "PreTrainedConfig") -> Iterator[str]:
    """Nothing before the stage `split` has run."""
    test, train = conversations_of("test"), conversations_of("train")
    if not (test.exists() and train.exists()):
        return
    params, tokenizer, context = read_params("predict", PredictParams), load_tokenizer(), context_of(config)
    training = read_training_data(train, tokenizer, params.seed, params.task)
    longest = params.max_new_tokens or training.longest
    asked = [
        ask(tokenizer, row["messages"][:turn], row.get("tools"), longest, context)
        for row in read_conversations(test)
        for turn in choose_turns(row, params.turns, params.seed)
    ]
    none = sum(isinstance(question, str) for question in asked)
    less = sum(isinstance(question, Question) and question.room < longest for question in asked)
    number, room = plural(len(asked), "reply"), plural(longest, "token")
    said = f"{number} of up to {room}; {training.task}: {training.task_reason}"
    if less or none:
        said += (
            f". In the model's context of {context:,} tokens, {less:,} of the prompts leave less room than that, and "
            f"{none:,} can't be replied to at all; likelihoods are taken all the same. Shorter conversations, or a model with a "
            "longer context, would mend that"
        )
    yield from paragraph("replies", said)
