"""Pulling: one script takes what there is, turn by turn; else an ear waits until it may be more."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from bus.backend import Delivery, Lane, Turn
from bus.backends.redis.bindings import Bindings
from bus.backends.redis.ear import Ears, Question, put_back
from bus.backends.redis.link import RedisLink
from bus.backends.redis.messages import delivery_of, lane_of
from bus.backends.redis.scripts import TAKE
from bus.backends.redis.wire import Argument
from bus.errors import BusError, Closed
from bus.turns import named, turns_of

_MOST = 1000
"""Messages one pull may take."""

_MOST_BYTES = 8 * 1024 * 1024
"""Bytes after which a pull takes no more."""

_DOING = "pulling"
_STALE = -1


class Pulls:
    """All pulls of one backend."""

    def __init__(self, link: RedisLink, bindings: Bindings, closed: Callable[[], bool]) -> None:
        self._link = link
        self._bindings = bindings
        self._closed = closed
        self._ears = Ears(link)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._compared = (0.0, 0.0, 0)

    async def pull(
        self, group: str, wanted: Sequence[Lane | Turn], limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`. Nothing is awaited between a taking that brought something and the
        return."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        question = await self._question(group, wanted, limit)
        calm = self._ears.calm(question) if wait > 0 else 0.0
        while True:
            answer: Any = None
            if (began := loop.time()) >= calm:
                answer = await self._take(question)
            elif (left := end - began) <= 0:
                return []
            else:
                seconds = min(left, calm - began)
                answer, calm = await self._ears.listen(question, seconds=seconds, calm=calm)
                began = loop.time()
                if self._closed():
                    self._spawn(self._put_back(group, answer))
                    raise Closed("the backend was closed", details=_DOING)
            if answer == _STALE:
                await self._bindings.look(_DOING)
                question, calm = await self._question(group, wanted, limit), 0.0
            elif answer is not None:
                if answer[1] and self._ours(answer[2]):
                    return self._deliveries(group, answer[1])
                calm = began + answer[0] / 1000

    async def close(self) -> None:
        """Wait no more."""
        await self._ears.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _question(self, group: str, wanted: Sequence[Lane | Turn], limit: int) -> Question:
        """What to ask, by the bindings as they are known."""
        bindings = self._bindings
        if bindings.get(group) is None:
            await bindings.look(_DOING)
            if bindings.get(group) is None:
                raise bindings.not_bound(group)
        most, lease = min(limit, _MOST), round(self._link.lease * 1000)
        arguments: list[Argument] = [bindings.version, group, lease, most, _MOST_BYTES]
        for turn in turns_of(wanted, most):
            names = [name for lane in turn.lanes for name in bindings.lanes(group, lane)]
            arguments += (turn.most, len(names), *names)
        lanes = tuple(name for lane in named(wanted) for name in bindings.lanes(group, lane))
        return Question(group, lanes, tuple(arguments))

    async def _take(self, question: Question) -> Any:
        """What there is. Cancelled, it puts back what it takes: nobody is blamed."""
        task = self._spawn(self._ask(question))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._spawn(self._put_back(question.group, task))
            raise

    async def _ask(self, question: Question) -> Any:
        await self._link.ready(_DOING)
        clock = self._link.clock
        before = clock.monotonic(), clock.wall()
        answer = await self._link.run(TAKE, *question.arguments, doing=_DOING)
        if answer != _STALE:
            self._compared = (*before, answer[2])
        return answer

    def _ours(self, theirs: int) -> bool:
        """Whether what the server handed over at that moment of its clock is ours still: a process
        that stood still has what is another's by now. When the server last told its time, it was
        not before we had asked."""
        monotonic, wall, at = self._compared
        passed, clock = (theirs - at) / 1000, self._link.clock
        ends = passed + self._link.lease
        return clock.monotonic() < monotonic + ends and clock.wall() < wall + ends

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

    async def _put_back(self, group: str, asked: Any) -> None:
        try:
            answer = await asked if isinstance(asked, asyncio.Task) else asked
            if answer is not None:
                await put_back(self._link, group, answer)
        except BusError:
            return  # it comes back by its lease

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
