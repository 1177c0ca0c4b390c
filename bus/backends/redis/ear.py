"""Waiting until a lane may have something: a blocked read of its bell.

A bell is a list with one element; whoever takes it looks, and rings on where more is left than it
takes. A read that waits is kept for the next pull for a moment. One that nobody needs any more is
ended at the server, and then others are called: it may have swallowed a bell, or have been the one
that knew when the next message falls due.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from bus.backends.redis.errors import ClosedByUs, Lost, Refused
from bus.backends.redis.link import BEAT, SILENCE, RedisLink
from bus.backends.redis.scripts import RING
from bus.backends.redis.wire import Wire
from bus.errors import BusError

_BLOCK = 20
"""Seconds of one blocked read: an idle member asks no more often for its sake."""

_GRACE = 0.005
"""Seconds a read is kept for the next pull."""

_SOON = 1.0
"""Seconds in which the server should have been told that a read ends."""

_DOING = "pulling"


class Ear:
    """One connection that listens at the bells of some lanes of a group. Until the moment `calm`
    of the loop nothing is there unless a bell rings: who pulls again need not look."""

    def __init__(self, link: RedisLink, group: str, lanes: Sequence[str]) -> None:
        self._link = link
        self._group = group
        self._lanes = lanes
        self._bells = [f"{link.prefix}:g:{group}:{lane}:bell" for lane in lanes]
        self._wire: Wire | None = None
        self._answer: asyncio.Future[Any] | None = None
        self._ended = False
        self.calm = 0.0

    @property
    def waits(self) -> bool:
        """Whether a read waits, and no bell has rung."""
        return self._answer is not None and not self._answer.done()

    async def listen(self, seconds: float) -> None:
        """Return when a bell rang, after `seconds` at the latest. Raises bus errors."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while (left := end - loop.time()) > 0 and not self._is_over():
            answer = await self._asked()
            await asyncio.wait([answer], timeout=left)
            if self._is_over() or not answer.done():
                return
            self._answer, calm, self.calm = None, self.calm, 0.0
            try:
                rang = answer.result()
            except (Lost, Refused) as error:
                raise self._link.failure(error, _DOING) from error
            if rang is not None:
                return
            self.calm = calm

    async def end(self) -> None:
        """Listen no more, and let others look."""
        self._ended = True
        wire, self._wire = self._wire, None
        waits, self._answer = self._answer is not None, None
        if wire is None:
            return
        try:
            if waits:
                await self._hand_on(wire)
        finally:
            wire.drop()

    async def _hand_on(self, wire: Wire) -> None:
        """In this order: else the bell may ring at a read that is about to go."""
        with suppress(BusError, TimeoutError):
            async with asyncio.timeout(_SOON):
                if wire.id is not None:
                    await self._link.ask("CLIENT", "UNBLOCK", wire.id, doing=_DOING)
                await self._link.run(RING, self._group, *self._lanes, doing=_DOING)

    def drop(self, why: Exception) -> None:
        """The server is out of reach: whoever listens hears of that."""
        if self._wire is not None:
            self._wire.drop(why)

    def _is_over(self) -> bool:
        return self._ended

    async def _asked(self) -> "asyncio.Future[Any]":
        """The answer to come of the blocked read, which begins here unless it waits already."""
        if self._answer is None:
            if self._wire is None or not self._wire.open:
                looks = int(_BLOCK / BEAT) + SILENCE
                self._wire = await self._link.open(_DOING, silence=looks)
            self._answer = self._wire.ask("BLPOP", *self._bells, _BLOCK)
        return self._answer


class Ears:
    """The ears of one backend, one for each pull that waits at the same time."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._idle: dict[tuple[str, frozenset[str]], list[Ear]] = {}
        self._busy: set[Ear] = set()
        self._timers: dict[Ear, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        link.lost.append(self._on_lost)

    def calm(self, group: str, lanes: Sequence[str]) -> float:
        """Until when nothing is there unless a bell rings; 0 where nobody has listened till now."""
        idle = self._idle.get((group, frozenset(lanes)))
        return idle[-1].calm if idle and idle[-1].waits else 0.0

    async def listen(
        self, group: str, lanes: Sequence[str], *, seconds: float, calm: float
    ) -> float:
        """Return when one of these lanes may have something, at the latest after `seconds`; then
        until when it is calm. `calm`: the same before."""
        key = (group, frozenset(lanes))
        idle = self._idle.get(key)
        ear = idle.pop() if idle else Ear(self._link, group, lanes)
        timer = self._timers.pop(ear, None)
        if timer is not None:
            timer.cancel()
        self._busy.add(ear)
        ear.calm = calm
        try:
            await ear.listen(seconds)
            return ear.calm
        finally:
            self._busy.discard(ear)
            self._idle.setdefault(key, []).append(ear)
            loop = asyncio.get_running_loop()
            self._timers[ear] = loop.call_later(_GRACE, self._forget, key, ear)

    async def close(self) -> None:
        """End them all; what waits hears `Lost`."""
        self._link.lost.remove(self._on_lost)
        for timer in self._timers.values():
            timer.cancel()
        ears = [*self._busy, *(ear for idle in self._idle.values() for ear in idle)]
        self._idle.clear()
        await asyncio.gather(*(ear.end() for ear in ears), return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _forget(self, key: tuple[str, frozenset[str]], ear: Ear) -> None:
        """No pull needed it in time."""
        self._timers.pop(ear, None)
        idle = self._idle.get(key, [])
        if ear in idle:
            idle.remove(ear)
        if not idle:
            self._idle.pop(key, None)
        task = asyncio.get_running_loop().create_task(ear.end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_lost(self) -> None:
        closed = self._link.closed
        for ear in self._busy:
            ear.drop(ClosedByUs("closed") if closed else Lost("the server does not answer"))
