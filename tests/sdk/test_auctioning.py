"""What a role may say of its auctions, and how it is refused what cannot work."""

from typing import Any

import pytest

from tests.sdk.test_role import declared, refused
from workers import Bid, Situation
from workers.sdk.auctioning import Auctioned


def test_a_role_is_not_auctioned_unless_it_says_so() -> None:
    assert declared().auction is None
    assert declared(assign="queue").auction is None


def test_an_auctioned_role_has_defaults_for_the_rest() -> None:
    assert declared(assign="auction").auction == Auctioned()


def test_it_has_what_it_says() -> None:
    def bid(situation: Situation) -> Bid:
        return Bid(situation.free)

    found = declared(
        assign="auction",
        skills=["pdf", "german", "pdf"],
        window=2,
        lease=60,
        max_awards=5,
        slots=2,
        fallback="queue",
        bid=bid,
        concurrency=4,
    ).auction
    assert found == Auctioned(
        skills=("german", "pdf"),
        window=2.0,
        lease=60.0,
        max_awards=5,
        slots=2,
        fallback="queue",
        bid=bid,
    )
    one = declared(assign="auction", skills="pdf").auction
    assert one is not None
    assert one.skills == ("pdf",)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"assign": "lottery"}, 'expected "queue" or "auction"'),
        ({"assign": ["auction"]}, 'expected "queue" or "auction"'),
        ({"window": 1.0}, 'window=1.0 belongs to assign="auction"'),
        ({"assign": "queue", "bid": len}, 'belongs to assign="auction"'),
        ({"assign": "auction", "delivery": "once"}, "contradict each other"),
        ({"assign": "auction", "window": 0}, "from 0.001 to 3600 s"),
        ({"assign": "auction", "window": "1"}, "number of seconds"),
        ({"assign": "auction", "window": float("nan")}, "number of seconds"),
        ({"assign": "auction", "lease": 0.5}, "from 1 to 3600 s"),
        ({"assign": "auction", "lease": 3601}, "from 1 to 3600 s"),
        ({"assign": "auction", "lease": True}, "number of seconds"),
        ({"assign": "auction", "max_awards": 0}, "from 1 to 1,000"),
        ({"assign": "auction", "max_awards": 1.5}, "whole number"),
        ({"assign": "auction", "slots": 0}, "from 1 to 10,000"),
        ({"assign": "auction", "slots": 9}, "slots=9 is more than concurrency=8"),
        ({"assign": "auction", "slots": 3, "concurrency": 2}, "more than concurrency=2"),
        ({"assign": "auction", "skills": 7}, "expected a list of words"),
        ({"assign": "auction", "skills": ["a\nb"]}, "is no word"),
        ({"assign": "auction", "skills": [""]}, "is no word"),
        ({"assign": "auction", "skills": [f"s{n}" for n in range(33)]}, "33 words"),
        ({"assign": "auction", "fallback": "run"}, 'expected "wait" or "queue"'),
        ({"assign": "auction", "bid": 7}, "expected a function"),
        ({"assign": "auction", "skill": "pdf"}, "did you mean skills?"),
    ],
)
def test_what_cannot_work_is_refused_with_its_place(options: dict[str, Any], why: str) -> None:
    assert why in refused(**options)
