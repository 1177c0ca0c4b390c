"""Who waits is told of rows that can be taken: by a notice of the database.

A notice names the group. Of what is to be told at one moment, one statement tells all; another one
counts, now and then, the bytes that wait in the log. Nobody waits for either: what a process that
dies does not tell is found by who looks once in a lease.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress

from bus.backends.kafka import statements
from bus.database.database import BusDatabase
from bus.database.ear import Ear, Listener
from bus.errors import BusError
from bus.waking import Bell, new_bell, ring

_COUNTED = 0.1
"""Seconds until bytes are counted; those of many calls at once."""

_ALL = -1
"""Stands for every group."""

_LAST_WORDS = 0.5
"""Seconds in which the last notices have to be out when the backend is closed."""


class Bells:
    """The bells of this process by group, and what it has to tell others."""

    def __init__(self, database: BusDatabase, ear: Ear) -> None:
        self._database = database
        self._ear = ear
        self.channel = f"muster_kafka_{database.fleet}"
        self._listener = Listener(self.channel, self._told, self.ring_all, self.ring_all)
        self._bells: dict[int, Bell] = {}
        self._rows: Counter[int] = Counter()
        self._taken: dict[int, dict[int, int]] = {}
        self._stirred: set[int] = set()
        self._untold: set[int] = set()
        self._complaints: Counter[int] = Counter()
        self._bytes: Counter[tuple[int, int]] = Counter()
        self._telling: asyncio.Task[None] | None = None
        self._counting: asyncio.Task[None] | None = None
        self._one = asyncio.Lock()
        self._listening = False
        self.closed = False

    async def open(self) -> None:
        """Hear what is told. Raises `Unreachable`."""
        if not self._listening:
            await self._ear.listen(self._listener)
            self._listening = True

    def bell(self, gid: int) -> Bell:
        """What rings when something may have come for the group."""
        bell = self._bells.get(gid)
        if bell is None or bell.done():
            bell = self._bells[gid] = new_bell()
        return bell

    def rows(self, gid: int) -> int:
        """Another number whenever something may have changed that is no record."""
        return self._rows[gid] + self._rows[_ALL]

    def taken(self, gid: int) -> Mapping[int, int]:
        """Up to where partitions of the group are known to be handed over."""
        return self._taken.get(gid, {})

    def complaints(self, gid: int) -> int:
        """How often somebody has missed being told of what was taken."""
        return self._complaints[gid]

    def ring(self, gid: int) -> None:
        """Let those who wait for this group here look."""
        bell = self._bells.pop(gid, None)
        if bell is not None:
            ring(bell)

    def ring_all(self) -> None:
        """Let every waiting pull look again."""
        self._rows[_ALL] += 1
        bells, self._bells = self._bells, {}
        for bell in bells.values():
            ring(bell)

    def tell_rows(self, gids: Iterable[int]) -> None:
        """Rows of these groups can be taken, or fall due earlier than was known."""
        self._stirred.update(gids)
        self._tell()

    def complain(self, gid: int) -> None:
        """Somebody has taken records of this group and told nobody."""
        self._untold.add(gid)
        self._tell()

    def count(self, gid: int, part: int, size: int) -> None:
        """So many bytes more wait in a partition."""
        self._bytes[gid, part] += size
        if self._counting is None or self._counting.done():
            self._counting = asyncio.create_task(self._count_soon())

    async def counted(self) -> None:
        """Return when the bytes of which was told so far are counted, if they can be."""
        async with self._one:
            counted, self._bytes = self._bytes, Counter()
            rows = sorted((*place, size) for place, size in counted.items())
            try:
                if rows:
                    columns = zip(*rows, strict=True)
                    await self._database.fetch(statements.COUNT, *columns, sure=False)
            except BusError:
                self._bytes.update(counted)

    async def close(self) -> None:
        """Say what is still to be said, and hear nothing more."""
        self.closed = True
        self.ring_all()
        self._ear.leave(self._listener)
        if self._counting is not None:
            self._counting.cancel()
        last = asyncio.create_task(self._say_all())
        await asyncio.wait([last], timeout=_LAST_WORDS)
        tasks = [task for task in (last, self._counting, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    def _tell(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._stirred or self._untold:
            news = [f"{gid}:" for gid in self._stirred] + [f"{gid}:!" for gid in self._untold]
            self._stirred, self._untold = set(), set()
            with suppress(BusError):  # who waits looks by itself after a while
                await self._database.fetch(statements.RING, self.channel, news, sure=False)

    async def _count_soon(self) -> None:
        while self._bytes:
            await asyncio.sleep(_COUNTED)
            await self.counted()

    async def _say_all(self) -> None:
        await self.counted()
        if self._telling is not None:
            await asyncio.wait([self._telling])

    def _told(self, news: str) -> None:
        name, _, places = news.partition(":")
        gid = int(name)
        if places == "!":
            self._complaints[gid] += 1
            return
        if not places:
            self._rows[gid] += 1
        taken = self._taken.setdefault(gid, {})
        for place in filter(None, places.split(",")):
            part, _, next_ = place.partition("=")
            taken[int(part)] = max(int(next_), taken.get(int(part), 0))
        self.ring(gid)
