"""The seats that one machine holds, and what it does to them in the store.

A seat is one process's place among those of its role: an entry with the name of its machine,
written by compare-and-set, so that none is held twice. It has no time to live. That its holder
lives is one entry per machine; the seats of a machine whose entry has gone are free.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from bus.errors import Conflict
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, Entry, KeyValue, Revision
from workers.fleet.board import Board
from workers.fleet.seat import Seat, State

_log = structlog.get_logger("muster.crew")

Place = tuple[str, int]
"""A role and the number of a seat."""


@dataclass(frozen=True, slots=True)
class Held:
    """A seat of ours, and who keeps its process."""

    keeper: Seat
    revision: Revision


class Seats:
    """The seats of the machine `name`. Methods raise what the store raises, and may be repeated."""

    def __init__(self, store: KeyValue, board: Board, name: str) -> None:
        self._store = store
        self._board = board
        self._name = name
        self._held: dict[Place, Held] = {}

    def held(self) -> Mapping[Place, Held]:
        """All that are ours, as they are now."""
        return dict(self._held)

    def of(self, role: str) -> list[int]:
        """Our seats of a role, those to give up first at the end: whose process does not work,
        then whose is youngest."""

        def worth(number: int) -> tuple[bool, float]:
            info = self._held[role, number].keeper.info
            return info.state is not State.READY, info.since

        return sorted((number for name, number in self._held if name == role), key=worth)

    def numbers(self) -> dict[int, int]:
        """The number of the seat of each keeper of a process, by its `id`. One that drains has
        none."""
        return {id(held.keeper): number for (_, number), held in self._held.items()}

    async def take(self, place: Place, start: Callable[[], Seat]) -> None:
        """Take a free seat, then `start` its process. Somebody who was quicker is no error."""
        revision = await self._write(place)
        if revision is not None:
            self._held[place] = Held(start(), revision)

    async def give(self, place: Place) -> None:
        """Let the process drain. It pulls nothing from now on, so that the seat is free."""
        held = self.drain(place)
        if held is not None:
            await self._delete(keys.seat(*place), held.revision)

    def drain(self, place: Place) -> Held | None:
        """Let the process drain whose seat is no longer ours; None if it was not."""
        held = self._held.pop(place, None)
        if held is not None:
            held.keeper.stop()
        return held

    async def move(self, role: str, old: int, new: int) -> None:
        """Keep a process in another seat of its role."""
        revision = await self._write((role, new))
        held = self._held.pop((role, old), None) if revision is not None else None
        if revision is not None and held is not None:
            self._held[role, new] = Held(held.keeper, revision)
            await self._delete(keys.seat(role, old), held.revision)

    async def check(self) -> None:
        """A seat that somebody else has taken, because we were not heard, is theirs."""
        seats = self._board.seats()
        for place, held in self.held().items():
            entry = seats.get(place)
            if entry is not None and entry.revision == held.revision:
                continue
            found = await self._store.get(keys.seat(*place))
            if found is not None and found.revision == held.revision:
                self._board.put(found)
            elif self._held.get(place) is held:
                _log.warning("a seat was lost: its worker drains", role=place[0], seat=place[1])
                self.drain(place)

    async def forget(self, entries: Iterable[tuple[Place, Entry]]) -> None:
        """Delete seats that bear our name and are not ours, as after an answer that never came,
        and those of the dead."""
        for place, entry in entries:
            holder = entry.value.decode(errors="replace")
            ours = holder == self._name
            if place not in self._held if ours else not await self._lives(holder):
                await self._delete(entry.key, entry.revision)

    async def leave(self) -> None:
        """Give up every seat, whatever its process does."""
        left, self._held = self._held, {}
        gone = [self._delete(keys.seat(*place), held.revision) for place, held in left.items()]
        await asyncio.gather(*gone)

    async def _write(self, place: Place) -> Revision | None:
        """Put our name to a seat that is free, or whose holder is dead; None if it is not."""
        key, entry = keys.seat(*place), self._board.seats().get(place)
        if entry is not None and await self._lives(entry.value.decode(errors="replace")):
            return None
        value = self._name.encode()
        try:
            expect = ABSENT if entry is None else entry.revision
            revision = await self._store.put(key, value, expect=expect)
        except Conflict:
            return None
        self._board.put(Entry(key, value, revision))
        return revision

    async def _lives(self, name: str) -> bool:
        """Whether a machine lives, by the store itself: what we see may be a moment old."""
        return name == self._name or await self._store.get(keys.machine(name)) is not None

    async def _delete(self, key: str, revision: Revision) -> None:
        if await self._store.delete(key, expect=revision):
            self._board.drop(key)
