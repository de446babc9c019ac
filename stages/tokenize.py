"""data/split/{train,validation}.jsonl -> data/tokenized/{train,validation}.parquet: `id`, `input_ids`, `labels`.

`labels` are the assistant's tokens with their end-of-turn token, IGNORE_INDEX elsewhere. The ledger, data/ledger/tokenize.jsonl,
says for each conversation how many tokens and labels it gave, or why it was left out.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field
from tqdm import tqdm

from stages.lib.chat_template import IGNORE_INDEX, Example, TemplateMisfit, tokenize_conversation
from stages.lib.conversations import Conversation, read_conversations, write_jsonl
from stages.lib.errors import ReprotuneError, run_stage
from stages.lib.params import Section, read_params
from stages.lib.requirements import check_installed
from stages.lib.tokenizer import load_tokenizer

SPLIT = Path("data/split")
TOKENIZED = Path("data/tokenized")
LEDGER = Path("data/ledger/tokenize.jsonl")
SPLITS = ("train", "validation")


class TokenizeParams(Section):
    max_length: int = Field(ge=8)
    too_long: Literal["drop", "cut"]


def fit_length(tokenizer: Any, conversation: Conversation, params: TokenizeParams) -> tuple[list[Example], str]:
    """(examples, fate). A conversation over `max_length` is dropped, or cut: its last turns go until it fits.

    A reply is never cut in two, so each keeps its end-of-turn token.
    """
    messages = conversation["messages"]
    fate = "kept"
    while messages:
        examples = tokenize_conversation(tokenizer, messages)
        if all(len(example.input_ids) <= params.max_length for example in examples):
            return examples, fate
        if params.too_long == "drop":
            break
        fate = "cut"
        replies = [position for position, message in enumerate(messages) if message["role"] == "assistant"]
        messages = messages[: replies[-2] + 1] if len(replies) > 1 else []
    return [], "too_long"


def tokenize_split(
    tokenizer: Any, conversations: list[Conversation], split: str, params: TokenizeParams
) -> tuple[list[tuple[str, Example]], list[dict]]:
    """(id, example) pairs and one ledger row for each conversation."""
    pairs: list[tuple[str, Example]] = []
    ledger = []
    for conversation in tqdm(conversations, desc=f"tokenize {split}", delay=2, disable=None):
        detail = None
        try:
            examples, fate = fit_length(tokenizer, conversation, params)
        except TemplateMisfit as misfit:
            examples, fate, detail = [], "template_misfit", str(misfit)
        pairs += [(conversation["id"], example) for example in examples]
        ledger.append(
            {
                "id": conversation["id"],
                "split": split,
                "fate": fate,
                "detail": detail,
                "examples": len(examples),
                "tokens": sum(len(example.input_ids) for example in examples),
                "labels": sum(label != IGNORE_INDEX for example in examples for label in example.labels),
            }
        )
    return pairs, ledger


def write_examples(path: Path, pairs: list[tuple[str, Example]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(
        {
            "id": pa.array([id for id, _ in pairs], pa.string()),
            "input_ids": pa.array([example.input_ids for _, example in pairs], pa.list_(pa.int32())),
            "labels": pa.array([example.labels for _, example in pairs], pa.list_(pa.int32())),
        }
    )
    pq.write_table(table, path, compression="zstd")


def main() -> None:
    check_installed("requirements/core.txt", "requirements/model.txt")
    params = read_params("tokenize", TokenizeParams)
    tokenizer = load_tokenizer()
    ledger: list[dict] = []
    for split in SPLITS:
        pairs, rows = tokenize_split(tokenizer, read_conversations(SPLIT / f"{split}.jsonl"), split, params)
        fates = Counter(row["fate"] for row in rows)
        if not pairs:
            detail = next((f"; first: {row['id']}: {row['detail']}" for row in rows if row["detail"]), "")
            raise ReprotuneError(
                f"{SPLIT / split}.jsonl: none of {len(rows):,} conversations can be tokenised ({dict(fates)}){detail} "
                "(see tokenize.max_length and base_model.chat_template)"
            )
        write_examples(TOKENIZED / f"{split}.parquet", pairs)
        ledger += rows
        print(f"tokenize {split}: {len(rows):,} conversations, {sum(row['tokens'] for row in rows):,} tokens, {dict(fates)}")
    write_jsonl(LEDGER, ledger)


if __name__ == "__main__":
    run_stage(main, outs=[LEDGER, *(TOKENIZED / f"{split}.parquet" for split in SPLITS)], restore="dvc checkout tokenize")
