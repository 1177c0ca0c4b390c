"""Pairs of brokers of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.brokers import own
from tests.bus.conformance.broker_world import BrokerWorld
from tests.pairs import PAIRS, Pair, own_pair

_PARAMS = [
    pytest.param(
        pair,
        id="-".join(pair),
        marks=[getattr(pytest.mark, name) for name in {"failover", *pair} - {"nats"}],
    )
    for pair in PAIRS
]
"""NATS is what failover needs anyway."""


@pytest.fixture(params=_PARAMS)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Two brokers that run, and the database beside them."""
    first, second = (own(request, name) for name in request.param)
    return own_pair(request, first, second)


@pytest.fixture
async def world(pair: Pair) -> AsyncIterator[BrokerWorld]:
    """A fleet on the pair."""
    made = BrokerWorld(pair)
    yield made
    await made.close()
