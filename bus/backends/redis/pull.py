"""Pulling: one script takes what there is, turn by turn; else an ear waits until it may be more."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple

from bus.backend import Delivery, Lane, Turn
from bus.backends.redis.bindings import Bindings, unroutable
from bus.backends.redis.ear import Ears
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import delivery_of, lane_of
from bus.backends.redis.scripts import RENEW, TAKE
from bus.backends.redis.wire import Argument
from bus.errors import BusError, Closed
from bus.turns import named, turns_of

_MOST = 1000
"""Messages one pull may take."""

_MOST_BYTES = 8 * 1024 * 1024
"""Bytes after which a pull takes no more."""

_DOING = "pulling"
_STALE = -1


class _Taken(NamedTuple):
    """What a script has handed over: until when it is ours at least, by both clocks; and the
    seconds after which to look again."""

    found: list[Delivery]
    monotonic: float
    wall: float
    look: float


class Pulls:
    """All pulls of one backend."""

    def __init__(self, link: RedisLink, bindings: Bindings, closed: Callable[[], bool]) -> None:
        self._link = link
        self._bindings = bindings
        self._closed = closed
        self._ears = Ears(link)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def pull(
        self, group: str, wanted: Sequence[Lane | Turn], limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`. Nothing is awaited between a taking that brought something and the
        return."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        calm = self._ears.calm(group, self._names(group, wanted)) if wait > 0 else 0.0
        while True:
            if loop.time() >= calm:
                began = loop.time()
                taken = await self._take(group, wanted, min(limit, _MOST))
                if taken.found and self._ours(taken):
                    return taken.found
                calm = began + taken.look
            left = end - loop.time()
            if left <= 0:
                return []
            names = self._names(group, wanted)
            seconds = min(left, calm - loop.time())
            calm = await self._ears.listen(group, names, seconds=seconds, calm=calm)
            if self._closed():
                raise Closed("the backend was closed", details=_DOING)

    async def close(self) -> None:
        """Wait no more."""
        await self._ears.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _names(self, group: str, wanted: Sequence[Lane | Turn]) -> list[str]:
        """How all these lanes are named in keys; none where the group is not known."""
        if self._bindings.get(group) is None:
            return []
        return [name for lane in named(wanted) for name in self._bindings.lanes(group, lane)]

    def _ours(self, taken: _Taken) -> bool:
        """Whether they are: a process that stood still has what is another's by now."""
        clock = self._link.clock
        return clock.monotonic() < taken.monotonic and clock.wall() < taken.wall

    async def _take(self, group: str, wanted: Sequence[Lane | Turn], limit: int) -> _Taken:
        """Cancelled, it puts back what it takes, as it was: nobody is blamed."""
        task = self._spawn(self._ask(group, wanted, limit))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._spawn(self._put_back(task))
            raise

    async def _ask(self, group: str, wanted: Sequence[Lane | Turn], limit: int) -> _Taken:
        link, bindings = self._link, self._bindings
        if bindings.get(group) is None:
            await bindings.look(_DOING)
        while True:
            if bindings.get(group) is None:
                raise unroutable("group", group, bindings.names())
            turns = self._turns(group, wanted, limit)
            lease = round(link.lease * 1000)
            head = (bindings.version, group, lease, limit, _MOST_BYTES)
            await link.ready(_DOING)
            monotonic, wall = link.clock.monotonic(), link.clock.wall()
            answer = await link.run(TAKE, *head, *turns, doing=_DOING)
            if answer != _STALE:
                found = self._deliveries(group, answer[1])
                return _Taken(found, monotonic + link.lease, wall + link.lease, answer[0] / 1000)
            await bindings.look(_DOING)

    def _turns(self, group: str, wanted: Sequence[Lane | Turn], limit: int) -> list[Argument]:
        arguments: list[Argument] = []
        for turn in turns_of(wanted, limit):
            names = [name for lane in turn.lanes for name in self._bindings.lanes(group, lane)]
            arguments += (turn.most, len(names), *names)
        return arguments

    def _deliveries(self, group: str, found: Sequence[Any]) -> list[Delivery]:
        deliveries = []
        for name, tokens, payloads in found:
            lane_name = name.decode()
            lane, line = lane_of(lane_name, self._link.slices), f"{group}:{lane_name}"
            deliveries += [
                delivery_of(payload, group, lane, line, token)
                for token, payload in zip(tokens, payloads, strict=True)
            ]
        return deliveries

    async def _put_back(self, asked: "asyncio.Task[_Taken]") -> None:
        try:
            found = (await asked).found
            if found:
                parts: list[Argument] = []
                for delivery in found:
                    parts += delivery.receipt  # type: ignore[arg-type]
                await self._link.run(RENEW, "", *parts, doing=_DOING)
        except BusError:
            return  # it comes back by its lease

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
