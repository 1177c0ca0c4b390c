"""Pulling from both buses at once; of what came, each key is handed out once.

What comes from both at the same time may be more than was asked for; it waits here for the next
pull, not longer than half its lease. Where one bus is quicker, the pull of the other goes on for a
moment: a loop of pulls asks neither anew each time. What is not to be handed out again is settled
on its bus.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from bus.backend import Delivery, Lane, Turn
from bus.backends.failover.hand_overs import HandOvers, Mark
from bus.backends.failover.receipts import key_of, outward, receipt_of
from bus.backends.failover.side import Side
from bus.errors import BusError, Closed, DatabaseUnreachable, Unreachable
from bus.turns import named
from contracts.clock import Clock
from contracts.errors import InvalidValue

GRACE = 0.05
"""Seconds a pull of one bus goes on for the next, when that of the other was quicker."""

SHORT = 0.2
"""Seconds that a pull which may not wait takes to ask both buses."""


@dataclass(frozen=True, slots=True, eq=False)
class _Got:
    """A delivery of one bus, not claimed yet; when it came, and which lanes it may lie in."""

    side: Side
    delivery: Delivery
    at: float
    lanes: frozenset[Lane]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pull waits: a bus, and lanes of a group there."""

    side: Side
    group: str
    lanes: tuple[Lane | Turn, ...]


