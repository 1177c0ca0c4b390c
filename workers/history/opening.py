"""Opening the history of a fleet as its settings say."""

import asyncio

from contracts.clock import Clock
from knowledge.history.history import History
from workers.history.address import history_url, schema
from workers.settings import Loaded


async def open_history(loaded: Loaded, clock: Clock) -> History:
    """The history of this fleet; close it when done. Raises `SettingsError` where none is kept,
    and the errors of `knowledge.database.errors`."""
    url = await asyncio.to_thread(history_url, loaded)
    return await History.open(url, clock, schema=schema(loaded))
