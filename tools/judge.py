"""Blind pairs of replies for a judge, and what its answers are worth: a model behind any OpenAI-compatible endpoint, or a person.

    python -m tools.judge ask pairs.jsonl --model NAME    # requests in OpenAI's batch format, each pair in both orders
    python -m tools.judge read answers.jsonl              # what the endpoint's batch gave back

Nothing is sent anywhere: you send the file, or run it on a server of your own. A person adds "answer": "A", "B" or "T" to each
line. A judge's opinion is told when people have voted on 50 of its pairs, and never enters metrics/.
"""

import argparse
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.__main__ import EvaluateParams
from stages.evaluate.intervals import wilson
from stages.evaluate.votes import WON, Ballot, estimate_win_rate, read_votes
from stages.lib.core.errors import ReprotuneError, raise_first
from stages.lib.core.files import read_lines, write_jsonl
from stages.lib.core.params import read_params
from stages.lib.records.conversation import Message, conversations_of, read_conversations, reply_text
from stages.lib.records.scores import REPLIES
from tools.console import plural, run_tool, whole

PAIRS = 200
FEWEST_VOTES = 50  # of people, on pairs that the judge has judged, before its opinion is told
ORDERS = ("1", "2")
INSTRUCTION = (
    "You compare two replies to the last message of a conversation. Which one serves whoever wrote that message better: right, "
    "to the point, in the conversation's language and tone? Being longer is no merit by itself. Answer with one letter: A, B, or "
    "T where neither is better than the other."
)


class Opinions(NamedTuple):
    """`won`: hash of a pair -> 1 where tuned's reply was preferred in both orders, 0 where base's was, else a half.

    `flipped`: pairs in which the preferred one was that of a place and not of a model; `halves`: pairs with one usable answer;
    `foreign`: answers on replies of another run; `unusable`: answers that are neither A, B nor T.
    """

    won: dict[str, float]
    flipped: int
    halves: int
    foreign: int
    unusable: int


def read_pairs() -> pd.DataFrame:
    """
    Raises:
        ReprotuneError: there are no replies.
    """
    if not REPLIES.is_file():
        raise ReprotuneError(f"{REPLIES}: not found; `dvc repro` makes it, `dvc pull` fetches it")
    replies = pd.read_parquet(REPLIES)
    return replies[replies["hash"].notna() & (replies["base_reply"] != replies["tuned_reply"])]


def first_is_tuned(pair: str, order: str) -> bool:
    """Whose reply is A: in the first order by chance, so that no place tells anything, in the second the other one's."""
    return (hashlib.sha256(pair.encode()).digest()[0] % 2 == 1) == (order == ORDERS[0])


class Pair(NamedTuple):
    """Of metrics' replies to one turn, what a judge is asked about; `hash` is its name."""

    id: str
    turn: int
    hash: str
    base_reply: str
    tuned_reply: str


