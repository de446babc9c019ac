"""Predictions of base and tuned, the test and train conversations -> data/evaluation/scores.json (what the models are worth, with
intervals, claims, floors and strata), examples.parquet (a row a test conversation), replies.parquet (a row a reply to one) and
retention.parquet (a row a general prompt).
"""

import re
from itertools import starmap
from pathlib import Path

from pydantic import Field, field_validator

from stages.evaluate.comparability import describe_comparability
from stages.evaluate.embedding import PACKAGE, PINNED, load_embedder
from stages.evaluate.evaluation import Given, evaluate_all
from stages.evaluate.examples import read_examples, read_groups
from stages.evaluate.figures import to_digits
from stages.evaluate.floors import floor_replies
from stages.evaluate.others import describe_counts
from stages.evaluate.reply_files import read_other_models
from stages.evaluate.retention import RetentionFile, describe_retention
from stages.evaluate.votes import Vote, read_votes
from stages.lib.core.errors import run_stage
from stages.lib.core.files import write_json
from stages.lib.core.params import Section, read_params
from stages.lib.core.requirements import check_installed
from stages.lib.records.conversation import conversations_of, read_conversations
from stages.lib.records.predictions import predictions_of, read_conditions
from stages.lib.records.scores import EXAMPLES, FOLDER, REPLIES, RETENTION, SCORES, Evaluation


class EvaluateParams(Section):
    seed: int = Field(ge=0)
    confidence: float = Field(gt=0.5, lt=1)
    rouge_max_words: int = Field(ge=1)
    votes: str
    contenders: str
    embedding: str | None

    @field_validator("embedding")
    @classmethod
    def is_pinned(cls, value: str | None) -> str | None:
        if value is not None and not re.match(PINNED, value):
            raise ValueError(f"found {value!r}; expected null or {PACKAGE}==VERSION")
        return value


def find_task(group_of: dict[str, str], votes: list[Vote]) -> Given:
    """As predict found it, which asks for each label's likelihood."""
    conditions = read_conditions(predictions_of("tuned"))
    return Given(conditions["task"], conditions["task_reason"], conditions["labels"], group_of, votes)


def summary(evaluation: Evaluation) -> str:
    return "; ".join([f"evaluate: {describe_perplexity(evaluation)}", *starmap(describe_counts, evaluation["others"].items())])


def describe_perplexity(evaluation: Evaluation) -> str:
    base, tuned = evaluation["contenders"]["base"], evaluation["contenders"]["tuned"]
    comparison = evaluation["comparison"]
    low, high = comparison["perplexity_ratio_low"], comparison["perplexity_ratio_high"]
    if base["perplexity"] is None or tuned["perplexity"] is None or comparison["perplexity_ratio"] is None:
        return f"no perplexity of both models; {SCORES} says why"
    interval = "no interval" if low is None or high is None else f"{low:.2f} to {high:.2f}"
    change = f"{base['perplexity']:.2f} -> {tuned['perplexity']:.2f}, {comparison['perplexity_ratio']:.2f} times ({interval})"
    return f"perplexity {change}"


def main() -> None:
    check_installed("stages/evaluate", "stages/lib/languages")
    params = read_params("evaluate", EvaluateParams)
    votes = read_votes(Path(params.votes))
    group_of = read_groups()
    examples = read_examples(group_of)
    floors = floor_replies(examples.replies, read_conversations(conversations_of("train")), params.seed)
    models = read_other_models(Path(params.contenders), read_conversations(conversations_of("test")))
    task = find_task(group_of, votes)
    embedder = load_embedder(params.embedding) if params.embedding else None
    evaluation, replies = evaluate_all(examples, floors, models, task, params.confidence, params.rouge_max_words, embedder)
    evaluation["comparability"] = describe_comparability(group_of, evaluation["signatures"], params.rouge_max_words)
    write_json(SCORES, to_digits(evaluation))
    conversations = examples.conversations
    conversations.to_parquet(EXAMPLES, index=False, compression="zstd")
    replies.to_parquet(REPLIES, index=False, compression="zstd")
    describe_retention(Path(read_params("predict", RetentionFile).retention)).to_parquet(
        RETENTION, index=False, compression="zstd"
    )
    print(summary(evaluation))


if __name__ == "__main__":
    run_stage(main, outs=[FOLDER], restore="dvc checkout evaluate")
