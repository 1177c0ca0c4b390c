"""What other processes have prefetched and not handed out: the broker does not tell, they do.

Whoever wants to know tells all by a notice of the bus database; each that consumes from the group
answers by a notice to the one that asked.
"""

import asyncio
import json
from collections import Counter
from contextlib import suppress

from bus.backends.rabbitmq.feed import Feeds
from bus.backends.rabbitmq.link import RabbitLink
from bus.database.database import BusDatabase
from bus.database.ear import Ear, Listener
from bus.errors import BusError
from bus.parking.bindings import channel_of
from bus.parking.parking import new_owner

ASKED = "count"
"""The first word of a notice that asks."""

_ANSWERS = 0.5
"""Seconds to wait for answers: a process that hangs gives none until the broker drops it."""

_TELL = "SELECT pg_notify($1, $2)"


class Counting:
    """Asks others and answers them, for one process."""

    def __init__(self, link: RabbitLink, feeds: Feeds, database: BusDatabase, ear: Ear) -> None:
        self._link = link
        self._feeds = feeds
        self._database = database
        self._ear = ear
        self._channel = channel_of(database.fleet)
        self._me = f"{self._channel}_{new_owner()}"
        self._listener = Listener(self._me, self._answered, self._missed, self._missed)
        self._listening = asyncio.Lock()
        self._heard = False
        self._open: dict[int, asyncio.Queue[dict[str, int]]] = {}
        self._asked = 0

    async def prefetched(self, group: str, processes: int) -> Counter[str]:
        """By queue, of so many other processes, or of fewer that answered in time."""
        found: Counter[str] = Counter()
        async with self._listening:
            if not self._heard:
                await self._ear.listen(self._listener)
                self._heard = True
        self._asked += 1
        number = self._asked
        answers = self._open[number] = asyncio.Queue()
        try:
            said = f"{ASKED} {number} {self._me} {group}"
            await self._database.fetch(_TELL, self._channel, said, sure=False)
            with suppress(TimeoutError):
                async with asyncio.timeout(_ANSWERS):
                    for _ in range(processes):
                        found.update(await answers.get())
        finally:
            del self._open[number]
        return found

    def told(self, notice: str) -> None:
        """Somebody asks."""
        _, number, who, group = notice.split(" ", 3)
        counts = self._feeds.prefetched(group)
        if who != self._me and counts is not None and not self._link.is_closed:
            self._link.spawn(self._answer(who, f"{number} {json.dumps(counts)}"))

    async def _answer(self, who: str, said: str) -> None:
        with suppress(BusError):
            await self._database.fetch(_TELL, who, said, sure=False)

    def _answered(self, notice: str) -> None:
        number, _, counts = notice.partition(" ")
        if (answers := self._open.get(int(number))) is not None:
            answers.put_nowait(json.loads(counts))

    def _missed(self) -> None:
        """An answer that was not heard is not waited for long."""

    def close(self) -> None:
        """Hear no more answers."""
        self._ear.leave(self._listener)
