"""Limits as people write them."""

from typing import Any

import pytest

from contracts.errors import InvalidValue
from contracts.limits import Limit, Rate, parse_rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1.0)),
        ("100/min", Rate(100, 60.0)),
        ("5/30s", Rate(5, 30.0)),
        ("10000/day", Rate(10_000, 86_400.0)),
        (" 1 / hour ", Rate(1, 3600.0)),
    ],
)
def test_a_rate_is_a_number_per_time(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["", "10", "0/s", "1/0s", "-1/s", "1.5/s", "1/week", "1/s/s", "x/s"]
)
def test_what_is_no_rate_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidValue, match="not a rate") as caught:
        parse_rate(text)
    assert "10/s" in caught.value.actions[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "limits nothing"),
        ({"rate": "fast"}, "not a rate"),
        ({"concurrency": 0}, "concurrency=0"),
        ({"concurrency": True}, "concurrency=True"),
        ({"rate": "1/s", "burst": 0}, "burst=0"),
        ({"concurrency": 1, "burst": 2}, "without a rate"),
        ({"rate": "1/s", "by": "customer"}, "by='customer'"),
        ({"rate": "1/s", "by": "payload"}, "by='payload'"),
        ({"rate": "1/s", "by": "payload.a b"}, "by='payload.a b'"),
    ],
)
def test_a_limit_that_cannot_work_is_refused(options: Any, says: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        Limit(**options)
    assert says in str(caught.value)


def test_a_limit_by_a_field_knows_the_way_there() -> None:
    assert Limit(rate="1/s", by="payload.order.customer").path == ("order", "customer")
    assert Limit(rate="1/s", by="tenant").path == ()
