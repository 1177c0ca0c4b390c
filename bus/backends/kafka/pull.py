"""Pulling: see where hand-overs stand, read the log if there is more, then take and claim at once.

Two questions to the database and one to Kafka at most; of members with the same records one moves
the partition on, the others look again. Who finds nothing sleeps until a bell rings, a row falls
due, or a lease is over: then the log is looked at though nobody rang.
"""

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bus.backend import Delivery, Lane, Turn
from bus.backends.kafka import log, statements
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.choosing import Waiting, choose
from bus.backends.kafka.claim import Claims
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import CODES, parts_for
from bus.backends.kafka.shelf import Shelf
from bus.database.database import BusDatabase
from bus.turns import named, turns_of
from bus.waking import rung
from contracts.clock import Clock

_AGAIN = 0.005
"""Seconds until what another took from under us is looked for again."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a group stands: the version of the bindings, the next offset of each partition, rows
    that can be taken by lane code and slice, and seconds until more can be."""

    version: int
    next: Mapping[int, int]
    due: Mapping[tuple[int, int], int]
    look: float


class Puller:
    """Pulls of one group by one process; they may run beside each other."""

    def __init__(
        self,
        link: KafkaLink,
        database: BusDatabase,
        groups: Groups,
        bells: Bells,
        claims: Claims,
        *,
        lease: float,
        slices: int,
        clock: Clock,
    ) -> None:
        self._link = link
        self._database = database
        self._groups = groups
        self._bells = bells
        self._claims = claims
        self._lease = lease
        self._slices = slices
        self._clock = clock
        self._gid = -1
        self._shelf = Shelf()
        self._looked = -lease
        self._doubts = -1
        self._luck = random.Random()

    async def pull(
        self, name: str, wanted: Sequence[Lane | Turn], limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        turns, lanes = turns_of(wanted, limit), named(wanted)
        end = self._clock.monotonic() + wait
        eager = wait <= 0
        while True:
            await self._link.ready("pulling")
            group = await self._groups.bound(name)
            bell = self._bells.bell(group.gid)
            state = await self._state(group, lanes, limit)
            if (await self._groups.at(state.version)).groups.get(name) != group:
                continue
            found, look = await self._take(group, state, turns, limit, eager=eager)
            left = end - self._clock.monotonic()
            if found or left <= 0 or self._bells.closed:
                return found
            await rung(bell, self._clock, min(left, look))

    async def _state(self, group: Group, lanes: Sequence[Lane], limit: int) -> State:
        places = [
            (CODES[lane.name], slice_)
            for lane in lanes
            for slice_ in group.rows_of(lane, self._slices)
        ]
        codes, slices = [*zip(*places, strict=True)] or [(), ()]
        rows = await self._database.fetch(
            statements.STATE,
            self._database.fleet,
            group.gid,
            codes,
            slices,
            limit,
            self._lease,
            sure=False,
        )
        version = next(row["n"] for row in rows if row["kind"] == 0)
        late = [row["late"] for row in rows if row["late"] is not None]
        return State(
            version,
            {row["a"]: row["n"] for row in rows if row["kind"] == 1},
            {(row["a"], row["b"]): row["n"] for row in rows if row["kind"] == 2},
            max(_AGAIN, min(late, default=self._lease)),
        )

    async def _take(
        self, group: Group, state: State, turns: Sequence[Turn], limit: int, *, eager: bool
    ) -> tuple[list[Delivery], float]:
        """What can be had now; if nothing, when to look again though nobody rings."""
        if group.gid != self._gid:
            self._gid, self._shelf, self._looked = group.gid, Shelf(), -self._lease
        lanes = dict.fromkeys(lane for turn in turns for lane in turn.lanes)
        parts = [p for lane in lanes for p in parts_for(lane, group.slots, self._slices)]
        await self._read(group, state, [p for p in parts if p in state.next], eager=eager)
        waiting = {lane: self._waiting(group, state, lane) for lane in lanes}
        chosen = choose(turns, limit, waiting)
        if not chosen:
            return [], min(state.look, self._lease)
        owner = secrets.randbits(62)
        return await self._claims.claim(group, owner, state.next, chosen), _AGAIN

    def _waiting(self, group: Group, state: State, lane: Lane) -> Waiting:
        rows = {
            slice_: state.due.get((CODES[lane.name], slice_), 0)
            for slice_ in group.rows_of(lane, self._slices)
        }
        parts = [part for part in parts_for(lane, group.slots, self._slices) if part in state.next]
        self._luck.shuffle(parts)  # members that pull at once shall not all want the same
        return Waiting(rows, {part: self._shelf.waiting(part, state.next[part]) for part in parts})

    async def _read(self, group: Group, state: State, parts: Sequence[int], *, eager: bool) -> None:
        """Read where more is known to be; everywhere if that may have been missed."""
        ends = self._bells.ends(group.gid)
        places = {p: self._shelf.missing(p, state.next[p], ends) for p in parts}
        asked = {part: place for part, place in places.items() if place is not None}
        if self._doubtful() or (eager and not any(state.due.values())):
            asked = {p: self._shelf.place(p, state.next[p]) for p in state.next if p in parts}
            asked = {p: at for p, at in asked.items() if not self._shelf.waiting(p, state.next[p])}
            self._looked, self._doubts = self._clock.monotonic(), self._bells.doubts
        if asked:
            self._shelf.put(asked, await log.fetch(self._link, group.topic, asked))

    def _doubtful(self) -> bool:
        now = self._clock.monotonic()
        return self._doubts != self._bells.doubts or now - self._looked >= self._lease
