"""Opening the history of a fleet as its settings say."""

import asyncio

from contracts.clock import Clock
from knowledge.history.history import History
from knowledge.history.retention import DAY, Keep
from workers.history.address import history_url, schema
from workers.settings import Loaded


async def open_history(loaded: Loaded, clock: Clock) -> History:
    """The history of this fleet; close it when done. Raises `SettingsError` where none is kept,
    and the errors of `knowledge.database.errors`."""
    url = await asyncio.to_thread(history_url, loaded)
    return await History.open(url, clock, schema=schema(loaded), keep=_keep(loaded))


def _keep(loaded: Loaded) -> Keep:
    days = loaded.settings.history.model_dump(exclude={"url"})
    return Keep(**{kind: count * DAY for kind, count in days.items()})
