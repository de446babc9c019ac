"""What evaluate writes and report shows: scores and claims, a table of the test conversations and one of the replies to them."""

from enum import Enum
from pathlib import Path
from typing import Literal, NewType, TypedDict

import numpy as np
from numpy.typing import ArrayLike

FOLDER = Path("data/evaluation")
SCORES = FOLDER / "scores.json"
EXAMPLES = FOLDER / "examples.parquet"  # a row a test conversation
REPLIES = FOLDER / "replies.parquet"  # a row a reply, with its scores
RETENTION = FOLDER / "retention.parquet"  # a row a general prompt

Scores = dict[str, float | None]  # metric -> value, None where `Evaluation.reasons` says why
Reason = NewType("Reason", str)  # one of those that `Why` has
ClaimName = Literal["better", "majority", "wording", "forgot", "broken", "length", "memorised", "preferred"]
Verdict = Literal["less", "more", "unclear", "too_few", "not_measured"]
Measure = Literal[
    "perplexity_ratio", "bits_per_byte_difference", "accuracy_difference", "majority_difference", "chrf_difference",
    "broken_difference", "length_ratio", "retention_ratio", "memorised_auc", "win_rate",
]  # fmt: skip


class Why(Enum):
    """Each reason that evaluate can give for a null or for no verdict, as metrics/ has it. stages/report has the Chinese."""

    NOT_COMPUTED = "it cannot be computed"
    FIGURE_NOT_COMPUTED = "the figure itself cannot be computed"
    ONE_GROUP = "one group of conversations alone: no spread to go by"
    NOTHING_LEFT = "without one of the groups nothing would be left to measure"
    NO_SPREAD = "all groups give the same figure: no spread to go by"
    TOO_FEW_GROUPS = "too few groups of conversations"
    FEW_GROUPS = "{groups} groups of conversations; under {fewest} are too few to tell"
    FEW_PROMPTS = "{groups} general prompts; under {fewest} are too few to tell"
    NO_LIKELIHOOD = "no conversation has a likelihood"
    NO_TOKEN = "no conversation has a token to score"
    NO_BYTE = "no conversation has a byte to score"
    NO_NUMBERS = "the likelihood of {bad} of {all} conversations is no number"
    NO_NUMBER = "a likelihood is no number"
    NO_NUMBER_OR_NONE = "the likelihood of a conversation is no number, or there is none"
    TOO_LARGE = "larger than any number"
    IMPOSSIBLE = "larger than any number: the model finds the references all but impossible"
    NO_RETENTION = "predict gave no likelihoods of general prompts"
    NO_TRAIN = "predict gave no likelihoods of training conversations"
    NO_LABEL_LIKELIHOOD = "predict gave no likelihood of each label"
    LABEL_NO_NUMBER = "the likelihood of a label is no number"
    UNKNOWN_LABEL = "test has a label that train does not know"
    NO_REPLY = "no conversation has a reply of both models"
    NO_LONG_REPLY = "no reply of {tokens} tokens or more among them"
    NO_WORD = "no reference has a word"
    NO_WORD_PAIR = "no reference has two words"
    EMPTY_REFERENCES = "the references are empty"
    UNKNOWN_END = "a file of replies does not say which ended by themselves"
    NO_VOTE = "nobody has voted; vote in metrics/report.html"
    FOREIGN_VOTES = "all {votes} votes are for other replies; vote in metrics/report.html"
    NO_EMBEDDING = "evaluate.embedding is null"

    def said(self, **values: int) -> Reason:
        return Reason(self.value.format(**{name: f"{value:,}" for name, value in values.items()}))


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
