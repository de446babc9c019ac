"""How likely a model finds replies that are given. One sequence at a time, so that no neighbour changes its last bits."""

from collections.abc import Sequence
from itertools import accumulate, groupby, pairwise
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.chat_template import TemplateMisfit, tokenize_conversation
from stages.lib.model.packs import collate_pack
from stages.lib.records.conversation import Conversation, Message, Tool, trained_positions
from stages.lib.records.predictions import Prediction

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NO_REPLY = "all of its replies have weight 0, so that there is none to compare with"
NO_NUMBER = "its likelihood is no finite number: the model's scores overflow or are NaN; predict.precision: float32 may help"


class Score(NamedTuple):
    """Of one reply: nats over its labels (None if they are no finite number), how many labels, and how many of the first ones are
    the most likely token each.
    """

    nll: float | None
    labels: int
    verbatim: int


def tokenize(tokenizer: "PreTrainedTokenizerBase", conversation: Conversation, context: int) -> list[Example] | str:
    """What is scored of a conversation, or why it cannot be."""
    if not trained_positions(conversation["messages"]):
        return NO_REPLY
    try:
        examples = tokenize_conversation(tokenizer, conversation["messages"], conversation.get("tools"))
    except TemplateMisfit as misfit:
        return str(misfit)
    longest = max(len(example.input_ids) for example in examples)
    return examples if longest <= context else f"longer than the model's context of {context:,} tokens"


def count_labels(
    tokenizer: "PreTrainedTokenizerBase", messages: Sequence[Message], tools: list[Tool] | None, examples: Sequence[Example]
) -> list[int]:
    """Of each message to learn, how many labels it has; in a template where replies adjoin, by tokenising its beginnings."""
    runs = [
        len(list(run))
        for example in examples
        for labelled, run in groupby(example.labels, key=lambda label: label != IGNORE_INDEX)
        if labelled
    ]
    turns = trained_positions(messages)
    if len(runs) == len(turns):
        return runs
    totals = [0]
    for turn in turns:
        some = tokenize_conversation(tokenizer, messages[: turn + 1], tools)
        totals.append(sum(label != IGNORE_INDEX for example in some for label in example.labels))
    return [after - before for before, after in pairwise(totals)]


@torch.inference_mode()
def score_example(model: "PreTrainedModel", example: Example) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each label its NLL in nats, float32, and whether it is the most likely token: (N,) each."""
    batch = {key: value.to(model.device) for key, value in collate_pack([example]).items()}
    following = batch["labels"][0, 1:]
    predicting = (following != IGNORE_INDEX).nonzero().squeeze(-1)
    logits = model(
        input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False, logits_to_keep=predicting
    ).logits[0]
    targets = following[predicting]
    nll = functional.cross_entropy(logits.float(), targets, reduction="none")
    return nll.cpu(), (logits.argmax(-1) == targets).cpu()


def score_replies(model: "PreTrainedModel", examples: Sequence[Example], labels: Sequence[int]) -> list[Score]:
    """Of the replies in the examples, in order; `labels`, the number of each one's."""
    parts = [score_example(model, example) for example in examples]
    nll, likeliest = (torch.cat(part) for part in zip(*parts, strict=True))
    scores = []
    for start, end in pairwise(accumulate(labels, initial=0)):
        verbatim = int(likeliest[start:end].int().cumprod(0).sum())
        nats = nll[start:end].double().sum()
        scores.append(Score(nats.item() if nats.isfinite() else None, end - start, verbatim))
    return scores


def score_continuation(model: "PreTrainedModel", prompt: list[int], reply: list[int]) -> Score:
    """Of tokens after a prompt."""
    [score] = score_replies(model, [Example(prompt + reply, [IGNORE_INDEX] * len(prompt) + reply)], [len(reply)])
    return score


def put_score(row: Prediction, score: Score) -> None:
    if score.nll is None:
        row["unscored"] = NO_NUMBER
    else:
        row["nll"], row["labels"], row["verbatim"] = score