class Pulling:
    """All pulls of a process. `lease`: seconds."""

    def __init__(
        self, sides: Sequence[Side], hand_overs: HandOvers, clock: Clock, lease: float
    ) -> None:
        self._sides = sides
        self._hand_overs = hand_overs
        self._clock = clock
        self._lease = lease
        self._came: defaultdict[str, list[_Got]] = defaultdict(list)
        self._standing: dict[_Place, asyncio.Task[bool]] = {}
        self._until: dict[_Place, float] = {}
        self._pulls: Counter[_Place] = Counter()
        self._beside: set[asyncio.Task[Any]] = set()
        self.groups: set[str] = set()
        self._closed = False

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        end = self._clock.monotonic() + wait
        self.groups.add(group)
        places = [_Place(side, group, tuple(lanes)) for side in self._sides]
        self._pulls.update(places)
        try:
            return await self._pull(places, limit, end)
        finally:
            self._pulls.subtract(places)
            asyncio.get_running_loop().call_later(GRACE, self._hang_up, places)

    async def close(self) -> None:
        """Finish what goes on beside pulls; those that wait raise `Closed`."""
        self._closed = True
        for task in self._standing.values():
            task.cancel()
        while left := {*self._beside, *self._standing.values()}:
            await asyncio.wait(left)

    async def _pull(self, places: Sequence[_Place], limit: int, end: float) -> list[Delivery]:
        group, lanes = places[0].group, places[0].lanes
        while True:
            if found := self._take(group, lanes, limit):
                claimed = await self._claim(group, found)
                if claimed:
                    return claimed
                continue  # none of it was to be handed out
            left = end - self._clock.monotonic()
            tasks = [self._stand(place, limit, max(0.0, left)) for place in places]
            answered = await _first(tasks, left)
            if self._closed:
                raise Closed("the backend is closed")
            if answered and end <= self._clock.monotonic() and not self._came[group]:
                return []

    def _stand(self, place: _Place, limit: int, wait: float) -> "asyncio.Task[bool]":
        """The pull of a bus that goes on, or a new one in the place of one that waits longer."""
        task, until = self._standing.get(place), self._clock.monotonic() + wait
        if task is not None and self._until[place] > until + SHORT:
            task.cancel()
            task = None
        if task is None:
            task = self._start(self._wait_at(place, limit, wait))
            self._standing[place], self._until[place] = task, until
            task.add_done_callback(partial(self._ended, place))
        return task

    def _ended(self, place: _Place, task: "asyncio.Task[bool]") -> None:
        if self._standing.get(place) is task:
            del self._standing[place]
        if not task.cancelled():
            task.exception()  # seen, also when nobody waits any more

    def _hang_up(self, places: Sequence[_Place]) -> None:
        """End pulls that no other has followed."""
        for place in places:
            task = self._standing.get(place)
            if task is not None and not self._pulls[place]:
                task.cancel()

    async def _wait_at(self, place: _Place, limit: int, wait: float) -> bool:
        """Whether the bus has answered."""
        end = self._clock.monotonic() + wait
        found = await self._of(place.side, place.group, place.lanes, limit, end)
        if found is None:
            return False
        now, asked = self._clock.monotonic(), frozenset(named(place.lanes))
        self._came[place.group] += [_Got(place.side, each, now, asked) for each in found]
        return True

    def _take(self, group: str, lanes: Sequence[Lane | Turn], limit: int) -> list[_Got]:
        """What came, for pulls that asked for no other lanes."""
        if not self._came[group]:
            return []
        since, asked = self._clock.monotonic() - self._lease / 2, frozenset(named(lanes))
        fresh = [got for got in self._came[group] if got.at > since]
        found = [got for got in fresh if got.lanes <= asked][:limit]
        self._came[group] = [got for got in fresh if got not in found]
        return found

    async def _of(
        self, side: Side, group: str, lanes: Sequence[Lane | Turn], limit: int, end: float
    ) -> list[Delivery] | None:
        """A pull of one bus, begun anew when it comes back; None if it was away to the end. Raises
        `Unreachable` when it finds that both are away, or that the bus database is."""
        while True:
            left = max(0.0, end - self._clock.monotonic())
            if not side.away:
                try:
                    wait = left
                    return await side.wait_for(
                        lambda bus, wait=wait: bus.pull(  # type: ignore[misc]
                            group, lanes, limit=limit, wait=wait
                        )
                    )
                except DatabaseUnreachable:
                    raise
                except Unreachable:
                    pass  # this bus went away
            if all(each.away for each in self._sides):
                raise away(self._sides)
            if left <= 0.0:
                return None
            await side.back(left)

    async def _claim(self, group: str, found: Sequence[_Got]) -> list[Delivery]:
        """Those that are to be handed out. One that is cancelled meanwhile was not seen."""
        claiming = self._start(self._claimed(group, found))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._start(self._unseen(claiming))
            raise
        except Unreachable:
            self._came[group] += found
            raise

    async def _claimed(self, group: str, found: Sequence[_Got]) -> list[Delivery]:
        claimed: list[Delivery] = []
        for side in self._sides:
            rest = [got.delivery for got in found if got.side is side]
            while rest:
                batch: dict[str, Delivery] = {}
                again: list[Delivery] = []
                for delivery in rest:
                    key = key_of(delivery)
                    if key is None:
                        claimed.append(outward(delivery, side.number, None))
                    elif key in batch:
                        again.append(delivery)
                    else:
                        batch[key] = delivery
                rest = again
                claimed += await self._claimed_once(group, side, batch)
        return claimed

    async def _claimed_once(
        self, group: str, side: Side, batch: "dict[str, Delivery]"
    ) -> list[Delivery]:
        if not batch:
            return []
        handed = await self._hand_overs.claim(group, side.number, [*batch])
        if missing := [key for key in batch if key not in handed]:
            kept = await self._hand_overs.kept(group, side.number, missing)
            over = [batch[key] for key in missing if key not in kept]
            self._start(_forgotten(side, over))
        return [
            outward(delivery, side.number, Mark(group, key, side.number, handed[key]))
            for key, delivery in batch.items()
            if key in handed
        ]

    async def _unseen(self, claiming: "asyncio.Task[list[Delivery]]") -> None:
        with suppress(BusError):
            marks = [receipt_of(delivery).mark for delivery in await claiming]
            known = [mark for mark in marks if mark is not None]
            if known:
                await self._hand_overs.back(known)

    def _start(self, work: "Coroutine[Any, Any, Any]") -> "asyncio.Task[Any]":
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        return task


async def _first(tasks: "Sequence[asyncio.Task[bool]]", seconds: float) -> bool:
    """Return when one of these ends, or `seconds` are over; with none left, when all have had a
    moment to, and one has an answer. Whether one has. Raises what one of them raised."""
    when = asyncio.FIRST_COMPLETED if seconds > 0.0 else asyncio.ALL_COMPLETED
    done, waiting = await asyncio.wait(tasks, timeout=max(SHORT, seconds), return_when=when)
    while True:
        answers = [task.result() for task in done if not task.cancelled()]
        if any(answers) or not waiting or seconds > 0.0:
            return any(answers)
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)


async def _forgotten(side: Side, deliveries: Sequence[Delivery]) -> None:
    """Settle what is known from the other bus, or is done; it comes again if that fails."""
    if deliveries:
        with suppress(BusError):
            await side.run(lambda bus: bus.settle(deliveries))


def away(sides: Sequence[Side]) -> Unreachable:
    """Neither bus can be reached."""
    return Unreachable(
        "both buses of this fleet are away",
        details="; ".join(side.why.details for side in sides if side.away),
        actions=("see that one of them runs: `muster doctor`",),
        retry_after=1.0,
    )
