"""data/split/{train,validation}.jsonl -> data/tokenized/{train,validation}.parquet: `id`, `input_ids`, `labels`.

`labels` are the assistant's tokens with their end-of-turn token, IGNORE_INDEX elsewhere. The ledger, data/ledger/tokenize.jsonl,
says for each conversation how many tokens and labels it gave, or why it was left out; data/tokenized/rendered.jsonl shows some of
each source as the model sees them.
"""

import gc
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection
from itertools import groupby
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from tqdm import tqdm

from stages.lib.chat_template import FormMisfit, TemplateMisfit
from stages.lib.core.errors import ReprotuneError, run_stage
from stages.lib.core.files import write_jsonl
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.conversation import (
    Conversation,
    Message,
    conversations_of,
    is_trained,
    normalize,
    read_conversations,
    trained_positions,
)
from stages.lib.records.tokenize_ledger import LEDGER, RENDERED, Lengths, Piece, RenderedExample, TokenizedFate, TokenizedRow
from stages.lib.records.tokenized import IGNORE_INDEX, TOKENIZED_SPLITS, Example, TokenizedSplit, examples_of, write_examples
from stages.lib.tokenizer import load_tokenizer
from stages.tokenize.batches import BatchTokenizer
from stages.tokenize.lengths import first_turn, measure, tell_too_long
from stages.tokenize.refusal import refuse_form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RENDERED_OF_EACH_SOURCE = 3


class TokenizeParams(Section):
    other_names = {
        "max_length": ("max_seq_length", "max_seq_len", "sequence_len", "cutoff_len", "block_size", "model_max_length")
    }
    max_length: int = Field(ge=8)
    too_long: Literal["drop", "cut"]
    identical_replies: int | None = Field(ge=1)


def hash_of(id: str) -> bytes:
    return hashlib.sha256(id.encode()).digest()


def find_repeats(conversations: list[Conversation], most: int) -> set[str]:
    """Ids of conversations whose replies (normalised) all stand in `most` others already, in the order of their ids' hashes."""
    seen: Counter[str] = Counter()
    repeats = set()
    for conversation in sorted(conversations, key=lambda row: hash_of(row["id"])):
        replies = {reply_key(message) for message in conversation["messages"] if is_trained(message)}
        if all(seen[reply] >= most for reply in replies):
            repeats.add(conversation["id"])
        else:
            seen.update(replies)
    return repeats


def reply_key(message: Message) -> str:
    """What identical replies have in common: the normalised text, and the calls."""
    calls = [call["function"] for call in message.get("tool_calls", [])]
    return normalize(message["content"]) + (json.dumps(calls, sort_keys=True) if calls else "")


def fits(examples: list[Example], max_length: int) -> bool:
    return all(len(example.input_ids) <= max_length for example in examples)


def cut(tokenizer: BatchTokenizer, conversation: Conversation, max_length: int) -> list[Example]:
    """The examples without the last turns, as many as it takes to fit; none if the first turn is too long itself.

    A reply is never cut in two, so each keeps its end-of-turn token.
    """
    messages = conversation["messages"]
    while len(replies := trained_positions(messages)) > 1:
        messages = messages[: replies[-2] + 1]
        [examples] = tokenizer.tokenize([messages], [conversation.get("tools")])
        if not isinstance(examples, TemplateMisfit) and fits(examples, max_length):
            return examples
    return []


def tokenize_split(
    tokenizer: "PreTrainedTokenizerBase", conversations: list[Conversation], split: TokenizedSplit, params: TokenizeParams
) -> tuple[list[tuple[str, Example]], list[TokenizedRow]]:
    """(id, example) pairs and one ledger row for each conversation."""
    batch = BatchTokenizer(tokenizer)
    outcomes = batch.tokenize((row["messages"] for row in conversations), (row.get("tools") for row in conversations))
    progress = tqdm(conversations, desc=f"tokenize {split}", delay=2, disable=None)
    tokenized: list[tuple[str, list[Example], TokenizedFate, str | None]] = []
    too_long: dict[str, tuple[Conversation, int]] = {}
    for conversation, outcome in zip(progress, outcomes, strict=True):
        examples: list[Example] = []
        fate: TokenizedFate = "kept"
        detail = None
        if isinstance(outcome, FormMisfit):
            raise ReprotuneError(refuse_form(outcome, conversation["id"], conversations, split))
        if isinstance(outcome, TemplateMisfit):
            fate, detail = "template_misfit", str(outcome)
        elif not outcome:
            fate = "no_labels"
        elif fits(outcome, params.max_length):
            examples = outcome
        else:
            examples = cut(batch, conversation, params.max_length) if params.too_long == "cut" else []
            fate = "cut" if examples else "too_long"
            too_long[conversation["id"]] = conversation, max(len(example.input_ids) for example in outcome)
        tokenized.append((conversation["id"], examples, fate, detail))
    if split == "train" and params.identical_replies:
        usable = [row for row, (_, examples, _, _) in zip(conversations, tokenized, strict=True) if examples]
        repeats = find_repeats(usable, params.identical_replies)
        tokenized = [(row[0], [], "identical_replies", None) if row[0] in repeats else row for row in tokenized]
    whole = measure_all(batch, too_long.values())
    pairs: list[tuple[str, Example]] = []
    ledger: list[TokenizedRow] = []
    for id, examples, fate, detail in tokenized:
        pairs += [(id, example) for example in examples]
        ledger.append(
            {
                "id": id,
                "split": split,
                "fate": fate,
                "detail": detail,
                "examples": len(examples),
                "tokens": sum(len(example.input_ids) for example in examples),
                "labels": sum(len(example.labels) - example.labels.count(IGNORE_INDEX) for example in examples),
            }
        )
        if id in whole:
            ledger[-1]["whole"] = whole[id]
        if len(examples) > 1:
            ledger[-1]["repeated"] = sum(len(example.input_ids) for example in examples[:-1])
    return pairs, ledger


