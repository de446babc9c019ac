"""What evaluate writes and report shows: scores and claims, a table of the test conversations and one of the replies to them."""

from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike

SCORES = Path("data/evaluation/scores.json")
EXAMPLES = Path("data/evaluation/examples.parquet")  # a row a test conversation
REPLIES = Path("data/evaluation/replies.parquet")  # a row a reply, with its scores

Scores = dict[str, float | None]  # metric -> value, None where `Evaluation.reasons` says why
ClaimName = Literal["better", "majority", "wording", "forgot", "broken", "length", "memorised", "preferred"]
Verdict = Literal["less", "more", "unclear", "too_few", "not_measured"]
Measure = Literal[
    "perplexity_ratio", "bits_per_byte_difference", "accuracy_difference", "majority_difference", "chrf_difference",
    "broken_difference", "length_ratio", "retention_ratio", "memorised_auc", "win_rate",
]  # fmt: skip


class Claim(TypedDict):
    """What the test says about one question. `verdict`: whether `measure` is less or more than if tuning had changed nothing.

    `base`, `tuned`: the two models' own values; of `majority`, that of the most frequent label in base's place. `low`, `high`:
    the interval of `estimate`. `p`: by itself; `p_holm`: with the other claims. `detectable`: the smallest change that a test by
    itself would find four times in five, as a factor or a difference like `estimate`. `more_conversations`: that would decide an
    effect of this size. `reason`: why no verdict. Where people voted, `conversations` are votes.
    """

    name: ClaimName
    measure: Measure
    verdict: Verdict
    base: float | None
    tuned: float | None
    estimate: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    conversations: int
    groups: int
    detectable: float | None
    more_conversations: int | None
    reason: str | None


class Stratum(TypedDict):
    """A part of the test conversations; `base`, `tuned`: perplexity or accuracy.

    `value` None: those without a label or the like; with `pooled`, those whose values have too few conversations.
    """

    stratum: str
    value: str | None
    pooled: bool
    measure: Measure
    conversations: int
    groups: int
    base: float | None
    tuned: float | None
    estimate: float | None
    low: float | None
    high: float | None
    p_holm: float | None
    verdict: Verdict


class Influence(TypedDict):
    """`without`: the ids of the conversations that moved the perplexity ratio most; `perplexity_ratio`: without them."""

    without: list[str]
    perplexity_ratio: float | None


class LanguageRow(TypedDict):
    """A language's replies of one contender. `replies`: how many; the scores 0 to 100."""

    contender: str
    language: str
    replies: int
    bleu: float
    rouge_l: float
    chrf: float


class Other(TypedDict):
    """Another model, of which there are texts alone, on the `replies` that base and tuned have too; these two on the same ones.

    `missing`: replies that it lacks; `foreign`: its replies to no message of test; `not_asked`: to messages that base and tuned
    did not reply to. `comparison` and `claims`: tuned against it, which stands in base's place.
    """

    replies: int
    missing: int
    foreign: int
    not_asked: int
    scores: Scores
    base: Scores
    tuned: Scores
    comparison: Scores
    claims: list[Claim]


class Evaluation(TypedDict):
    """`contenders`: base, tuned, the references and the floors. `others`: models by the names of their files. `reasons`:
    "<contender>.<metric>" -> why it is None.

    `confusion`: in classification, of tuned, a row a reply: the true label and the reply's, "" for none of them.
    `comparability`: what a run was made with -> a hash, or None where it is not known.
    """

    task: str
    task_reason: str
    contenders: dict[str, Scores]
    comparison: Scores
    claims: list[Claim]
    others: dict[str, Other]
    strata: list[Stratum]
    influence: Influence
    languages: list[LanguageRow]
    confusion: list[tuple[str, str]]
    reasons: dict[str, str]
    signatures: dict[str, str]
    comparability: dict[str, str | None]


def perplexity(nll: ArrayLike, labels: ArrayLike) -> float:
    """exp(sum of NLL / sum of labels): lower is better. Not a mean of each conversation's perplexity.

    NaN or infinite where it is no number.
    """
    with np.errstate(all="ignore"):
        return float(np.exp(np.sum(nll) / np.float64(np.sum(labels))))
