"""What a worker bids, case by case."""

from dataclasses import replace

import pytest
from pydantic_core import from_json

from contracts.auctions import MAX_PARTS
from workers.auctions.bidding import WEIGHTS, Answer, answer_of, default_bid, parts_of
from workers.auctions.experience import Experience, Similar
from workers.sdk.bids import Bid, Situation

NEW = Situation(role="reader", key="k", free=4, slots=4)
"""A worker that has run nothing yet, all its places free."""


def score(situation: Situation) -> int:
    bid = default_bid(situation)
    assert bid is not None
    return bid.score


def test_the_weights_are_a_whole() -> None:
    assert sum(WEIGHTS.values()) == 1000


def test_a_newcomer_gets_half_of_what_nobody_knows() -> None:
    """0 for skills, half of success, speed and cost, all of what free places give."""
    assert score(NEW) == 125 + 200 + 50 + 25


PDF = replace(NEW, words=frozenset({"read", "pdf", "german"}), topic="read.pdf")


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (replace(PDF, skills=("pdf",)), replace(PDF, skills=("csv",))),
        (replace(PDF, skills=("PDF",)), replace(PDF, skills=())),
        (replace(PDF, skills=("german", "pdf")), replace(PDF, skills=("pdf",))),
        (replace(NEW, runs=10, succeeded=10), NEW),
        (NEW, replace(NEW, runs=10, succeeded=2)),
        (replace(NEW, runs=100, succeeded=99), replace(NEW, runs=2, succeeded=2)),
        (NEW, replace(NEW, free=1)),
        (replace(NEW, seconds=1.0), replace(NEW, seconds=600.0)),
        (replace(NEW, seconds=1.0), NEW),
        (replace(NEW, cost=100), replace(NEW, cost=1_000_000)),
        (replace(PDF, skills=("pdf",), free=1), replace(PDF, skills=("csv",), free=4)),
    ],
    ids=[
        "a skill that the task names",
        "however it is spelt",
        "two skills beat one",
        "success",
        "failure",
        "much experience beats little",
        "free places",
        "speed",
        "known to be quick",
        "cheap",
        "skill beats idleness",
    ],
)
def test_the_better_worker_scores_higher(better: Situation, worse: Situation) -> None:
    assert score(better) > score(worse)


def test_without_a_free_place_it_passes_and_says_so() -> None:
    answer = answer_of(default_bid, replace(NEW, free=0))
    assert answer.passed
    assert from_json(answer.parts) == {"why": "no free place"}


def test_the_parts_add_up_to_the_score() -> None:
    answer = answer_of(default_bid, replace(PDF, skills=("pdf",), runs=3, succeeded=1, seconds=2.0))
    parts = from_json(answer.parts)
    assert sum(parts[name] for name in WEIGHTS) == answer.score
    assert (parts["runs"], parts["seconds"]) == (3, 2.0)


def test_its_cost_is_that_of_similar_tasks() -> None:
    assert answer_of(default_bid, replace(NEW, cost=1234)).cost == 1234


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "not wanted"),
        (Bid(1.5), "no whole number"),  # type: ignore[arg-type]
        (Bid(True), "no whole number"),
        (Bid(1, -1), "out of range"),
        (Bid(1 << 63), "out of range"),
        (17, "expected Bid or None"),
    ],
)
def test_what_no_ledger_can_take_is_a_pass_that_says_why(given: Bid | None, why: str) -> None:
    answer = answer_of(lambda _: given, NEW)
    assert answer.passed
    assert why in from_json(answer.parts)["why"]


def test_a_bid_that_raises_is_a_pass_that_says_why() -> None:
    def broken(_: Situation) -> Bid:
        raise KeyError("price")

    answer = answer_of(broken, NEW)
    assert answer.passed
    assert from_json(answer.parts) == {"why": "KeyError: 'price'"}


def test_a_role_may_bid_its_own_way() -> None:
    answer = answer_of(lambda s: Bid(s.free, 7, {"why": "mine"}), NEW)
    assert answer == Answer(False, 4, 7, b'{"why":"mine"}')


@pytest.mark.parametrize(
    "parts",
    [
        {f"part-{number}": number for number in range(100)},
        {"text": "x" * 1000, "few": 1},
        {"é" * 300: 1},
        {"why": "\udcff"},
    ],
)
def test_parts_that_are_too_long_are_left_out_and_counted(
    parts: dict[str, str | int | float],
) -> None:
    found = parts_of(parts)
    assert len(found) <= MAX_PARTS
    read = from_json(found)
    assert read["left_out"] == len(parts) - (len(read) - 1)


def test_experience_is_of_the_topic() -> None:
    known = Experience()
    known.add("a.b", succeeded=True, seconds=2.0, cost=10)
    known.add("a.b", succeeded=False, seconds=4.0)
    known.add("a.c", succeeded=True, seconds=1.0)
    assert known.of("a.b") == Similar(2, 1, 2.2, 10)
    assert known.of("a.z") == Similar()
    assert known.of("") == Similar(3, 2)


def test_experience_forgets_what_was_run_longest_ago() -> None:
    known = Experience()
    for number in range(1001):
        known.add(f"topic-{number}", succeeded=True, seconds=1.0)
    assert known.of("topic-0") == Similar()
    assert known.of("topic-1").runs == 1
