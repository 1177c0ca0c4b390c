"""Pulling from both buses at once; of what came, each key is handed out once.

What comes from both at the same time may be more than was asked for; it waits here for the next
pull, not longer than half its lease. What is not to be handed out again is settled on its bus.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from bus.backend import Delivery, Lane, Turn
from bus.backends.failover.hand_overs import HandOvers, Mark
from bus.backends.failover.receipts import key_of, outward, receipt_of
from bus.backends.failover.side import Side
from bus.errors import BusError, Unreachable
from bus.turns import named
from contracts.clock import Clock
from contracts.errors import InvalidValue


@dataclass(frozen=True, slots=True)
class _Got:
    """A delivery of one bus, not claimed yet; when it came, and which lanes it may lie in."""

    side: Side
    delivery: Delivery
    at: float
    lanes: frozenset[Lane]


class Pulling:
    """All pulls of a process. `lease`: seconds."""

    def __init__(
        self, sides: Sequence[Side], hand_overs: HandOvers, clock: Clock, lease: float
    ) -> None:
        self._sides = sides
        self._hand_overs = hand_overs
        self._clock = clock
        self._lease = lease
        self._over: defaultdict[str, list[_Got]] = defaultdict(list)
        self._beside: set[asyncio.Task[Any]] = set()
        self.groups: set[str] = set()

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        end = self._clock.monotonic() + wait
        self.groups.add(group)
        while True:
            left = self._left_over(group, lanes)
            new = [] if left else await self._come(group, lanes, limit, end)
            found = left or new
            if not found:
                return []
            self._over[group] += found[limit:]
            claimed = await self._claim(group, found[:limit])
            if claimed:
                return claimed
            # nothing of it was to be handed out: look on for as long as was asked

    async def close(self) -> None:
        """Finish what goes on beside pulls."""
        while self._beside:
            await asyncio.wait(self._beside)

    def _left_over(self, group: str, lanes: Sequence[Lane | Turn]) -> list[_Got]:
        """What came for an earlier pull that asked for no other lanes."""
        if not self._over[group]:
            return []
        since, asked = self._clock.monotonic() - self._lease / 2, frozenset(named(lanes))
        fresh = [got for got in self._over[group] if got.at > since]
        found = [got for got in fresh if got.lanes <= asked]
        self._over[group] = [got for got in fresh if not got.lanes <= asked]
        return found

    async def _come(
        self, group: str, lanes: Sequence[Lane | Turn], limit: int, end: float
    ) -> list[_Got]:
        """What the first bus that has something gives, and what came from the other meanwhile."""
        tasks = {
            asyncio.create_task(self._of(side, group, lanes, limit, end)): side
            for side in self._sides
        }
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(task.result() for task in done):
                    break
        except BaseException:
            self._over[group] += await self._end(tasks, lanes)
            raise
        return await self._end(tasks, lanes)

    async def _end(
        self, tasks: "dict[asyncio.Task[list[Delivery]], Side]", lanes: Sequence[Lane | Turn]
    ) -> list[_Got]:
        """End pulls; what they gave."""
        if waiting := [task for task in tasks if not task.done()]:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
        now, asked = self._clock.monotonic(), frozenset(named(lanes))
        return [
            _Got(side, delivery, now, asked)
            for task, side in tasks.items()
            if not task.cancelled() and task.exception() is None
            for delivery in task.result()
        ]

    async def _of(
        self, side: Side, group: str, lanes: Sequence[Lane | Turn], limit: int, end: float
    ) -> list[Delivery]:
        """A pull of one bus, begun anew when it comes back. Raises `Unreachable` when it finds
        that both are away."""
        while True:
            left = max(0.0, end - self._clock.monotonic())
            if not side.away:
                with suppress(Unreachable):
                    wait = left
                    return await side.wait_for(
                        lambda bus, wait=wait: bus.pull(  # type: ignore[misc]
                            group, lanes, limit=limit, wait=wait
                        )
                    )
            if all(each.away for each in self._sides):
                raise away(self._sides)
            if left <= 0.0:
                return []
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
            self._over[group] += found
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