def request_of(pair: Pair, messages: Sequence[Message], order: str, model: str) -> dict[str, object]:
    """A line of OpenAI's batch format."""
    said = "\n\n".join(f"[{message['role']}]\n{reply_text(message)}" for message in messages)
    replies = [pair.tuned_reply, pair.base_reply]
    one, other = replies if first_is_tuned(pair.hash, order) else reversed(replies)
    asked = f"{said}\n\n[Reply A]\n{one}\n\n[Reply B]\n{other}\n\nA, B or T?"
    body = {
        "model": model,
        "messages": [{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": asked}],
        "temperature": 0,
        "max_tokens": 5,
    }
    return {"custom_id": f"{pair.hash}-{order}", "method": "POST", "url": "/v1/chat/completions", "body": body}


def ask(path: Path, number: int, model: str) -> None:
    if number < 1:
        raise ReprotuneError(f"--pairs {number}: expected 1 or more")
    if path.exists():
        raise ReprotuneError(f"{path}: is there already; name another file, so that no answer is lost")
    pairs = read_pairs()
    chosen = pairs.loc[pairs["hash"].map(lambda pair: hashlib.sha256(pair.encode()).hexdigest()).sort_values().index[:number]]
    messages_of = {row["id"]: row["messages"] for row in read_conversations(conversations_of("test"))}
    asked = [Pair(*row) for row in chosen[list(Pair._fields)].itertuples(index=False)]
    requests = [request_of(pair, messages_of[pair.id][: pair.turn], order, model) for order in ORDERS for pair in asked]
    with whole(path) as half:
        write_jsonl(half, requests)
    print(f"{path}: {plural(len(asked), 'pair')}, each in both orders; it holds the texts of your test conversations")


def answer_of(row: dict[str, Any]) -> str:
    """A, B or T of a batch's answer or a person's line; "" where there is none."""
    if "answer" in row:
        said = row["answer"]
    else:
        choices = ((row.get("response") or {}).get("body") or {}).get("choices") or [{}]
        said = (choices[0].get("message") or {}).get("content")
    letters = str(said or "").strip().strip("*[]().").upper()
    return letters if letters in ("A", "B", "T") else ""


def read_answers(path: Path) -> list[tuple[str, str, str]]:
    """(pair, order, answer) of each line."""
    if not path.is_file():
        raise ReprotuneError(f"{path}: no such file; name the one with the answers to what `python -m tools.judge ask` wrote")
    answers, problems = [], []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            pair, _, order = row["custom_id"].rpartition("-")
            answers.append((pair, order, answer_of(row)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            problems.append(f"{path}:{number}: no answer to a request; expected a line with custom_id and response, or answer")
    raise_first(problems)
    return answers


def weigh(answers: Sequence[tuple[str, str, str]], known: set[str]) -> Opinions:
    """Of pairs that were answered in both orders alone; the last answer to a request counts."""
    foreign = sum(pair not in known for pair, _, _ in answers)
    said = {(pair, order): letter for pair, order, letter in answers if pair in known and order in ORDERS and letter}
    unusable = sum(not letter for pair, _, letter in answers if pair in known)
    won, flipped, halves = {}, 0, 0
    for pair in sorted({pair for pair, _ in said}):
        both = [said.get((pair, order)) for order in ORDERS]
        if None in both:
            halves += 1
            continue
        values = [
            0.5 if letter == "T" else float((letter == "A") == first_is_tuned(pair, order))
            for letter, order in zip(both, ORDERS, strict=True)
        ]
        flipped += {*values} == {0.0, 1.0}
        won[pair] = values[0] if values[0] == values[1] else 0.5
    return Opinions(won, flipped, halves, foreign, unusable)


def people_on(pairs: dict[str, float], votes_path: Path) -> dict[str, float]:
    """Of these pairs, what people's votes count for tuned on average."""
    votes: dict[str, list[float]] = {}
    for vote in read_votes(votes_path):
        if vote.replies in pairs:
            votes.setdefault(vote.replies, []).append(WON[vote.winner])
    return {pair: sum(some) / len(some) for pair, some in votes.items()}


def side(value: float) -> str:
    return "tie" if value == 0.5 else "tuned" if value > 0.5 else "base"


def describe(opinions: Opinions, people: dict[str, float], group_of: dict[str, str], confidence: float) -> list[str]:
    """Lines for people: what was answered, and what it says as soon as it may say something."""
    counts = {"in one order alone": opinions.halves, "of another run": opinions.foreign, "neither A, B nor T": opinions.unusable}
    left_out = ", ".join(f"{number:,} {what}" for what, number in counts.items() if number)
    judged = len(opinions.won)
    lines = [f"{plural(judged, 'pair')} judged in both orders" + (f"; left out: {left_out}" if left_out else "")]
    if not judged:
        return lines
    lines.append(f"it preferred a place and not a reply in {opinions.flipped:,} of them ({opinions.flipped / judged:.0%}): ties")
    if len(people) < FEWEST_VOTES:
        wanted = f"people have voted on {len(people):,} of its pairs, and its opinion is told from {FEWEST_VOTES} on"
        return [*lines, f"no verdict: {wanted}; vote in metrics/report.html"]
    alike = sum(side(opinions.won[pair]) == side(value) for pair, value in people.items())
    low, high = wilson(alike, len(people), confidence)
    sides = Counter(side(value) for value in people.values())
    usual = max(sides.values()) / len(people)
    agreement = f"{alike:,} of {len(people):,} pairs ({alike / len(people):.0%}, {low:.0%} to {high:.0%})"
    lines.append(f"it agrees with people on {agreement}; always saying {max(sides, key=sides.__getitem__)} would on {usual:.0%}")
    pairs = list(opinions.won)
    ballot = Ballot(np.array([opinions.won[pair] for pair in pairs]), np.array([group_of[pair] for pair in pairs], str), 0)
    estimate = estimate_win_rate(ballot, confidence)
    if estimate.value is not None and estimate.low is not None and estimate.high is not None:
        ends = f"{estimate.low + 0.5:.0%} to {estimate.high + 0.5:.0%}"
        lines.append(f"by its opinion tuned wins {estimate.value + 0.5:.0%} of {judged:,} pairs ({ends})")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.judge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["ask", "read"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pairs", type=int, default=PAIRS, metavar="N", help=f"at most so many (default {PAIRS})")
    parser.add_argument("--model", default="judge", help="the endpoint's name of it")
    options = parser.parse_args()
    if options.action == "ask":
        ask(options.file, options.pairs, options.model)
        return
    params, pairs = read_params("evaluate", EvaluateParams), read_pairs()
    opinions = weigh(read_answers(options.file), set(pairs["hash"]))
    people = people_on(opinions.won, Path(params.votes))
    for line in describe(opinions, people, dict(zip(pairs["hash"], pairs["group"], strict=True)), params.confidence):
        print(line)


if __name__ == "__main__":
    run_tool(main)
