"""data/split/{train,validation}.jsonl -> data/tokenized/{train,validation}.parquet: `id`, `input_ids`, `labels`.

`labels` are the assistant's tokens with their end-of-turn token, IGNORE_INDEX elsewhere. In data/ledger/tokenize/,
conversations.jsonl says for each one how many tokens and labels it gave, or why it was left out; rendered.jsonl shows some of
each source as the model sees them.
"""

import gc
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import tee
from operator import length_hint
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from tqdm import tqdm

from stages.lib.base_model.tokenized import (
    IGNORE_INDEX,
    TOKENIZED_SPLITS,
    Example,
    Examples,
    TokenizedSplit,
    examples_of,
    write_examples,
)
from stages.lib.chat_template import FormMisfit, TemplateMisfit
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import write_jsonl
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.conversation import Conversation, ConversationFile, Message, conversations_of, trained_positions
from stages.lib.records.tokenize_ledger import FOLDER, LEDGER, RENDERED, TokenizedFate, TokenizedRow
from stages.tokenize.batches import BatchTokenizer
from stages.tokenize.lengths import TooLong, tell_too_long
from stages.tokenize.refusal import refuse_form
from stages.tokenize.rendered import render_some
from stages.tokenize.repeats import find_repeats, reply_keys

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TokenizeParams(Section):
    other_names = {
        "max_length": ("max_seq_length", "max_seq_len", "sequence_len", "cutoff_len", "block_size", "model_max_length")
    }
    max_length: int = Field(ge=8)
    too_long: Literal["drop", "cut"]
    identical_replies: int | None = Field(ge=1)


def fits(examples: list[Example], max_length: int) -> bool:
    return all(len(example.input_ids) <= max_length for example in examples)


def cut(tokenizer: BatchTokenizer, conversation: Conversation, max_length: int) -> tuple[list[Message], list[Example]]:
    """What is left without the last turns, as many as it takes to fit, and its examples.

    Both are empty if the first turn is too long itself. A reply is never cut in two, so each keeps its end-of-turn token.
    """
    messages = conversation["messages"]
    while len(replies := trained_positions(messages)) > 1:
        messages = messages[: replies[-2] + 1]
        [examples] = tokenizer.tokenize([messages], [conversation.get("tools")])
        if not isinstance(examples, TemplateMisfit) and fits(examples, max_length):
            return messages, examples
    return [], []


def tokenize_split(
    tokenizer: "PreTrainedTokenizerBase", conversations: Iterable[Conversation], split: TokenizedSplit, params: TokenizeParams
) -> tuple[Examples, list[TokenizedRow]]:
    """Examples, and one ledger row for each conversation. Conversations come one by one: only their tokens stay in memory."""
    batch = BatchTokenizer(tokenizer)
    own, of_messages, of_tools = tee(conversations, 3)
    outcomes = batch.tokenize((row["messages"] for row in of_messages), (row.get("tools") for row in of_tools))
    progress = tqdm(own, desc=f"tokenize {split}", delay=2, disable=None, total=length_hint(conversations))
    limit = params.identical_replies if split == "train" else None
    kept, ledger = Examples(), list[TokenizedRow]()
    replies: dict[str, Collection[bytes]] = {}
    too_long = TooLong(batch)
    for conversation, outcome in zip(progress, outcomes, strict=True):
        examples: list[Example] = []
        fate: TokenizedFate = "kept"
        detail, left = None, conversation["messages"]
        if isinstance(outcome, FormMisfit):
            raise ReprotuneError(refuse_form(outcome, conversation["id"], conversations, split, tokenizer))
        if isinstance(outcome, TemplateMisfit):
            fate, detail = "template_misfit", str(outcome)
        elif not outcome:
            fate = "no_labels"
        elif fits(outcome, params.max_length):
            examples = outcome
        else:
            left, examples = cut(batch, conversation, params.max_length) if params.too_long == "cut" else ([], [])
            fate = "cut" if examples else "too_long"
            too_long.add(conversation, max(len(example.input_ids) for example in outcome))
        ledger.append(describe(conversation["id"], split, fate, examples, detail))
        if len(examples) > 1:
            ledger[-1]["repeated"] = sum(len(example.input_ids) for example in examples[:-1])
        for example in examples:
            kept.append(conversation["id"], example)
        if limit and examples:
            replies[conversation["id"]] = reply_keys(left)
    if limit and (repeats := find_repeats(replies, limit)):
        kept = Examples(pair for pair in kept if pair[0] not in repeats)
        ledger = [describe(row["id"], split, "identical_replies", []) if row["id"] in repeats else row for row in ledger]
    whole = too_long.lengths()
    for row in ledger:
        if row["id"] in whole:
            row["whole"] = whole[row["id"]]
    return kept, ledger


