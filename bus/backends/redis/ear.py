"""Waiting until a lane may have something: a blocked read of its bell, and behind it a taking.

A bell is a list with one element; whoever reads it takes, and rings on where more is left than it
takes. Both commands are sent at once: when the bell rings the server goes on to the taking before
it syncs, so a wake is one answer and one sync. Who pulls again in the same way goes on with a read
that waits. One that nobody needs any more is ended at the server, and then others are called: it
may have taken something, or have been the one that knew when the next message falls due.
"""

import asyncio
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple

from bus.backends.redis.errors import ClosedByUs, Lost, Refused
from bus.backends.redis.link import BEAT, SILENCE, RedisLink
from bus.backends.redis.scripts import RENEW, RING, TAKE
from bus.backends.redis.wire import Argument, Wire
from bus.errors import BusError

_BLOCK = 19
"""Seconds of one blocked read: an idle member asks no more often for its sake. Less than the twenty
that a worker pulls for: what is taken behind the read spares a look at the end of the pull."""

_GRACE = 0.005
"""Seconds a read is kept for the next pull."""

_SOON = 1.0
"""Seconds in which the server should have been told that a read ends."""

_SPARE = 4
"""Connections kept for reads to come."""

_DOING = "pulling"


class Question(NamedTuple):
    """What a pull asks for: the lanes it listens at, and the arguments of its taking."""

    group: str
    lanes: tuple[str, ...]
    arguments: tuple[Argument, ...]


class Ear:
    """One read that waits for a question. Until the moment `calm` of the loop nothing is there
    unless a bell rings: who pulls again need not look."""

    def __init__(self, ears: "Ears", link: RedisLink, question: Question) -> None:
        self._ears = ears
        self._link = link
        self._question = question
        self._wire: Wire | None = None
        self._taken: asyncio.Future[Any] | None = None
        self._over = False
        self.calm = 0.0

    def until(self) -> float:
        """Until when there is no need to look; for ever where an answer is here already."""
        if self._taken is None:
            return 0.0
        return inf if self._taken.done() else self.calm

    async def listen(self, seconds: float) -> Any:
        """What was taken when a bell rang, or None after `seconds`. Raises bus errors. Nothing is
        awaited once there is an answer."""
        if self._taken is None:
            self._taken = await self._ask()
        taken = self._taken
        await asyncio.wait([taken], timeout=seconds)
        if self._is_over() or not taken.done():
            return None
        self._taken, self.calm = None, 0.0
        try:
            return taken.result()
        except Lost as error:
            raise self._link.failure(error, _DOING) from error
        except Refused as error:
            if error.code == "NOSCRIPT":
                return None
            raise self._link.failure(error, _DOING) from error

    async def end(self) -> None:
        """Listen no more, and let others look."""
        self._over = True
        wire, taken = self._wire, self._taken
        self._wire = self._taken = None
        if wire is None:
            return
        try:
            if taken is not None:
                await self._hand_on(wire, taken)
        except BaseException:
            wire.drop()
            raise
        if taken is None or taken.done():
            self._ears.keep(wire)
        else:
            wire.drop()

    def drop(self, why: Exception) -> None:
        """The server is out of reach: whoever listens hears of that."""
        if self._wire is not None:
            self._wire.drop(why)

    async def _ask(self) -> "asyncio.Future[Any]":
        """The answer to come of a read that begins here."""
        link, (group, lanes, arguments) = self._link, self._question
        if self._wire is None or not self._wire.open:
            self._wire = await self._ears.wire()
        bells = [f"{link.prefix}:g:{group}:{lane}:bell" for lane in lanes]
        self._wire.ask("BLPOP", *bells, _BLOCK)
        return self._wire.ask("EVALSHA", TAKE.sha, 1, link.prefix, *arguments)

    async def _hand_on(self, wire: Wire, taken: "asyncio.Future[Any]") -> None:
        """First the read ends, then others are called: else a bell might ring at it."""
        link, (group, lanes, _) = self._link, self._question
        with suppress(BusError, TimeoutError, Lost, Refused):
            async with asyncio.timeout(_SOON):
                if wire.id is None:
                    wire.drop()
                else:
                    await link.ask("CLIENT", "UNBLOCK", wire.id, doing=_DOING)
                    await put_back(link, group, await asyncio.shield(taken))
                await link.run(RING, group, *lanes, doing=_DOING)

    def _is_over(self) -> bool:
        return self._over


async def put_back(link: RedisLink, group: str, answer: Any) -> None:
    """What a taking has brought waits again, as it did: nobody is blamed."""
    found = [] if isinstance(answer, int) else answer[1]
    parts: list[Argument] = []
    for lane, tokens, _ in found:
        for token in tokens:
            parts += (f"{group}:{lane.decode()}", token)
    if parts:
        await link.run(RENEW, "", *parts, doing=_DOING)


class Ears:
    """The ears of one backend, one for each pull that waits at the same time."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._idle: dict[Question, list[Ear]] = {}
        self._busy: set[Ear] = set()
        self._timers: dict[Ear, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._spare: list[Wire] = []
        self._closed = False
        link.lost.append(self._on_lost)

    def calm(self, question: Question) -> float:
        """Until when nothing is there unless a bell rings; 0 where nobody has listened till now."""
        idle = self._idle.get(question)
        return idle[-1].until() if idle else 0.0

    async def listen(self, question: Question, *, seconds: float, calm: float) -> tuple[Any, float]:
        """What was taken if a bell rang, else None after `seconds`; and until when it is calm.
        `calm`: the same before."""
        idle = self._idle.get(question)
        ear = idle.pop() if idle else Ear(self, self._link, question)
        timer = self._timers.pop(ear, None)
        if timer is not None:
            timer.cancel()
        self._busy.add(ear)
        ear.calm = calm
        try:
            return await ear.listen(seconds), ear.calm
        finally:
            self._busy.discard(ear)
            self._idle.setdefault(question, []).append(ear)
            loop = asyncio.get_running_loop()
            self._timers[ear] = loop.call_later(_GRACE, self._forget, question, ear)

    async def wire(self) -> Wire:
        """A connection for a read."""
        while self._spare:
            wire = self._spare.pop()
            if wire.open:
                return wire
        return await self._link.open(_DOING, silence=int(_BLOCK / BEAT) + SILENCE)

    def keep(self, wire: Wire) -> None:
        """A connection is no longer needed."""
        if self._closed or len(self._spare) >= _SPARE:
            wire.drop()
        else:
            self._spare.append(wire)

    async def close(self) -> None:
        """End them all; what waits returns."""
        self._closed = True
        self._link.lost.remove(self._on_lost)
        for timer in self._timers.values():
            timer.cancel()
        ears = [*self._busy, *(ear for idle in self._idle.values() for ear in idle)]
        self._idle.clear()
        await asyncio.gather(*(ear.end() for ear in ears), return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for wire in self._spare:
            wire.drop()

    def _forget(self, question: Question, ear: Ear) -> None:
        """No pull needed it in time."""
        self._timers.pop(ear, None)
        idle = self._idle.get(question, [])
        if ear in idle:
            idle.remove(ear)
        if not idle:
            self._idle.pop(question, None)
        task = asyncio.get_running_loop().create_task(ear.end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_lost(self) -> None:
        closed = self._link.closed
        for ear in self._busy:
            ear.drop(ClosedByUs("closed") if closed else Lost("the server does not answer"))
