"""Fleets on pairs of brokers of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.bus.conformance.broker_world import BrokerWorld
from tests.pairs import Pair


@pytest.fixture
async def world(pair: Pair) -> AsyncIterator[BrokerWorld]:
    """A fleet on the pair."""
    made = BrokerWorld(pair)
    yield made
    await made.close()
