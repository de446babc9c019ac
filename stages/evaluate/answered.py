"""Replies that both models gave, and those of the floors to the same messages, with the scores of each."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.claims import Paired
from stages.evaluate.classification import Answers, read_answers
from stages.evaluate.embedding import Embedder, add_similarity
from stages.evaluate.examples import Examples
from stages.evaluate.floors import MAJORITY
from stages.evaluate.scoring import score_each
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.predictions import CONTENDERS, FOLDER


class Answered(NamedTuple):
    """Replies that both models gave; `texts` of each contender; `each`: the scores of each of these, a row a reply."""

    replies: pd.DataFrame
    texts: dict[str, list[str]]
    each: dict[str, pd.DataFrame]


def common_rows(examples: Examples) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Conversations with a likelihood of both models, and replies that both gave.

    Raises:
        ReprotuneError: there is neither.
    """
    conversations, replies = examples
    scored = conversations[conversations["base_unscored"].isna() & conversations["tuned_unscored"].isna()]
    answered = replies[replies["base_reply"].notna() & replies["tuned_reply"].notna()]
    if scored.empty and answered.empty:
        columns = [conversations["base_unscored"], conversations["tuned_unscored"]]
        reasons = "; ".join(sorted(set(pd.concat(columns).dropna()))[:3])
        raise ReprotuneError(f"{FOLDER}: no test conversation could be scored: {reasons or 'test is empty'}")
    return scored.reset_index(drop=True), answered.reset_index(drop=True)


def score_answers(answered: pd.DataFrame, floors: dict[str, list[str]], max_words: int, embedder: Embedder | None) -> Answered:
    texts = {contender: list(answered[f"{contender}_reply"]) for contender in CONTENDERS} | floors
    stopped: dict[str, list[bool]] = {contender: list(answered[f"{contender}_stopped"].fillna(True)) for contender in CONTENDERS}
    always = [True] * len(answered)
    each = {name: score_each(answered, some, stopped.get(name, always), max_words) for name, some in texts.items()}
    if embedder:
        references = list(answered["reference"])
        each = {name: add_similarity(scores, texts[name], references, embedder) for name, scores in each.items()}
    return Answered(answered, texts, each)


def answers_of(answers: Answered, name: str, labels: list[str]) -> Answers:
    replies = answers.replies
    likelihoods = list(replies[f"{name}_label_nll"]) if name in CONTENDERS else []
    known = [None if isinstance(one, float) else one for one in likelihoods]
    return read_answers(list(replies["reference"]), answers.texts[name], known, labels)


class Classified(NamedTuple):
    """Both models' replies that are no label, that are right, and whose likeliest label is right, if that is known; and the right
    replies of the majority class, in base's place, and of tuned.
    """

    invalid: Paired
    right: Paired
    likely_right: Paired | None
    over_majority: Paired


def classified_pairs(answers: Answered, classified: dict[str, Answers]) -> Classified:
    groups, ones = answers.replies["group"].to_numpy(str), np.ones(len(answers.replies))
    base, tuned, majority = (classified[name] for name in (*CONTENDERS, MAJORITY))

    def pairs(first: np.ndarray, second: np.ndarray) -> Paired:
        return Paired(first.astype(float), second.astype(float), ones, groups)

    likely = None
    if base.nll is not None and tuned.nll is not None and not np.isnan(base.nll).any() and not np.isnan(tuned.nll).any():
        likely = pairs(base.nll.argmin(axis=1) == base.actual, tuned.nll.argmin(axis=1) == tuned.actual)
    right = tuned.replied == tuned.actual
    return Classified(
        invalid=pairs(base.replied < 0, tuned.replied < 0),
        right=pairs(base.replied == base.actual, right),
        likely_right=likely,
        over_majority=pairs(majority.replied == majority.actual, right),
    )
