"""Watching entries of the bus database: a snapshot, then what notices tell.

Whoever watches an entry that expires asks the database at its time to remove what is late, which
is told to all who watch. Nothing is asked while nothing expires and nobody needs to know how
current that is.
"""

import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from math import inf

from bus.backoff import Backoff
from bus.database.database import BusDatabase
from bus.database.ear import Ear, Listener
from bus.errors import Closed, Unreachable
from bus.keyvalue.postgres_statements import ALL, EXPIRE, GET, Notice, bounds, channel_of, notice_of
from bus.keyvalue.protocol import Change, Current, Entry, Removed, Snapshot, Wish, Written
from bus.waking import new_bell, ring, rung
from contracts.clock import Clock

_AGAIN = Backoff(base=0.05, cap=1.0)
_LATER = 0.5
"""Seconds after which an expiry that nobody has told of yet is asked for again."""

_SLACK = 0.005
"""Seconds more than a life: it was counted by another clock."""


class _Broken(Exception):
    """Something may have been missed; begin again with a snapshot."""


class Watching:
    """All watches of one store."""

    def __init__(self, database: BusDatabase, ear: Ear, clock: Clock) -> None:
        self.database = database
        self.ear = ear
        self.clock = clock
        self.closed = False
        self._feeds: set[_Feed] = set()

    def close(self) -> None:
        """End every watch with `Closed`."""
        self.closed = True
        for feed in self._feeds:
            feed.wake()

    async def follow(
        self, prefix: str, every: float = inf, wish: Wish | None = None
    ) -> AsyncGenerator[Change | Current]:
        """Changes under `prefix`, and how current they are, unless `every` is infinite."""
        tries, rng = 0, random.Random()
        while True:
            feed = _Feed(self, prefix, every, wish)
            self._feeds.add(feed)
            try:
                async for change in feed.changes():
                    tries = 0
                    yield change
            except (_Broken, Unreachable):
                await self.clock.sleep(_AGAIN.delay(tries, rng))
                tries += 1
            finally:
                self._feeds.discard(feed)
                feed.leave()


class _Feed:
    """What one watch has not been told yet, between two losses of the connection."""

    def __init__(self, home: Watching, prefix: str, every: float, wish: Wish | None) -> None:
        self._home = home
        self._prefix = prefix
        self._every = every
        self._wish = wish
        self._due = inf
        self._notices: deque[Notice] = deque()
        self._known: dict[str, int] = {}
        self._ends: dict[str, float] = {}
        self._lost = False
        self._bell = new_bell()
        channel = channel_of(home.database.fleet)
        self._listener = Listener(channel, self._told, self._fall, _nothing)
        if wish is not None:
            wish.heard = self.wake

    def wake(self) -> None:
        """Let the watch look again."""
        ring(self._bell)

    def leave(self) -> None:
        """Hear no more."""
        self._home.ear.leave(self._listener)

    async def changes(self) -> AsyncIterator[Change | Current]:
        """A snapshot, then changes; raises `_Broken` when something may have been missed."""
        clock = self._home.clock
        current = Current(clock.monotonic(), clock.wall())
        await self._home.ear.listen(self._listener)
        yield await self._snapshot()
        if self._every < inf:
            yield current
        self._due = current.monotonic + self._every
        while True:
            async for change in self._news():
                yield change
            if clock.monotonic() >= self._asks_at():
                current = Current(clock.monotonic(), clock.wall())
                await self._home.ear.ask()
                async for change in self._news():
                    yield change
                yield current
                self._due = current.monotonic + self._every
            await self._expire()
            self._bell = new_bell()
            if not self._notices and not self._lost and not self._home.closed:
                ends = min(self._ends.values(), default=inf)
                end = min(self._asks_at(), ends, clock.monotonic() + 3600.0)
                await rung(self._bell, clock, end - clock.monotonic())

    def _asks_at(self) -> float:
        """When to ask how current this is, as far as is known now: never, while nobody needs it."""
        return self._due if self._wish is None or self._wish.open else inf

    async def _snapshot(self) -> Snapshot:
        """What there is; notices of what it holds already are passed over later."""
        database = self._home.database
        rows = await database.fetch(ALL, database.fleet, *bounds(self._prefix))
        now = self._home.clock.monotonic()
        for key, _, revision, left in rows:
            self._known[key] = revision
            if left is not None:
                self._ends[key] = now + left + _SLACK
        return Snapshot(tuple(Entry(key, value, revision) for key, value, revision, _ in rows))

    async def _news(self) -> AsyncIterator[Change]:
        while True:
            if self._home.closed or self._home.database.closed:
                raise Closed("the key-value store was closed", actions=("connect again",))
            if self._lost:
                raise _Broken
            if not self._notices:
                return
            change = await self._apply(self._notices.popleft())
            if change is not None:
                yield change

    async def _apply(self, notice: Notice) -> Change | None:
        """What a notice changes in what was told; None if it is known, or out of date."""
        key, known = notice.key, self._known.get(notice.key)
        if notice.what in {"del", "exp"}:
            if known != notice.revision:
                return None
            del self._known[key]
            self._ends.pop(key, None)
            return Removed(key, notice.what == "exp")
        if known is not None and known >= notice.revision:
            return None
        entry = Entry(key, notice.value, notice.revision) if notice.value is not None else None
        if entry is None:
            entry = await self._read(notice)
        if entry is None:
            return None
        self._known[key] = entry.revision
        self._ends.pop(key, None)
        if notice.left is not None:
            self._ends[key] = self._home.clock.monotonic() + notice.left + _SLACK
        return Written(entry)

    async def _read(self, notice: Notice) -> Entry | None:
        """The entry of a long value as it is now. One that has gone meanwhile is taken for what
        the notice said, so that its end is told."""
        database = self._home.database
        rows = await database.fetch(GET, database.fleet, notice.key)
        if rows:
            return Entry(*rows[0])
        if notice.key in self._known:
            self._known[notice.key] = notice.revision
        return None

    async def _expire(self) -> None:
        """Have removed what is over by now."""
        now = self._home.clock.monotonic()
        late = [key for key, end in self._ends.items() if end <= now]
        if late:
            await self._home.database.fetchval(EXPIRE, self._home.database.fleet)
            for key in late:
                self._ends[key] = now + _LATER

    def _told(self, payload: str) -> None:
        notice = notice_of(payload)
        if notice.key.startswith(self._prefix):
            self._notices.append(notice)
            self.wake()

    def _fall(self) -> None:
        self._lost = True
        with suppress(RuntimeError):  # the loop is gone
            self.wake()


def _nothing() -> None:
    """Whoever fell begins anew by itself."""
