"""Rate of tokenisation with labels, against the `tokenizers` library alone on the same rendered texts in the same run.

    python -m benchmarks.tokenization [CONVERSATIONS [RUNS]]

Needs models/tokenizer, which `dvc repro base_model` makes. Both sides use all cores.
"""

import gc
import os
import statistics
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "true"

from benchmarks.conversations import make_conversations
from stages.lib.base_model.tokenized import Example
from stages.lib.chat_template import TemplateMisfit
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.tokenize.batches import AT_ONCE, BatchTokenizer


def tokens_of_first(examples: list[Example] | TemplateMisfit) -> int:
    if isinstance(examples, TemplateMisfit):
        raise examples
    return len(examples[0].input_ids)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    tokenizer = load_tokenizer()
    conversations = [row["messages"] for row in make_conversations(number)]
    texts = tokenizer.apply_chat_template(conversations, tokenize=False)
    gc.disable()  # as the stage does
    alone, ours = [], []
    for _ in range(runs):
        started = time.perf_counter()
        tokens = sum(
            len(encoding.ids)
            for first in range(0, number, AT_ONCE)
            for encoding in tokenizer.backend_tokenizer.encode_batch(texts[first : first + AT_ONCE], add_special_tokens=False)
        )
        alone.append(time.perf_counter() - started)
        started = time.perf_counter()
        labelled = sum(map(tokens_of_first, BatchTokenizer(tokenizer).tokenize(conversations)))
        ours.append(time.perf_counter() - started)
    ratios = [a / b for a, b in zip(alone, ours, strict=True)]
    print(f"{number:,} conversations, {tokens:,} tokens, {labelled:,} of them up to the last reply's end")
    print(f"tokenizers alone: {tokens / statistics.median(alone):,.0f} tokens/s (median of {runs})")
    print(f"with template and labels: {tokens / statistics.median(ours):,.0f} tokens/s, {statistics.median(ratios):.2f} of it")


if __name__ == "__main__":
    main()
