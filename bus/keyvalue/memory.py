"""A key-value store inside the process, with expiry by an injected clock.

`MemoryStore` stands for the server and its disk; each `MemoryKeyValue` is one connection.
"""

import asyncio
import heapq
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from math import ceil, inf
from threading import RLock

from bus.errors import Closed, Conflict, Unreachable
from bus.keyvalue.protocol import (
    ABSENT,
    Absent,
    Change,
    Current,
    Entry,
    Removed,
    Revision,
    Snapshot,
    Wish,
    Written,
)
from bus.sizes import check_value
from bus.waking import Bell, new_bell, ring, rung
from contracts.clock import Clock

_IDLE = 3600.0


class Watcher:
    """What one watch has not been told yet."""

    __slots__ = ("bell", "changes", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.changes: deque[Change] = deque()
        self.bell: Bell | None = None

    def tell(self, change: Change) -> None:
        """Add a change; a snapshot replaces what was not read yet."""
        if isinstance(change, Snapshot):
            self.changes.clear()
        self.changes.append(change)
        self.wake()

    def wake(self) -> None:
        """Let the watch look again."""
        if self.bell is not None:
            ring(self.bell)
            self.bell = None


class MemoryStore:
    """The entries, when they expire, and who watches. May be used from several threads."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._entries: dict[str, Entry] = {}
        self._keys: list[str] = []
        self._expiries: list[tuple[float, str, Revision]] = []
        self._watchers: dict[Watcher, None] = {}
        self._revision = 0
        self._lock = RLock()
        self._down = False

    def outage(self) -> None:
        """From now on every call raises `Unreachable`; watches hear nothing."""
        self._down = True

    def restore(self) -> None:
        """End the outage: each watch gets a snapshot."""
        with self._lock:
            self._down = False
            self._expire()
            for watcher in self._watchers:
                watcher.tell(self._snapshot(watcher.prefix))

    @property
    def down(self) -> bool:
        """Whether there is an outage."""
        return self._down

    def check(self) -> None:
        """Raise `Unreachable` during an outage."""
        if self._down:
            raise Unreachable("the key-value store did not answer")

    def get(self, key: str) -> Entry | None:
        """The entry unless it is absent or expired."""
        with self._lock:
            self._expire()
            return self._entries.get(key)

    def put(
        self, key: str, value: bytes, ttl: float | None, expect: Revision | Absent | None
    ) -> Revision:
        """Write if the entry is as expected, and tell the watches."""
        with self._lock:
            self._expire()
            self._compare(key, expect)
            self._revision += 1
            entry = Entry(key, bytes(value), self._revision)
            if key not in self._entries:
                insort(self._keys, key)
            self._entries[key] = entry
            if ttl is not None:
                until = self.clock.monotonic() + max(1, ceil(ttl))
                heapq.heappush(self._expiries, (until, key, entry.revision))
            self._tell(key, Written(entry))
            return entry.revision

    def delete(self, key: str, expect: Revision | None) -> bool:
        """Remove the entry if it is there and as expected, and tell the watches."""
        with self._lock:
            self._expire()
            entry = self._entries.get(key)
            if entry is None or expect not in {None, entry.revision}:
                return False
            self._remove(key, expired=False)
            return True

    def list(self, prefix: str, after: str | None, limit: int) -> list[Entry]:
        """Entries under `prefix` in order of their keys, those greater than `after`."""
        with self._lock:
            self._expire()
            start = bisect_left(self._keys, prefix)
            if after is not None:
                start = max(start, bisect_right(self._keys, after))
            found: list[Entry] = []
            while start < len(self._keys) and len(found) < limit:
                key = self._keys[start]
                if not key.startswith(prefix):
                    break
                found.append(self._entries[key])
                start += 1
            return found

    def watch(self, prefix: str) -> Watcher:
        """A watcher whose first change is a snapshot; give it back to `leave`."""
        with self._lock:
            self._expire()
            watcher = Watcher(prefix)
            watcher.tell(self._snapshot(prefix))
            self._watchers[watcher] = None
            return watcher

    def leave(self, watcher: Watcher) -> None:
        """The opposite of `watch`."""
        with self._lock:
            self._watchers.pop(watcher, None)

    def next_change(self, watcher: Watcher, bell: Bell) -> Change | float:
        """The next change, or the seconds after which to look again unless `bell` rings."""
        with self._lock:
            if not self._down:
                self._expire()
                if watcher.changes:
                    return watcher.changes.popleft()
            watcher.bell = bell
            if self._down or not self._expiries:
                return _IDLE
            return max(0.0, self._expiries[0][0] - self.clock.monotonic())

    def _expire(self) -> None:
        now = self.clock.monotonic()
        while self._expiries and self._expiries[0][0] <= now:
            _, key, revision = heapq.heappop(self._expiries)
            entry = self._entries.get(key)
            if entry is not None and entry.revision == revision:
                self._remove(key, expired=True)

    def _compare(self, key: str, expect: Revision | Absent | None) -> None:
        entry = self._entries.get(key)
        found = None if entry is None else entry.revision
        if expect is None or expect == found or (expect is ABSENT and found is None):
            return
        raise Conflict(
            f"the entry {key!r} is not what was expected",
            details=f"expected {'no entry' if expect is ABSENT else f'revision {expect}'}, "
            f"found {'none' if found is None else f'revision {found}'}",
        )

    def _remove(self, key: str, *, expired: bool) -> None:
        del self._entries[key]
        del self._keys[bisect_left(self._keys, key)]
        self._tell(key, Removed(key, expired))

    def _tell(self, key: str, change: Change) -> None:
        for watcher in self._watchers:
            if key.startswith(watcher.prefix):
                watcher.tell(change)

    def _snapshot(self, prefix: str) -> Snapshot:
        return Snapshot(tuple(self.list(prefix, None, len(self._keys))))


class MemoryKeyValue:
    """One connection to a `MemoryStore`; see `bus.keyvalue.protocol.KeyValue` for the promises."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._closed = False
        self._watchers: set[Watcher] = set()

    async def get(self, key: str) -> Entry | None:
        """See `KeyValue.get`."""
        await self._enter()
        return self._store.get(key)

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: Revision | Absent | None = None,
    ) -> Revision:
        """See `KeyValue.put`."""
        check_value(key, value)
        await self._enter()
        return self._store.put(key, value, ttl, expect)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """See `KeyValue.delete`."""
        await self._enter()
        return self._store.delete(key, expect)

    async def list(self, prefix: str, *, after: str | None = None, limit: int = 500) -> list[Entry]:
        """See `KeyValue.list`."""
        await self._enter()
        return self._store.list(prefix, after, limit)

    async def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See `KeyValue.watch`. An outage is silence, and a snapshot when it is over."""
        async with aclosing(self._follow(prefix, inf)) as changes:
            async for change in changes:
                if not isinstance(change, Current):
                    yield change

    def follow(
        self, prefix: str, *, every: float, wish: Wish | None = None
    ) -> AsyncIterator[Change | Current]:
        """See `KeyValue.follow`. It tells without a `wish`."""
        del wish
        return self._follow(prefix, every)

    async def close(self) -> None:
        """See `KeyValue.close`."""
        self._closed = True
        for watcher in self._watchers:
            watcher.wake()

    async def _follow(self, prefix: str, every: float) -> AsyncGenerator[Change | Current]:
        await self._enter()
        watcher = self._store.watch(prefix)
        self._watchers.add(watcher)
        due = -inf if every < inf else inf
        try:
            while True:
                change = await self._next(watcher, due)
                yield change
                if isinstance(change, Current):
                    due = change.monotonic + every
        finally:
            self._watchers.discard(watcher)
            self._store.leave(watcher)

    async def _next(self, watcher: Watcher, due: float) -> Change | Current:
        """The next change; or, from the moment `due` on, that there was none."""
        clock = self._store.clock
        while True:
            bell = new_bell()
            self._check_open()
            change = self._store.next_change(watcher, bell)
            if not isinstance(change, float):
                return change
            if not self._store.down:
                now = clock.monotonic()
                if due <= now:
                    return Current(now, clock.wall())
                change = min(change, due - now)
            await rung(bell, clock, change)

    async def _enter(self) -> None:
        """As at any server, others get a turn before a call has its effect."""
        self._check_open()
        self._store.check()
        await asyncio.sleep(0)
        self._check_open()
        self._store.check()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the connection to the in-memory key-value store is closed")
