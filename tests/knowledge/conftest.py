"""Databases and histories on a real PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from contracts.clock import SystemClock
from knowledge.database.database import Database
from knowledge.history.history import History


@pytest.fixture
async def database(history_url: str) -> AsyncIterator[Database]:
    """A database of the test's own, with the tables of this release."""
    found = await Database.open(history_url)
    yield found
    await found.close()


@pytest.fixture
def history(database: Database) -> History:
    """An empty history."""
    return History(database, SystemClock())
