"""Blind votes: counted for the replies that they were given to alone, exact, and a claim beside the others."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from stages.evaluate.claims import make_claims
from stages.evaluate.intervals import clopper_pearson
from stages.evaluate.votes import (
    Ballot,
    Vote,
    add_hashes,
    ask_preferred,
    count_votes,
    estimate_win_rate,
    read_votes,
    vote_figures,
)
from stages.lib.core.errors import ReprotuneError


def replies(number: int, per_group: int = 1) -> pd.DataFrame:
    rows = [
        {"id": f"a/{at}", "turn": 1, "group": f"g{at // per_group}", "base_reply": f"b{at}", "tuned_reply": f"t{at}"}
        for at in range(number)
    ]
    return add_hashes(pd.DataFrame(rows))


def vote_on(table: pd.DataFrame, winners: list[str]) -> list[Vote]:
    rows = table.to_dict("records")[: len(winners)]
    return [
        Vote(id=row["id"], turn=row["turn"], replies=row["hash"], winner=winner)
        for row, winner in zip(rows, winners, strict=True)
    ]


@pytest.mark.parametrize(("wins", "number"), [(0, 7), (7, 7), (31, 50), (1, 30), (250, 400)])
def test_the_interval_is_clopper_and_pearsons(wins: int, number: int) -> None:
    expected = binomtest(wins, number).proportion_ci(0.95, "exact")
    assert clopper_pearson(wins, number, 0.95) == pytest.approx((expected.low, expected.high))
    table = replies(number)
    figures = vote_figures(count_votes(vote_on(table, ["tuned"] * wins + ["base"] * (number - wins)), table), 0.95)
    assert (figures["win_rate"], figures["votes"]) == (pytest.approx(wins / number), number)
    assert (figures["win_rate_low"], figures["win_rate_high"]) == pytest.approx((expected.low, expected.high))
    assert estimate_win_rate(count_votes(vote_on(table, ["tuned"] * wins + ["base"] * (number - wins)), table), 0.95).p == (
        pytest.approx(binomtest(wins, number).pvalue)
    )


def test_ties_and_pairs_of_bad_replies_are_split() -> None:
    table = replies(40)
    ballot = count_votes(vote_on(table, ["tie"] * 10 + ["bad"] * 10 + ["tuned"] * 15 + ["base"] * 5), table)
    estimate = estimate_win_rate(ballot, 0.95)
    assert estimate.value == pytest.approx(25 / 40 - 0.5)
    assert estimate.p == pytest.approx(binomtest(25, 40).pvalue)


@pytest.mark.parametrize("ties", [0, 5, 20, 41])
@pytest.mark.parametrize("per_group", [1, 3])
def test_a_preference_is_claimed_only_where_the_interval_leaves_a_half_out(ties: int, per_group: int) -> None:
    table = replies(63, per_group)
    for wins in range(0, 64 - ties, 3):
        winners = ["tuned"] * wins + ["tie"] * ties + ["base"] * (63 - ties - wins)
        estimate = estimate_win_rate(count_votes(vote_on(table, winners), table), 0.95)
        assert (estimate.p < 0.05) == (estimate.low > 0 or estimate.high < 0)


def test_many_votes_on_one_group_make_nothing_surer() -> None:
    apart, together = replies(40), replies(40, per_group=10)
    winners = ["tuned"] * 30 + ["base"] * 10
    one, other = (estimate_win_rate(count_votes(vote_on(table, winners), table), 0.95) for table in (apart, together))
    assert other.high - other.low > 1.5 * (one.high - one.low)
    twice = count_votes(vote_on(apart, winners) * 2, apart)
    assert (estimate_win_rate(twice, 0.95).low, estimate_win_rate(twice, 0.95).high) == pytest.approx((one.low, one.high))


def test_a_vote_for_other_replies_is_counted_apart_and_for_nothing() -> None:
    table = replies(3)
    changed = add_hashes(table.assign(tuned_reply="another"))
    ballot = count_votes([*vote_on(table, ["tuned", "base", "tie"]), *vote_on(changed, ["base"])], table)
    assert (ballot.won.tolist(), ballot.foreign) == ([1.0, 0.0, 0.5], 1)
    swapped = add_hashes(table.rename(columns={"base_reply": "tuned_reply", "tuned_reply": "base_reply"}))
    assert not set(swapped["hash"]) & set(table["hash"])


def test_a_reply_that_is_missing_has_no_hash_and_no_vote() -> None:
    table = add_hashes(replies(2).assign(tuned_reply=[None, "t"]))
    assert table["hash"][0] is None


def test_a_claim_says_whose_replies_people_prefer() -> None:
    table = replies(60)
    won = make_claims([ask_preferred(count_votes(vote_on(table, ["tuned"] * 50 + ["base"] * 10), table), 0.95)], 0.95)[0]
    assert (won["verdict"], won["estimate"], won["base"], won["tuned"]) == (
        "more", pytest.approx(50 / 60), pytest.approx(10 / 60), pytest.approx(50 / 60),
    )  # fmt: skip
    assert won["low"] > 0.5
    lost = make_claims([ask_preferred(count_votes(vote_on(table, ["base"] * 50 + ["tuned"] * 10), table), 0.95)], 0.95)[0]
    assert (lost["verdict"], lost["high"] < 0.5) == ("less", True)
    even = make_claims([ask_preferred(count_votes(vote_on(table, ["base", "tuned"] * 30), table), 0.95)], 0.95)[0]
    assert (even["verdict"], even["estimate"]) == ("unclear", 0.5)
    few = make_claims([ask_preferred(count_votes(vote_on(table, ["tuned"] * 10), table), 0.95)], 0.95)[0]
    assert few["verdict"] == "too_few"


def test_no_vote_is_no_measurement_and_says_why() -> None:
    for foreign, why in ((0, "nobody has voted"), (3, "all 3 votes are for other replies")):
        ballot = Ballot(np.array([]), np.array([], str), foreign)
        claim = make_claims([ask_preferred(ballot, 0.95)], 0.95)[0]
        assert (claim["verdict"], claim["reason"]) == ("not_measured", f"{why}; vote in metrics/report.html")
        assert str(vote_figures(ballot, 0.95)["win_rate"]).startswith(why)


FAULTS = {
    "{": "not JSON",
    '{"id": "a", "turn": 1, "replies": "0123456789abcdef", "winner": "left"}': "winner: ",
    '{"id": "a", "turn": 1, "replies": "zz", "winner": "tie"}': "replies: ",
    '{"id": "a", "turn": 1, "winner": "tie"}': "replies: ",
    '{"id": "a", "turn": 1, "replies": "0123456789abcdef", "winner": "tie", "more": 1}': "unknown key more",
    "[1]": "the row: ",
}


@pytest.mark.parametrize("line", FAULTS)
def test_a_line_that_is_no_vote_is_an_error_that_names_it(tmp_path: Path, line: str) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_text(f"\n{line}\n", encoding="utf-8")
    with pytest.raises(ReprotuneError, match=r"votes\.jsonl:2: ") as caught:
        read_votes(path)
    assert FAULTS[line] in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ReprotuneError, match=r"evaluate\.votes names the file"):
        read_votes(tmp_path / "votes.jsonl")
