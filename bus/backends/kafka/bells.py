"""Who waits is told where something lies: by a notice of the database.

A notice names the group and, for records, up to where each partition is known to reach; without
any it is about rows. Of what is to be told at one moment, one statement tells all; it also counts
the bytes that wait in the log. Nobody waits for that: what a process that dies does not tell is
found by who looks once in a lease.
"""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress

from bus.backends.kafka import statements
from bus.database.database import BusDatabase
from bus.database.ear import Ear, Listener
from bus.errors import BusError
from bus.waking import Bell, new_bell, ring

_PARTS = 200
"""Partitions in one notice, which may have 8,000 bytes."""

_LAST_WORDS = 0.5
"""Seconds in which the last notices have to be out when the backend is closed."""


class Bells:
    """The bells of this process by group, and what it has to tell others."""

    def __init__(self, database: BusDatabase, ear: Ear) -> None:
        self._database = database
        self._ear = ear
        self._channel = f"muster_kafka_{database.fleet}"
        self._listener = Listener(self._channel, self._told, self.ring_all, self._back)
        self._bells: dict[int, Bell] = {}
        self._ends: dict[int, dict[int, int]] = {}
        self._pending: dict[int, dict[int, tuple[int, int]]] = {}
        self._telling: asyncio.Task[None] | None = None
        self._listening = False
        self.doubts = 0
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

    def ends(self, gid: int) -> Mapping[int, int]:
        """Up to where partitions of the group are known to reach; more may be there."""
        return self._ends.get(gid, {})

    def reaches(self, gid: int, ends: Mapping[int, int]) -> None:
        """Remember up to where partitions reach."""
        known = self._ends.setdefault(gid, {})
        for part, end in ends.items():
            known[part] = max(end, known.get(part, 0))

    def ring_all(self) -> None:
        """Let every waiting pull look again."""
        bells, self._bells = self._bells, {}
        for bell in bells.values():
            ring(bell)

    def tell_rows(self, gids: Iterable[int]) -> None:
        """Rows of these groups can be taken, or fall due earlier than was known."""
        for gid in gids:
            self._pending.setdefault(gid, {})
        self._tell()

    def tell_records(self, gid: int, part: int, end: int, size: int) -> None:
        """A partition reaches up to `end`, with `size` bytes more to read."""
        pending = self._pending.setdefault(gid, {})
        before = pending.get(part, (0, 0))
        pending[part] = (max(end, before[0]), size + before[1])
        self._tell()

    async def close(self) -> None:
        """Say what is still to be said, and hear nothing more."""
        self.closed = True
        self.ring_all()
        self._ear.leave(self._listener)
        if self._telling is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await asyncio.shield(self._telling)
            self._telling.cancel()
            await asyncio.wait([self._telling])

    def _tell(self) -> None:
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        while self._pending:
            pending, self._pending = self._pending, {}
            counted = [
                (gid, part, size)
                for gid, parts in pending.items()
                for part, (_, size) in parts.items()
            ]
            columns = list(zip(*sorted(counted), strict=True)) or [(), (), ()]
            news = [text for gid, parts in pending.items() for text in _notices(gid, parts)]
            with suppress(BusError):  # who waits looks by itself after a while
                await self._database.fetch(
                    statements.RING, self._channel, news, *columns, sure=False
                )

    def _told(self, news: str) -> None:
        gid, _, places = news.partition(":")
        ends = (place.partition("=") for place in places.split(",") if place)
        self.reaches(int(gid), {int(part): int(end) for part, _, end in ends})
        bell = self._bells.pop(int(gid), None)
        if bell is not None:
            ring(bell)

    def _back(self) -> None:
        """Something may have been told that was not heard."""
        self.doubts += 1
        self.ring_all()


def _notices(gid: int, parts: Mapping[int, tuple[int, int]]) -> list[str]:
    places = [f"{part}={end}" for part, (end, _) in sorted(parts.items())]
    chunks = [places[start : start + _PARTS] for start in range(0, len(places), _PARTS)]
    return [f"{gid}:{','.join(chunk)}" for chunk in chunks or [[]]]
