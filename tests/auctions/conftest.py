"""A fleet for each test of auctions."""

from collections.abc import AsyncIterator

import pytest

from tests.auctions.fleets import AuctionFleet


@pytest.fixture
async def fleet() -> AsyncIterator[AuctionFleet]:
    """A fleet with a ledger, by the clock's hand, of this test alone."""
    made = AuctionFleet()
    yield made
    await made.close()
