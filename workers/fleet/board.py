"""What a supervisor sees of the others: machines, seats and wishes, followed in the store."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.protocol import Change, Entry, KeyValue, Snapshot, Written
from contracts.clock import Clock
from workers.fleet import orders
from workers.fleet.demand import Wishes
from workers.fleet.machine import Machine, decode

T = TypeVar("T")

_AGAIN = 0.5
"""Seconds after which a watch that failed is tried again."""

_PREFIXES = (keys.machine(), keys.seats(), keys.SCALE)


class Board:
    """The entries of three families as they were a moment ago. `changed` is set at every change.

    A view only: whoever writes compares and sets, and whoever takes away looks into the store.
    """

    def __init__(self, store: KeyValue, clock: Clock) -> None:
        self.changed = asyncio.Event()
        self._store = store
        self._clock = clock
        self._known: dict[str, dict[str, Entry]] = {}
        self._seen: set[str] = set()
        self._complete = asyncio.Event()

    async def follow(self) -> None:
        """Follow until cancelled; a store that is away is tried again."""
        async with asyncio.TaskGroup() as group:
            for prefix in _PREFIXES:
                group.create_task(self._follow(prefix))

    async def complete(self) -> None:
        """Return when every family has been seen once."""
        await self._complete.wait()

    def machines(self) -> list[Machine]:
        """The machines that live, the first one to come first."""
        found = [decode(entry.value) for entry in self._entries(keys.machine())]
        return sorted(filter(None, found), key=lambda machine: (machine.since, machine.name))

    def seats(self) -> dict[tuple[str, int], Entry]:
        """Who holds what, by role and number."""
        found: dict[tuple[str, int], Entry] = {}
        for entry in self._entries(keys.seats()):
            role, _, number = entry.key.removeprefix(keys.seats()).rpartition("/")
            if role and number.isdigit():
                found[role, int(number)] = entry
        return found

    def wishes(self) -> Wishes:
        """What people and the work want."""
        return Wishes(
            self._decoded(keys.wanted(), orders.order), self._decoded(keys.auto(), orders.auto)
        )

    def scaler(self) -> Entry | None:
        """Who follows the work."""
        return next(iter(self._entries(keys.SCALER)), None)

    def put(self, entry: Entry) -> None:
        """What we have written ourselves is known before the store tells."""
        for prefix in _PREFIXES:
            if entry.key.startswith(prefix):
                known = self._known.setdefault(prefix, {})
                if entry.key not in known or known[entry.key].revision <= entry.revision:
                    known[entry.key] = entry

    def drop(self, key: str) -> None:
        """What we have deleted ourselves is gone before the store tells."""
        for known in self._known.values():
            known.pop(key, None)

    def _entries(self, prefix: str) -> list[Entry]:
        family = prefix[: prefix.index("/") + 1]
        return [e for e in self._known.get(family, {}).values() if e.key.startswith(prefix)]

    def _decoded(self, prefix: str, read: Callable[[bytes], T | None]) -> dict[str, T]:
        found = {e.key.removeprefix(prefix): read(e.value) for e in self._entries(prefix)}
        return {name: value for name, value in found.items() if value is not None}

    async def _follow(self, prefix: str) -> None:
        while True:
            with suppress(BusError):
                async for change in self._store.watch(prefix):
                    self._note(prefix, change)
                    self.changed.set()
            await self._clock.sleep(_AGAIN)

    def _note(self, prefix: str, change: Change) -> None:
        known = self._known.setdefault(prefix, {})
        if isinstance(change, Snapshot):
            self._known[prefix] = {entry.key: entry for entry in change.entries}
            self._seen.add(prefix)
            if len(self._seen) == len(_PREFIXES):
                self._complete.set()
        elif isinstance(change, Written):
            self.put(change.entry)
        else:
            known.pop(change.key, None)
