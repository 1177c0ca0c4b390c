"""A fleet for each test of the engine."""

from collections.abc import AsyncIterator

import pytest

from tests.engine.fleets import ManualFleet


@pytest.fixture
async def fleet() -> AsyncIterator[ManualFleet]:
    """A fleet by the clock's hand, of this test alone."""
    made = ManualFleet()
    yield made
    await made.close()
