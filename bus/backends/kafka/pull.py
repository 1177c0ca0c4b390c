"""Pulling: see where hand-overs stand, read the log if there is more, then take and claim at once.

Two questions to the database and one to Kafka at most; of members with the same records one moves
the partition on, the others look again. Who finds nothing sleeps until a bell rings, a row falls
due, or a lease is over. Records that come meanwhile are claimed without the first question.
"""

import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bus.backend import Delivery, Lane, Turn
from bus.backends.kafka import log, statements
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.choosing import Choice, Waiting, choose
from bus.backends.kafka.claim import Claims
from bus.backends.kafka.crowd import Crowd
from bus.backends.kafka.groups import Group, Groups
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.names import CODES, parts_for
from bus.backends.kafka.polls import Polls
from bus.backends.kafka.shelf import Shelf
from bus.database.database import BusDatabase
from bus.turns import named, turns_of
from bus.waking import rung
from contracts.clock import Clock

_AGAIN = 0.005
"""Seconds until what another took from under us is looked for again."""

_GO_ON = 0.25
"""Seconds for which it is taken as known where a group stands, while nobody else moves it on."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a group stands: the version of the bindings, the next offset of each partition, rows
    that can be taken by lane code and slice, and seconds until more can be. `until`: the moment up
    to which records of these `lanes` may be claimed by it, if there is no other `news` of rows."""

    version: int
    next: Mapping[int, int]
    due: Mapping[tuple[int, int], int]
    look: float
    lanes: frozenset[Lane]
    news: int
    until: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a pull asks for."""

    turns: Sequence[Turn]
    lanes: Sequence[Lane]
    limit: int


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
        self._polls: Polls | None = None
        self._looked = False
        self._luck = random.Random()
        self._crowd = Crowd(self._luck)
        self._complaints = 0
        self._last: tuple[Group, State] | None = None

    async def pull(
        self, name: str, wanted: Sequence[Lane | Turn], limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        what = Wanted(turns_of(wanted, limit), named(wanted), limit)
        end = self._clock.monotonic() + wait
        eager = wait <= 0
        while True:
            await self._link.ready("pulling")
            group = await self._groups.bound(name)
            if more := await self._go_on(group, what):
                return more
            state = await self._state(group, what)
            if (await self._groups.at(state.version)).groups.get(name) != group:
                continue
            found = await self._take(group, state, what, eager=eager)
            left = end - self._clock.monotonic()
            if found or left <= 0 or self._bells.closed:
                return found or []
            if found is not None:  # another was quicker
                await self._clock.sleep(min(left, _AGAIN))
            elif more := await self._wait(group, state, what, min(left, state.look)):
                return more
            elif self._clock.monotonic() >= end:
                return []  # who pulls again looks

    async def close(self) -> None:
        """Wait for nothing more."""
        if self._polls is not None:
            await self._polls.close()

    async def _state(self, group: Group, what: Wanted) -> State:
        places = [
            (CODES[lane.name], slice_)
            for lane in what.lanes
            for slice_ in group.rows_of(lane, self._slices)
        ]
        codes, slices = [*zip(*places, strict=True)] or [(), ()]
        news, now = self._bells.rows(group.gid), self._clock.monotonic()
        rows = await self._database.fetch(
            statements.STATE,
            self._database.fleet,
            group.gid,
            codes,
            slices,
            what.limit,
            self._lease,
            sure=False,
        )
        version = next(row["n"] for row in rows if row["kind"] == 0)
        look = min((row["late"] for row in rows if row["late"] is not None), default=self._lease)
        return State(
            version=version,
            next={row["a"]: row["n"] for row in rows if row["kind"] == 1},
            due={(row["a"], row["b"]): row["n"] for row in rows if row["kind"] == 2},
            look=max(_AGAIN, look),
            lanes=frozenset(what.lanes),
            news=news,
            until=now + min(look, _GO_ON),
        )

    async def _take(
        self, group: Group, state: State, what: Wanted, *, eager: bool
    ) -> list[Delivery] | None:
        """What can be had now; None if there is nothing."""
        if group.gid != self._gid or self._polls is None:
            await self._begin(group)
        await self._read(group, state, self._parts(group, state, what), eager=eager)
        chosen = self._choose(group, state, what)
        return await self._claim(group, state, chosen) if chosen else None

    async def _begin(self, group: Group) -> None:
        await self.close()
        self._gid, self._shelf, self._looked = group.gid, Shelf(), False
        terms = (self._link, self._bells, group, self._shelf)
        self._polls = Polls(*terms, wait=self._lease, clock=self._clock)

    async def _wait(
        self, group: Group, state: State, what: Wanted, seconds: float
    ) -> list[Delivery]:
        """Records that come within `seconds`, if no other takes them; nothing as soon as there may
        be something else."""
        until = self._clock.monotonic() + seconds
        while self._clock.monotonic() < until:
            bell = self._bells.bell(group.gid)
            if self._bells.rows(group.gid) != state.news or self._bells.closed:
                break
            if self._choose(group, replace(state, due={}), what):
                await self._clock.sleep(self._crowd.delay())
                state = self._passed(group, state)
                if chosen := self._choose(group, replace(state, due={}), what):
                    if found := await self._compete(group, state, chosen):
                        return found
                    if not await self._overtaken(group, chosen, state):
                        break
                    state = self._passed(group, state)
                    continue
                self._crowd.lost()
            await self._ask(state, self._parts(group, state, what))
            await rung(bell, self._clock, until - self._clock.monotonic())
        return []

    def _passed(self, group: Group, state: State) -> State:
        """Where the group stands as far as others have told since."""
        taken = self._bells.taken(group.gid)
        return replace(state, next={p: max(at, taken.get(p, 0)) for p, at in state.next.items()})

    async def _compete(
        self, group: Group, state: State, chosen: Sequence[Choice]
    ) -> list[Delivery]:
        """Try for records; those that hold back for them, if there are some, are told."""
        complaints = self._bells.complaints(group.gid)
        if complaints != self._complaints:
            self._complaints = complaints
            self._crowd.complained()
        began = self._clock.monotonic()
        found = await self._claim(group, state, chosen, tell=self._crowd.tells)
        took = self._clock.monotonic() - began
        if found:
            self._crowd.won(took)
        else:
            self._crowd.lost(took)
        return found

    async def _overtaken(self, group: Group, chosen: Sequence[Choice], state: State) -> bool:
        """Whether who was quicker tells so within a moment: then nobody need be asked where the
        group stands."""
        parts = {each.part for choice in chosen for each in choice.records}
        until = self._clock.monotonic() + max(_AGAIN, self._crowd.took)
        while True:
            bell, taken = self._bells.bell(group.gid), self._bells.taken(group.gid)
            if all(taken.get(part, 0) > state.next[part] for part in parts):
                return True
            left = until - self._clock.monotonic()
            if left <= 0 and self._crowd.complains():
                self._bells.complain(group.gid)
            if left <= 0 or self._bells.rows(group.gid) != state.news:
                return False
            await rung(bell, self._clock, left)

    async def _claim(
        self, group: Group, state: State, chosen: Sequence[Choice], *, tell: bool = False
    ) -> list[Delivery]:
        self._last = None
        channel = self._bells.channel if tell else None
        owner = secrets.randbits(62)
        found = await self._claims.claim(group, owner, state.next, chosen, channel)
        records = [each for choice in chosen for each in choice.records]
        if records and len(found) == len(records):
            moved = {each.part: each.offset + 1 for each in records}
            self._last = group, replace(state, next={**state.next, **moved})
        return found

    async def _go_on(self, group: Group, what: Wanted) -> list[Delivery]:
        """More records from where the last ones ended, if there are enough and nothing is known of
        rows: where the group stands is not asked again for a moment."""
        if self._last is None:
            return []
        last, state = self._last
        known = last == group and state.lanes.issuperset(what.lanes)
        if not known or state.news != self._bells.rows(group.gid) or any(state.due.values()):
            return []
        if self._clock.monotonic() >= state.until:
            return []
        await self._ask(state, self._parts(group, state, what))
        chosen = self._choose(group, state, what)
        enough = sum(len(choice.records) for choice in chosen) == what.limit
        return await self._claim(group, state, chosen) if enough else []

    def _parts(self, group: Group, state: State, what: Wanted) -> list[int]:
        """The partitions that lie in these lanes."""
        parts = (p for lane in what.lanes for p in parts_for(lane, group.slots, self._slices))
        return [p for p in parts if p in state.next]

    def _choose(self, group: Group, state: State, what: Wanted) -> list[Choice]:
        """What to take of what is here."""
        waiting = {lane: self._waiting(group, state, lane) for lane in what.lanes}
        return choose(what.turns, what.limit, waiting)

    def _waiting(self, group: Group, state: State, lane: Lane) -> Waiting:
        rows = {
            slice_: state.due.get((CODES[lane.name], slice_), 0)
            for slice_ in group.rows_of(lane, self._slices)
        }
        parts = [part for part in parts_for(lane, group.slots, self._slices) if part in state.next]
        self._luck.shuffle(parts)  # members that pull at once shall not all want the same
        return Waiting(rows, {part: self._shelf.waiting(part, state.next[part]) for part in parts})

    async def _read(self, group: Group, state: State, parts: Sequence[int], *, eager: bool) -> None:
        """Read where more is known to be, and everywhere at first; be told what comes where nothing
        is left."""
        places = {p: self._shelf.missing(p, state.next[p]) for p in parts}
        asked = {part: place for part, place in places.items() if place is not None}
        if not self._looked or (eager and not any(state.due.values())):
            asked, self._looked = self._empty(state, parts), True
        if asked:
            self._shelf.put(asked, await log.fetch(self._link, group.topic, asked))
        await self._ask(state, parts)

    async def _ask(self, state: State, parts: Sequence[int]) -> None:
        if self._polls is not None:
            places = {p: self._shelf.place(p, state.next[p]) for p in parts}
            low = {p: at for p, at in places.items() if self._shelf.low(p, state.next[p])}
            await self._polls.ask(low)

    def _empty(self, state: State, parts: Sequence[int]) -> dict[int, int]:
        """The partitions of which nothing is here, and from where on to read them."""
        places = {p: self._shelf.place(p, state.next[p]) for p in parts}
        return {p: at for p, at in places.items() if not self._shelf.waiting(p, state.next[p])}
