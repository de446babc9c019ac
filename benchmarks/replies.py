"""Replies of a finished run's model, ours against `generate` of transformers, in turn in one run; and its perplexity.

    python -m benchmarks.replies [CONTENDER [PROMPTS [ROUNDS]]]

CONTENDER is tuned or base, tuned without it. PROMPTS of test and of the general ones, spread over their lengths; all without it.
Run it in a project whose `dvc repro` has finished. In float32, where all write the same text; replies that differ are counted.

One by one is what most scripts do. Padded batches are what this pipeline did until November 2026: a batch waits for its longest
reply, and the adapter is not added to the weights. (That version itself, `git worktree add ../before 10375ca`, replies to other
prompts, the last turns alone, with another limit: its time can't be compared.)

The perplexity is of the references in test: the stage's, beside one conversation at a time with all of its logits.
"""

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from transformers import GenerationConfig

from stages.lib.base_model.tokenized import IGNORE_INDEX, Example
from stages.lib.chat_template import stop_token_ids
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.params import read_params
from stages.lib.general_prompts import read_prompts
from stages.lib.model.adapter import load_adapter
from stages.lib.model.hardware import find_hardware
from stages.lib.model.weights import load_base_model
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.lib.records.predictions import CONTENDERS
from stages.predict import likelihood
from stages.predict.contender import load_contender
from stages.predict.generation import call_generate, generate_replies
from stages.predict.params import PredictParams
from stages.predict.questions import Question, ask, choose_turns, context_of
from stages.predict.training_data import read_training_data

Replies = list[list[int]]
PADDED = 32  # prompts of a padded batch, as it was then


class Timed(NamedTuple):
    """Seconds of the clock, of the processors, and what came of them."""

    wall: float
    processor: float
    replies: Replies


def read_questions(params: PredictParams, tokenizer: Any, context: int) -> list[Question]:
    """What the stage asks, the shortest prompts first."""
    longest = read_training_data(conversations_of("train"), tokenizer, params.seed, params.task).longest
    asked = [
        ask(tokenizer, conversation["messages"][:turn], conversation.get("tools"), params.max_new_tokens or longest, context)
        for conversation in read_conversations(conversations_of("test"))
        for turn in choose_turns(conversation, params.turns, params.seed)
    ]
    prompts = read_prompts(Path(params.retention))
    asked += [ask(tokenizer, prompt.messages, None, params.max_new_tokens or longest, context) for prompt in prompts]
    questions = [question for question in asked if isinstance(question, Question)]
    return sorted(questions, key=lambda question: len(question.prompt))


def reply_one_by_one(model: Any, tokenizer: Any, questions: list[Question]) -> Replies:
    """As the documentation of transformers has it."""
    model.generation_config = GenerationConfig(do_sample=False)
    replies = []
    for prompt, room in questions:
        ids = torch.tensor([prompt], device=model.device)
        options = {"eos_token_id": sorted(stop_token_ids(tokenizer)), "pad_token_id": tokenizer.pad_token_id}
        reply = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, **options)
        replies.append(reply[0, len(prompt) :].tolist())
    return replies


def reply_in_padded_batches(model: Any, tokenizer: Any, questions: list[Question]) -> Replies:
    stops, replies = stop_token_ids(tokenizer), []
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(stops)
    with torch.inference_mode():
        for start in range(0, len(questions), PADDED):
            replies += [reply.tokens for reply in call_generate(model, questions[start : start + PADDED], stops, pad)]
    return replies


@torch.inference_mode()
def plain_nll(model: Any, example: Example) -> float:
    logits = model(input_ids=torch.tensor([example.input_ids], device=model.device)).logits[0, :-1].float()
    following = torch.tensor(example.labels[1:], device=model.device)
    nll = functional.cross_entropy(logits, following, ignore_index=IGNORE_INDEX, reduction="none")
    return nll.double().sum().item()


def compare_perplexity(model: Any, tokenizer: Any, context: int) -> None:
    ours = plain = labels = 0.0
    for conversation in read_conversations(conversations_of("test")):
        examples = likelihood.tokenize(tokenizer, conversation, context)
        if isinstance(examples, str):
            continue
        counts = likelihood.count_labels(tokenizer, conversation["messages"], conversation.get("tools"), examples)
        ours += sum(math.nan if score.nll is None else score.nll for score in likelihood.score_replies(model, examples, counts))
        plain += sum(plain_nll(model, example) for example in examples)
        labels += sum(counts)
    one, other = math.exp(ours / labels), math.exp(plain / labels)
    apart = abs(one / other - 1)
    print(f"perplexity of {labels:,.0f} tokens: {one:.8f}, plainly computed {other:.8f}; relative difference {apart:.1e}")


def timed(reply: Callable[[], Replies]) -> Timed:
    wall, processor = time.perf_counter(), time.process_time()
    replies = reply()
    return Timed(time.perf_counter() - wall, time.process_time() - processor, replies)


def main(name: str = "tuned", prompts: str = "0", rounds: str = "1") -> None:
    contender = next(known for known in CONTENDERS if known == name)
    params, tokenizer, hardware = read_params("predict", PredictParams), load_tokenizer(), find_hardware("float32")
    model = load_contender(contender, hardware)
    separate = load_base_model(hardware.precision, hardware.device)
    separate = load_adapter(separate) if contender == "tuned" else separate
    context = context_of(model.config)
    questions = read_questions(params, tokenizer, context)
    questions = questions[:: max(1, len(questions) // (int(prompts) or len(questions)))]
    contestants: dict[str, Callable[[], Replies]] = {
        "ours": lambda: [reply.tokens for reply in generate_replies(model, tokenizer, questions, params.batch_size)],
        "one by one": lambda: reply_one_by_one(model, tokenizer, questions),
        "padded batches": lambda: reply_in_padded_batches(separate, tokenizer, questions),
    }
    runs = [{what: timed(reply) for what, reply in contestants.items()} for _ in range(int(rounds))]
    replies = runs[0]["ours"].replies
    print(
        f"{name}: {len(questions):,} prompts, {sum(map(len, replies)):,} tokens of replies, batches of {params.batch_size}, "
        f"float32 on {hardware.device}, {torch.get_num_threads()} threads, medians of {rounds}"
    )
    for what in contestants:
        seconds = statistics.median(run[what].wall for run in runs)
        ratio = statistics.median(run[what].wall / run["ours"].wall for run in runs)
        busy = statistics.median(run[what].processor / run["ours"].processor for run in runs)
        differ = sum(one != other for one, other in zip(replies, runs[0][what].replies, strict=True))
        print(f"{what}: {seconds:.1f} s, {ratio:.2f} times ours ({busy:.2f} in processor time); {differ} replies differ")
    compare_perplexity(model, tokenizer, context)


if __name__ == "__main__":
    main(*sys.argv[1:])
