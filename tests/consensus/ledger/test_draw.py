"""Who is asked and who wins, by hashes that are the same everywhere."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from consensus.ledger.draw import best, roster, weight
from consensus.ledger.encoding import Signed
from consensus.ledger.state import Bid

CROWD = [(number, f"w{number}") for number in range(100)]


def test_eight_of_many_are_asked_and_all_of_few() -> None:
    assert len(set(roster("k", 1, CROWD))) == 8
    assert sorted(roster("k", 1, CROWD[:8])) == list(range(8))
    assert roster("k", 1, []) == ()


@given(st.permutations(CROWD[:20]))
def test_the_order_of_candidates_does_not_matter(candidates: list[tuple[int, str]]) -> None:
    assert roster("k", 3, candidates) == roster("k", 3, CROWD[:20])


def test_each_round_asks_others() -> None:
    assert set(roster("k", 1, CROWD)) != set(roster("k", 2, CROWD))


def test_all_are_asked_equally_often() -> None:
    """Each of 100 is asked 160 times in 2,000 rounds; four standard deviations are 49."""
    asked = Counter(who for key in range(2_000) for who in roster(str(key), 1, CROWD))
    assert len(asked) == 100
    assert all(111 <= count <= 209 for count in asked.values()), asked


def test_hashes_stay_what_they_are() -> None:
    """Replicas of two releases draw the same."""
    assert roster("k", 1, CROWD) == (50, 35, 87, 70, 40, 30, 18, 0)
    assert weight("k", "w1").hex()[:16] == "6f82850cb127fd29"


def _bid(worker: str, score: int, cost: int, index: int) -> Bid:
    return Bid(index, index, worker, False, Signed(score), cost, b"")


@given(st.permutations([("a", 5, 9, 1), ("b", 5, 7, 2), ("c", 4, 0, 3), ("d", 5, 8, 4)]))
def test_the_highest_score_wins_and_then_the_lowest_cost(
    bids: list[tuple[str, int, int, int]],
) -> None:
    found = best("k", [_bid(*bid) for bid in bids])
    assert found
    assert found.worker == "b"


def test_of_two_sessions_of_one_worker_the_first_bid_wins() -> None:
    found = best("k", [_bid("a", 5, 5, 9), _bid("a", 5, 5, 8)])
    assert found
    assert found.index == 8


def test_without_bids_nobody_wins() -> None:
    assert best("k", []) is None