def measure_all(tokenizer: BatchTokenizer, too_long: Collection[tuple[Conversation, int]]) -> dict[str, Lengths]:
    """By id, of conversations and the tokens of their longest examples."""
    first = tokenizer.tokenize(
        (first_turn(conversation["messages"]) for conversation, _ in too_long),
        (conversation.get("tools") for conversation, _ in too_long),
    )
    lengths: dict[str, Lengths] = {}
    for (conversation, tokens), outcome in zip(too_long, first, strict=True):
        examples = [] if isinstance(outcome, TemplateMisfit) else outcome
        of_first = max((len(example.input_ids) for example in examples), default=tokens)
        lengths[conversation["id"]] = measure(conversation, tokens, of_first)
    return lengths


def advise(rows: list[TokenizedRow], max_length: int) -> str:
    """What there is to say of those that are left out for their length, on lines of its own."""
    said = tell_too_long([row["whole"] for row in rows if row["fate"] == "too_long" and "whole" in row], len(rows), max_length)
    return f"\n  {said}" if said else ""


def tell_repeated(rows: list[TokenizedRow]) -> str:
    """What one example a turn costs, where a template renders a turn otherwise once it is past."""
    repeated = sum(row.get("repeated", 0) for row in rows)
    return f" ({repeated:,} of them once more: the template renders a reply otherwise once it is past)" if repeated else ""


def render_pieces(tokenizer: "PreTrainedTokenizerBase", example: Example) -> list[Piece]:
    """The text in pieces that are labelled or not: each is what its tokens add, since by itself it may lose its first space."""
    pieces: list[Piece] = []
    ids: list[int] = []
    text = ""
    tokens = zip(example.input_ids, example.labels, strict=True)
    for labelled, run in groupby(tokens, key=lambda pair: pair[1] != IGNORE_INDEX):
        ids += [id for id, _ in run]
        longer = str(tokenizer.decode(ids))
        pieces.append({"labelled": labelled, "text": longer[len(text) :]})
        text = longer
    return pieces


def render_some(tokenizer: "PreTrainedTokenizerBase", pairs: list[tuple[str, Example]]) -> list[RenderedExample]:
    """Of each source a fixed few: the text as the model sees it, in pieces that are labelled or not."""
    by_source: dict[str, dict[str, Example]] = defaultdict(dict)
    for id, example in pairs:
        by_source[id.partition("/")[0]].setdefault(id, example)
    rows: list[RenderedExample] = []
    for _, examples in sorted(by_source.items()):
        for id in sorted(examples, key=hash_of)[:RENDERED_OF_EACH_SOURCE]:
            rows.append({"id": id, "pieces": render_pieces(tokenizer, examples[id])})
    return rows


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
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("tokenize", TokenizeParams)
    tokenizer = load_tokenizer()
    ledger: list[TokenizedRow] = []
    gc.disable()  # millions of small lists and no cycles: the collector would walk them all again and again
    for split in TOKENIZED_SPLITS:
        pairs, rows = tokenize_split(tokenizer, read_conversations(conversations_of(split)), split, params)
        fates = count_fates(rows)
        if not pairs:
            detail = next((f"; first: {row['id']}: {row['detail']}" for row in rows if row["detail"]), "")
            raise ReprotuneError(
                f"{conversations_of(split)}: none of {len(rows):,} conversations can be tokenised ({fates}){detail} "
                f"(see tokenize.max_length and base_model.chat_template){advise(rows, params.max_length)}"
            )
        write_examples(examples_of(split), pairs)
        if split == "train":
            write_jsonl(RENDERED, render_some(tokenizer, pairs))
        ledger += rows
        advice = advise(rows, params.max_length)
        tokens = f"{sum(row['tokens'] for row in rows):,} tokens{tell_repeated(rows)}"
        print(f"tokenize {split}: {len(rows):,} conversations, {tokens}; {fates}{advice}")
    write_jsonl(LEDGER, ledger)


if __name__ == "__main__":
    run_stage(main, outs=[LEDGER, RENDERED, *map(examples_of, TOKENIZED_SPLITS)], restore="dvc checkout tokenize")
