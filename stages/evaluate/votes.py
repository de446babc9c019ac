"""Votes of people who saw two replies and not whose they were -> how often tuned's is preferred, and how sure that is."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import orjson
import pandas as pd
from pydantic import Field, ValidationError

from stages.evaluate.claims import Question
from stages.evaluate.figures import Figures, interval_figures
from stages.evaluate.intervals import Estimate, clopper_pearson, effective_groups, group_sums, half_test
from stages.lib.core.errors import ReprotuneError, raise_first
from stages.lib.core.files import read_lines
from stages.lib.core.params import Section
from stages.lib.records.scores import Why

WON = {"tuned": 1.0, "tie": 0.5, "bad": 0.5, "base": 0.0}  # what a vote counts for the tuned model


class Vote(Section):
    """`replies`: the hash of the two replies that the vote was given to. `bad`: neither is any good. `voter`: as people like."""

    id: str
    turn: int
    replies: str = Field(pattern="^[0-9a-f]{16}$")
    winner: Literal["tuned", "base", "tie", "bad"]
    voter: str | None = None


class Ballot(NamedTuple):
    """Votes for replies of this run: how much each counts for tuned and the group of its conversation: (N,) each.

    `foreign`: how many votes were given to other replies.
    """

    won: np.ndarray
    groups: np.ndarray
    foreign: int


def read_votes(path: Path) -> list[Vote]:
    """A JSON object a line, as metrics/report.html saves them; blank lines count for nothing.

    Raises:
        ReprotuneError: the file is missing, or a line is no vote.
    """
    if not path.is_file():
        raise ReprotuneError(f"{path}: not found; evaluate.votes names the file of votes: without any, one with a blank line")
    votes, problems = [], []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            votes.append(Vote.model_validate(orjson.loads(line)))
        except orjson.JSONDecodeError:
            problems.append(f"{path}:{number}: not JSON; expected a line of what metrics/report.html saves")
        except ValidationError as error:
            detail = error.errors()[0]
            key = ".".join(map(str, detail["loc"])) or "the row"
            found = detail["msg"].removeprefix("Value error, ")
            problems.append(f"{path}:{number}: {key}: {found}; a vote has id, turn, replies and winner (tuned, base, tie or bad)")
    raise_first(problems)
    return votes


def hash_replies(id: str, turn: int, base: object, tuned: object) -> str | None:
    """What ties a vote to two replies; None where one of them is missing."""
    if not isinstance(base, str) or not isinstance(tuned, str):
        return None
    return hashlib.sha256(orjson.dumps([id, turn, base, tuned])).hexdigest()[:16]


def add_hashes(replies: pd.DataFrame) -> pd.DataFrame:
    columns = [replies[name] for name in ("id", "turn", "base_reply", "tuned_reply")]
    hashes = [hash_replies(str(id), int(turn), base, tuned) for id, turn, base, tuned in zip(*columns, strict=True)]
    return replies.assign(hash=pd.Series(hashes, index=replies.index, dtype=object))


def add_numbers(replies: pd.DataFrame, votes: Sequence[Vote]) -> pd.DataFrame:
    """How many votes each pair has, so that the next ones are given to the others."""
    numbers = Counter(vote.replies for vote in votes)
    return replies.assign(votes=[numbers[hash] if hash else 0 for hash in replies["hash"]])


def count_votes(votes: Sequence[Vote], replies: pd.DataFrame) -> Ballot:
    """`replies`: with their hashes. Whose vote it is and whether there are several for one pair makes no difference."""
    group_of = dict(zip(replies["hash"], replies["group"], strict=True))
    known = [vote for vote in votes if vote.replies in group_of]
    won = np.array([WON[vote.winner] for vote in known], float)
    return Ballot(won, np.array([group_of[vote.replies] for vote in known], str), len(votes) - len(known))


def estimate_win_rate(ballot: Ballot, confidence: float) -> Estimate:
    """The share of votes that tuned wins, ties split, less a half: with Clopper and Pearson's interval and an exact p.

    As if all votes on a group agreed, so several people's votes on one pair make nothing surer.
    """
    if not len(ballot.won):
        reason = Why.FOREIGN_VOTES.said(votes=ballot.foreign) if ballot.foreign else Why.NO_VOTE.said()
        return Estimate(None, None, None, None, None, 0, reason)
    sizes = group_sums(np.ones((len(ballot.won), 1)), ballot.groups)[:, 0]
    number = effective_groups(sizes)
    rate = float(ballot.won.mean())
    low, high = clopper_pearson(rate * number, number, confidence)
    error = 0.5 / float(np.sqrt(number))
    return Estimate(rate - 0.5, error, low - 0.5, high - 0.5, half_test(rate * number, number), len(sizes), None)


def vote_figures(ballot: Ballot, confidence: float) -> Figures:
    estimate = estimate_win_rate(ballot, confidence)
    moved = [None if value is None else value + 0.5 for value in (estimate.value, estimate.low, estimate.high)]
    rate = estimate._replace(value=moved[0], low=moved[1], high=moved[2])
    return {"votes": len(ballot.won), "votes_foreign": ballot.foreign, **interval_figures("win_rate", rate)}


def ask_preferred(ballot: Ballot, confidence: float) -> Question:
    estimate = estimate_win_rate(ballot, confidence)
    if estimate.value is None:
        return Question("preferred", "win_rate", None, 0, reason=estimate.reason)
    shares = (float((ballot.won == 0).mean()), float((ballot.won == 1).mean()))
    return Question("preferred", "win_rate", estimate, len(ballot.won), *shares)
