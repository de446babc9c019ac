"""What a model says and how likely it finds the references, for each test conversation: data/predictions/*.parquet."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field
from tqdm import tqdm

from stages.lib.chat_template import TemplateMisfit, tokenize_conversation, tokenize_prompt, what_is_said
from stages.lib.core.params import Section
from stages.lib.model.hardware import Precision, find_hardware
from stages.lib.model.packs import collate_pack, label_nll
from stages.lib.model.weights import load_base_model
from stages.lib.records.conversation import Conversation, conversations_of, read_conversations, trained_positions
from stages.lib.records.predictions import SCHEMA, Contender, Prediction, predictions_of
from stages.lib.records.tokenized import Example
from stages.lib.tokenizer import load_tokenizer
from stages.predict.generation import generate_replies

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class PredictParams(Section):
    other_names = {
        "precision": ("bf16", "fp16", "dtype", "torch_dtype"),
        "batch_size": ("eval_batch_size", "per_device_eval_batch_size"),
        "max_new_tokens": ("max_length", "max_tokens", "generation_max_length"),
    }
    precision: Precision
    batch_size: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)


class Tokens(NamedTuple):
    """Of one conversation. `prompt`: all before its last assistant message, of those that are to be learned."""

    examples: list[Example]
    prompt: list[int]


def predict_test(name: Contender, params: PredictParams, adapt: Callable[[Any], Any] | None = None) -> str:
    """Write the predictions of the base model, or of what `adapt` makes of it, and return a line that says so."""
    hardware = find_hardware(params.precision)
    tokenizer = load_tokenizer()
    model = load_base_model(hardware.precision, hardware.device)
    model = adapt(model) if adapt else model
    rows = predict(model, tokenizer, read_conversations(conversations_of("test")), params, name)
    path = predictions_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path, compression="zstd")
    scored = sum(row["unscored"] is None for row in rows)
    return f"predict {name}: {scored:,} of {len(rows):,} test conversations on {hardware.device} in {hardware.precision}"


def predict(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    conversations: list[Conversation],
    params: PredictParams,
    name: str,
) -> list[Prediction]:
    """One prediction for each conversation, in order."""
    context = getattr(model.config, "max_position_embeddings", None) or 10**9
    rows: list[Prediction] = []
    prompts: dict[str, list[int]] = {}
    for conversation in tqdm(conversations, desc=f"predict {name}: likelihood", delay=2, disable=None):
        tokens = tokenize(tokenizer, conversation, context - params.max_new_tokens, context)
        if isinstance(tokens, str):
            rows.append(prediction(conversation["id"], unscored=tokens))
            continue
        nll = torch.cat([score_example(model, example) for example in tokens.examples])
        rows.append(prediction(conversation["id"], nll=nll.double().sum().item(), labels=nll.numel()))
        prompts[conversation["id"]] = tokens.prompt
    replies = generate_replies(model, tokenizer, list(prompts.values()), params.batch_size, params.max_new_tokens, name)
    reply_of = dict(zip(prompts, replies, strict=True))
    for row in rows:
        if reply := reply_of.get(row["id"]):
            row["reply"] = what_is_said(tokenizer, reply.ids).text
            row["reply_tokens"], row["stopped"] = len(reply.ids), reply.stopped
    return rows


def prediction(id: str, nll: float | None = None, labels: int | None = None, unscored: str | None = None) -> Prediction:
    """Without its reply, which comes later, if it comes."""
    return Prediction(id=id, nll=nll, labels=labels, reply=None, reply_tokens=None, stopped=None, unscored=unscored)


def tokenize(
    tokenizer: "PreTrainedTokenizerBase", conversation: Conversation, longest_prompt: int, longest_example: int
) -> Tokens | str:
    """What is scored of a conversation and what is continued, or why it cannot be."""
    messages, tools = conversation["messages"], conversation.get("tools")
    replies = trained_positions(messages)
    if not replies:
        return "all of its replies have weight 0, so that there is none to compare with"
    try:
        tokens = Tokens(
            tokenize_conversation(tokenizer, messages, tools), tokenize_prompt(tokenizer, messages[: replies[-1]], tools)
        )
    except TemplateMisfit as misfit:
        return str(misfit)
    too_long = len(tokens.prompt) > longest_prompt or any(len(example.input_ids) > longest_example for example in tokens.examples)
    return f"longer than the model's context of {longest_example:,} tokens" if too_long else tokens


@torch.inference_mode()
def score_example(model: "PreTrainedModel", example: Example) -> torch.Tensor:
    """NLL in nats of each label of one example: (N,). One example at a time, so that no neighbour changes its last bits."""
    return label_nll(model, {key: value.to(model.device) for key, value in collate_pack([example]).items()}).cpu()
