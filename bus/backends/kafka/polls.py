"""Waiting for records: a question to Kafka that is answered as soon as there are some.

Each has a connection of its own, for a broker answers the requests of one in their order.
"""

import asyncio
import logging
from collections.abc import Mapping
from itertools import count

from bus.backends.kafka import log
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.groups import Group
from bus.backends.kafka.link import KafkaLink, Use
from bus.backends.kafka.shelf import Shelf
from bus.errors import BusError
from contracts.clock import Clock

_LONGEST = 10.0
"""Seconds that a broker keeps a question at most."""

_PAUSE = 0.5
"""Seconds after a failure: who waits shall not try again and again."""

_log = logging.getLogger(__name__)


class Polls:
    """Questions for one group. No partition is in two of them."""

    def __init__(
        self,
        link: KafkaLink,
        bells: Bells,
        group: Group,
        shelf: Shelf,
        *,
        wait: float,
        clock: Clock,
    ) -> None:
        self._link = link
        self._bells = bells
        self._group = group
        self._shelf = shelf
        self._wait = min(wait, _LONGEST)
        self._clock = clock
        self._asked: dict[int, tuple[Mapping[int, int], asyncio.Task[None]]] = {}

    async def ask(self, places: Mapping[int, int]) -> None:
        """Let what comes at these places be put on the shelf. A bell rings then, and when it was
        waited for in vain. What is asked already goes on as it is."""
        self._asked = {n: asked for n, asked in self._asked.items() if not asked[1].done()}
        asked = {part for parts, _ in self._asked.values() for part in parts}
        rest = {part: place for part, place in places.items() if part not in asked}
        if not rest:
            return
        leaders = await self._link.leaders(self._group.topic, "waiting for records", rest)
        for parts in log.by_leader(leaders, rest).values():
            number = next(n for n in count() if n not in self._asked)
            share = {part: rest[part] for part in parts}
            self._asked[number] = share, asyncio.create_task(self._ask(number, share))

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for _, task in self._asked.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _ask(self, number: int, places: Mapping[int, int]) -> None:
        use = Use(f"wait {self._group.gid} {number}", self._wait)
        try:
            found = await log.fetch(self._link, self._group.topic, places, use=use)
            self._shelf.put(places, found)
        except BusError as error:
            _log.debug("waiting for records: %s", error)
            await self._clock.sleep(_PAUSE)
        self._bells.ring(self._group.gid)