def describe(
    id: str, split: TokenizedSplit, fate: TokenizedFate, examples: list[Example], detail: str | None = None
) -> TokenizedRow:
    return {
        "id": id,
        "split": split,
        "fate": fate,
        "detail": detail,
        "examples": len(examples),
        "tokens": sum(len(example.input_ids) for example in examples),
        "labels": sum(len(example.labels) - example.labels.count(IGNORE_INDEX) for example in examples),
    }


def advise(rows: list[TokenizedRow], max_length: int) -> str:
    """What there is to say of those that are left out for their length, on lines of its own."""
    said = tell_too_long([row["whole"] for row in rows if row["fate"] == "too_long" and "whole" in row], len(rows), max_length)
    return f"\n  {said}" if said else ""


def tell_repeated(rows: list[TokenizedRow]) -> str:
    """What one example a turn costs, where a template renders a turn otherwise once it is past."""
    repeated = sum(row.get("repeated", 0) for row in rows)
    return f" ({repeated:,} of them once more: the template renders a reply otherwise once it is past)" if repeated else ""


def count_fates(rows: list[TokenizedRow]) -> str:
    """
    >>> row = {"detail": None, "examples": 1, "tokens": 9, "labels": 4, "split": "train"}
    >>> count_fates([{"id": "a", "fate": "kept", **row}, {"id": "b", "fate": "too_long", **row}])
    '1 kept, 1 too long'
    """
    return ", ".join(
        f"{number:,} {fate.replace('_', ' ')}" for fate, number in Counter(row["fate"] for row in rows).most_common()
    )


def main() -> None:
    check_installed("stages/lib/base_model")
    params = read_params("tokenize", TokenizeParams)
    tokenizer = load_tokenizer()
    ledger: list[TokenizedRow] = []
    gc.disable()  # lists and dicts without number and no cycles: the collector would walk them again and again
    for split in TOKENIZED_SPLITS:
        examples, rows = tokenize_split(tokenizer, ConversationFile(conversations_of(split)), split, params)
        fates = count_fates(rows)
        if not examples:
            detail = next((f"; first: {row['id']}: {row['detail']}" for row in rows if row["detail"]), "")
            raise ReprotuneError(
                f"{conversations_of(split)}: none of {len(rows):,} conversations can be tokenised ({fates}){detail} "
                f"(see tokenize.max_length and base_model.chat_template){advise(rows, params.max_length)}"
            )
        write_examples(examples_of(split), examples)
        if split == "train":
            write_jsonl(RENDERED, render_some(tokenizer, examples))
        ledger += rows
        advice = advise(rows, params.max_length)
        tokens = f"{sum(row['tokens'] for row in rows):,} tokens{tell_repeated(rows)}"
        print(f"tokenize {split}: {len(rows):,} conversations, {tokens}; {fates}{advice}")
    write_jsonl(LEDGER, ledger)


if __name__ == "__main__":
    run_stage(main, outs=[FOLDER, *map(examples_of, TOKENIZED_SPLITS)], restore="dvc checkout tokenize")
