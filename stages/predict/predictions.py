"""What a model says and how likely it finds the references, for each test conversation: data/predictions/*.parquet.

Columns: `id`; `nll` in nats over the labelled tokens of all assistant messages; `labels`, their number; `reply`, greedy, to
the conversation without its last assistant message; `reply_tokens`; `stopped`, whether the reply ended by itself; `unscored`,
why a conversation has neither (null for those that have).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field
from tqdm import tqdm
from transformers import GenerationConfig

from stages.lib.chat_template import TemplateMisfit, stop_token_id, tokenize_conversation, tokenize_prompt
from stages.lib.core.params import Section
from stages.lib.model.hardware import Precision, find_hardware
from stages.lib.model.packs import collate_pack, label_nll
from stages.lib.model.weights import load_base_model
from stages.lib.records.conversation import Conversation, conversations_of, read_conversations
from stages.lib.records.predictions import SCHEMA, predictions_of
from stages.lib.tokenizer import load_tokenizer


class PredictParams(Section):
    other_names = {
        "precision": ("bf16", "fp16", "dtype", "torch_dtype"),
        "batch_size": ("eval_batch_size", "per_device_eval_batch_size"),
        "max_new_tokens": ("max_length", "max_tokens", "generation_max_length"),
    }
    precision: Precision
    batch_size: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)


class Reply(NamedTuple):
    """`ids` without the stop token and what follows it."""

    ids: list[int]
    stopped: bool


def predict_test(name: str, params: PredictParams, adapt: Callable[[Any], Any] | None = None) -> str:
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
    model: Any, tokenizer: Any, conversations: list[Conversation], params: PredictParams, name: str
) -> list[dict[str, Any]]:
    """One row of SCHEMA for each conversation, in order."""
    context = getattr(model.config, "max_position_embeddings", None) or 10**9
    rows, prompts = [], {}
    for conversation in tqdm(conversations, desc=f"predict {name}: likelihood", delay=2, disable=None):
        row: dict[str, Any] = dict.fromkeys(SCHEMA.names) | {"id": conversation["id"]}
        rows.append(row)
        messages = conversation["messages"]
        last = max(position for position, message in enumerate(messages) if message["role"] == "assistant")
        try:
            examples = tokenize_conversation(tokenizer, messages)
            prompt = tokenize_prompt(tokenizer, messages[:last])
        except TemplateMisfit as misfit:
            row["unscored"] = str(misfit)
            continue
        if max(len(prompt) + params.max_new_tokens, *(len(example.input_ids) for example in examples)) > context:
            row["unscored"] = f"longer than the model's context of {context:,} tokens"
            continue
        nll = torch.cat([score_example(model, example) for example in examples])
        row |= {"nll": nll.double().sum().item(), "labels": nll.numel()}
        prompts[conversation["id"]] = prompt
    replies = dict(zip(prompts, generate_replies(model, tokenizer, list(prompts.values()), params, name), strict=True))
    for row in rows:
        if reply := replies.get(row["id"]):
            text = tokenizer.decode(reply.ids, skip_special_tokens=True).strip()
            row |= {"reply": text, "reply_tokens": len(reply.ids), "stopped": reply.stopped}
    return rows


@torch.inference_mode()
def score_example(model: Any, example: Any) -> torch.Tensor:
    """NLL in nats of each label of one example: (N,). One example at a time, so that no neighbour changes its last bits."""
    return label_nll(model, {key: value.to(model.device) for key, value in collate_pack([example]).items()}).cpu()


@torch.inference_mode()
def generate_replies(model: Any, tokenizer: Any, prompts: list[list[int]], params: PredictParams, name: str) -> list[Reply]:
    """Greedy replies, in the order of the prompts; batches hold prompts of like length, padded on the left."""
    if not prompts:
        return []
    stops = {stop_token_id(tokenizer), tokenizer.eos_token_id} - {None}
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops)
    model.generation_config = GenerationConfig(do_sample=False)  # a model's own may hold penalties, which also count padding
    by_length = sorted(range(len(prompts)), key=lambda position: (len(prompts[position]), position))
    replies: dict[int, Reply] = {}
    for start in tqdm(range(0, len(prompts), params.batch_size), desc=f"predict {name}: replies", delay=2, disable=None):
        batch = by_length[start : start + params.batch_size]
        width = max(len(prompts[position]) for position in batch)
        padding = [width - len(prompts[position]) for position in batch]
        ids = [[pad] * room + prompts[position] for room, position in zip(padding, batch, strict=True)]
        real = [[0] * room + [1] * (width - room) for room in padding]
        generated = model.generate(
            input_ids=torch.tensor(ids, device=model.device),
            attention_mask=torch.tensor(real, device=model.device),
            max_new_tokens=params.max_new_tokens,
            eos_token_id=sorted(stops),
            pad_token_id=pad,
        )
        for position, tokens in zip(batch, generated[:, width:].tolist(), strict=True):
            end = next((index for index, token in enumerate(tokens) if token in stops), None)
            replies[position] = Reply(tokens[:end], stopped=end is not None)
    return [replies[position] for position in range(len(prompts))]
