"""Rows and claims of a fleet's groups in the bus database. One statement per call."""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bus.backend import Lane, LaneName, Message
from bus.database.database import BusDatabase
from bus.parking.bindings import Binding, channel_of
from bus.parking.heads import head_of, message_of, resting_lane
from bus.parking.statements import (
    BACK,
    CLAIM,
    COUNT,
    DONE,
    DROP,
    FORGET,
    HOLD,
    LOOK,
    LOST,
    NEWEST,
    ORPHANS,
    RENEW,
    ROOM,
    SETTLE,
    STALE,
    TAKE,
    TURN,
    UNTAKE,
)
from bus.unbound import not_bound

WINDOW = 120.0
"""Seconds in which publishing a dedupe key again is the same message (promise 4)."""

_PART = 10_000
"""Claims that one statement lets go of: a tenth of a second's work."""

Place = tuple[str, int]
"""The name of a lane and a slice that tenants are spread over."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What was handed out: the `handed`th time, to `owner`, of a key of the group `gid`."""

    gid: int
    key: str
    owner: int
    handed: int

    @property
    def name(self) -> tuple[int, str]:
        """Whose row this is."""
        return self.gid, self.key


@dataclass(frozen=True, slots=True)
class Transmission:
    """A message as a broker handed it out. `nonce` differs from that of every other publish of
    the same key; `sent`: the epoch second of that publish."""

    key: str
    nonce: int
    lane: Lane
    sent: float


def new_owner() -> int:
    """A number that nobody else has drawn."""
    return secrets.randbits(62) + 1


def rows_of(message: Message, targets: Iterable[Binding]) -> list[tuple[int, Message]]:
    """A message as rows, one for each group it is for."""
    return [(each.gid, replace(message, group=each.group)) for each in targets]


class Parking:
    """Of one fleet. `lease`: seconds, counted by the database's clock."""

    def __init__(self, database: BusDatabase, lease: float) -> None:
        self._database = database
        self.lease = lease
        self._channel = channel_of(database.fleet)

    async def settle(
        self, marks: Sequence[Mark], rows: Sequence[tuple[int, Message]], *, sure: bool = True
    ) -> set[tuple[int, str]]:
        """Forget `marks` and keep `rows`, neither without the other; the names of those that were
        still ours. With marks of which none is, nothing is kept. Given no marks, it publishes.
        A key that is known is not kept again. Raises `Unroutable` for a group that was unbound."""
        if not rows:
            found = await self._database.fetch(DONE, *_marks(marks), sure=sure)
            return {(row["gid"], row["key"]) for row in found}
        told = (_marks(marks), _rows(rows))
        wanted = sorted({gid for gid, _ in rows})
        found = await self._database.fetch(SETTLE, *told[0], *told[1], wanted, self._channel)
        if any(row["what"] == "unbound" for row in found):
            raise not_bound(rows[0][1].group or "", ())
        return {(row["gid"], row["key"]) for row in found if row["what"] == "mine"}

    async def claim(self, gid: int, seen: Sequence[Transmission]) -> dict[str, int]:
        """How often each key has been handed out now; those whose first transmission was another,
        and those that are settled, are missing. `seen` has no key twice."""
        ordered = sorted(seen, key=lambda each: each.key)
        columns = (
            [each.key for each in ordered],
            [each.nonce for each in ordered],
            [each.lane.name.value for each in ordered],
            [each.lane.slice for each in ordered],
            [each.sent for each in ordered],
        )
        rows = await self._database.fetch(CLAIM, gid, *columns, sure=False)
        return {row["key"]: row["handed"] for row in rows}

    async def look(
        self, gid: int, places: Sequence[Place], most: int
    ) -> tuple[dict[Place, int], float | None]:
        """How many rows may be taken now in each place, counted up to `most`, and the seconds
        until there are more; None if there is nothing to wait for."""
        lanes, slices = [place[0] for place in places], [place[1] for place in places]
        rows = await self._database.fetch(LOOK, gid, lanes, slices, most, sure=False)
        later = [row["next"] for row in rows if row["next"] is not None]
        ready = {(row["lane"], row["slice"]): row["ready"] for row in rows if row["ready"]}
        return ready, min(later, default=None)

    async def take(
        self, gid: int, wanted: Mapping[Place, int], owner: int
    ) -> list[tuple[Mark, Message, Lane]]:
        """So many rows of each place, those due first, each `owner`'s for a lease; may be fewer."""
        columns = ([p[0] for p in wanted], [p[1] for p in wanted], [*wanted.values()])
        rows = await self._database.fetch(TAKE, gid, *columns, self.lease, owner, sure=False)
        return [
            (
                Mark(gid, row["key"], owner, row["handed"]),
                replace(message_of(row["head"], row["body"]), lane=lane),
                lane,
            )
            for row in rows
            for lane in [Lane(LaneName(row["lane"]), row["slice"])]
        ]

    async def untake(self, gid: int, owner: int) -> None:
        """What `owner` may have taken was seen by nobody: see `back`."""
        await self._database.fetch(UNTAKE, gid, owner, self._channel, sure=False)

    async def renew(self, marks: Sequence[Mark]) -> set[tuple[int, str]]:
        """Give rows a new lease from now; the names of those that were ours."""
        found = await self._database.fetch(RENEW, *_marks(marks), self.lease, sure=False)
        return {(row["gid"], row["key"]) for row in found}

    async def hold(self, held: Sequence[tuple[Mark, Message]]) -> set[tuple[int, str]]:
        """Make claims rows under a lease, whatever becomes of the broker's own copy; the names of
        those that were ours."""
        ordered = sorted(held, key=lambda each: each[0].name)
        more = [head_of(message) for _, message in ordered], [m.body for _, m in ordered]
        found = await self._database.fetch(
            HOLD, *_marks([mark for mark, _ in ordered]), self.lease, *more
        )
        return {(row["gid"], row["key"]) for row in found}

    async def back(self, marks: Sequence[Mark]) -> None:
        """Nobody saw these: they do not count as handed out, and rows may be taken at once."""
        await self._database.fetch(BACK, *_marks(marks), self._channel, self.lease, sure=False)

    async def lost(self, marks: Sequence[Mark]) -> None:
        """These claims are at the broker again: nobody holds them."""
        await self._database.fetch(LOST, *_marks(marks), self.lease, sure=False)

    async def count(self, gid: int, *, claims: float = 0.0) -> dict[Place, tuple[int, int, int]]:
        """What may be taken, is delayed, and is held, by place; places with none of them are
        missing. Rows, and of claims those that were handed out less than `claims` seconds ago."""
        found: dict[Place, tuple[int, int, int]] = {}
        for lane, slice_, *counts in await self._database.fetch(COUNT, gid, claims, sure=False):
            before = found.get((lane, slice_), (0, 0, 0))
            waiting, delayed, leased = (a + b for a, b in zip(before, counts, strict=True))
            found[lane, slice_] = waiting, delayed, leased
        return found

    async def room(self, count: int, size: int, limit: int | None) -> tuple[int, int, int | None]:
        """Note that so many messages of so many bytes were sent, and what may be filled if that is
        to change. How many were sent lately, their bytes, and what may be filled."""
        fleet = self._database.fleet
        (row,) = await self._database.fetch(ROOM, fleet, count, size, limit, sure=False)
        return row["sent_count"], row["sent_bytes"], row["max_bytes"]

    async def newest(self, gid: int) -> dict[Place, float]:
        """When what was last published of all that was handed out in each place was published."""
        rows = await self._database.fetch(NEWEST, gid, sure=False)
        return {(row[0], row[1]): row[2] for row in rows}

    async def my_turn(self, every: float) -> bool:
        """Whether this process is to let go of claims now: one of all is, each `every` seconds."""
        fleet = self._database.fleet
        return bool(await self._database.fetchval(TURN, fleet, every, sure=False))

    async def forget(self, gid: int, upto: float, *, idle: Collection[str] = ()) -> None:
        """Let go of the claims that were done a window ago and published before `upto`, an epoch
        second before which everything that was published has been handed out; also of those that
        nobody can hold any more, in the lanes in whose queues nothing waits: `idle`. In parts, so
        that each ends in time however many there are."""
        last = upto - WINDOW
        while await self._database.fetchval(FORGET, gid, WINDOW, last, _PART, sure=False) == _PART:
            pass
        if idle:
            past = max(WINDOW, 6 * self.lease)
            await self._database.fetch(STALE, gid, [*idle], past, last, sure=False)

    async def sweep(self) -> None:
        """Remove what is left of groups that are bound no more."""
        for row in await self._database.fetch(ORPHANS, sure=False):
            while await self._database.fetchval(DROP, row["gid"], _PART, sure=False) == _PART:
                pass


def _marks(marks: Sequence[Mark]) -> tuple[list[Any], ...]:
    """Columns, in one order everywhere: so that no two statements wait for each other."""
    ordered = sorted(marks, key=lambda mark: mark.name)
    return (
        [mark.gid for mark in ordered],
        [mark.key for mark in ordered],
        [mark.owner for mark in ordered],
        [mark.handed for mark in ordered],
    )


def _rows(rows: Sequence[tuple[int, Message]]) -> tuple[list[Any], ...]:
    ordered = sorted(((gid, m.key(), m) for gid, m in rows), key=lambda each: each[:2])
    lanes = [resting_lane(m) for _, _, m in ordered]
    return (
        [gid for gid, _, _ in ordered],
        [key for _, key, _ in ordered],
        [lane.name.value for lane in lanes],
        [lane.slice for lane in lanes],
        [m.due for _, _, m in ordered],
        [head_of(m) for _, _, m in ordered],
        [m.body for _, _, m in ordered],
    )
