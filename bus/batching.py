"""Group commit: what is asked for in the same moment leaves as one call."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bus.errors import BusError, Closed

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class _Ask(Generic[T, R]):
    items: Sequence[T]
    answer: asyncio.Future[Any]
    alone: bool = False


class Batcher(Generic[T, R]):
    """Joins concurrent asks of one event loop into calls of `send`, at most `lanes` of them under
    way at once.

    `send` gets the items of several asks in order and answers with one result per item. While
    calls are under way new asks gather, so a batch is as large as the load makes it and a lone
    ask waits for nothing. When a joined call fails with one of `blames` (an error that belongs
    to one ask and is raised before anything was sent), each ask is sent again on its own, so
    that nobody suffers for another; any other error goes to all of them.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        limit: int = 500,
        lanes: int = 1,
        blames: tuple[type[BusError], ...] = (),
    ) -> None:
        self._send = send
        self._limit = limit
        self._lanes = lanes
        self._blames = blames
        self._waiting: deque[_Ask[T, R]] = deque()
        self._flushing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def ask(self, items: Sequence[T]) -> Sequence[R]:
        """Send `items` with whatever else leaves now; their results in order.

        A caller that is cancelled while waiting does not take its items back.
        """
        answer: asyncio.Future[Sequence[R]] = asyncio.get_running_loop().create_future()
        self._put(_Ask(items, answer))
        return await answer

    def ask_one(self, item: T) -> "asyncio.Future[R]":
        """As `ask` for one item; awaiting the future gives its result, or raises it where it is an
        exception. Quicker for many of them."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # makes a system call (Python 3.11)
        answer: asyncio.Future[R] = self._loop.create_future()
        self._put(_Ask((item,), answer, True))
        return answer

    def _put(self, ask: _Ask[T, R]) -> None:
        if self._closed:
            raise Closed("the bus is closed", actions=("connect again",))
        self._waiting.append(ask)
        if len(self._flushing) < self._lanes:
            self._flushing.add(asyncio.create_task(self._flush()))

    async def close(self) -> None:
        """Wait for what was asked; refuse new asks."""
        self._closed = True
        while self._flushing:
            await asyncio.wait(self._flushing)

    async def _flush(self) -> None:
        """Send until nothing waits. That is found out and made known in one step: an ask that
        comes later must find that nobody flushes any more."""
        try:
            while self._waiting:
                await self._send_joined(self._take())
        finally:
            task = asyncio.current_task()
            self._flushing = {other for other in self._flushing if other is not task}

    def _take(self) -> list[_Ask[T, R]]:
        """Whole asks up to the limit; one that is larger goes alone."""
        taken: list[_Ask[T, R]] = []
        size = 0
        while self._waiting and (not taken or size + len(self._waiting[0].items) <= self._limit):
            ask = self._waiting.popleft()
            size += len(ask.items)
            taken.append(ask)
        return taken

    async def _send_joined(self, asks: list[_Ask[T, R]]) -> None:
        joined = [item for ask in asks for item in ask.items]
        try:
            results = await self._send(joined)
        except self._blames as error:
            if len(asks) == 1:
                _fail(asks, error)
            else:
                for ask in asks:
                    await self._send_joined([ask])
        except BaseException as error:
            _fail(asks, error)
            if not isinstance(error, Exception):
                raise
        else:
            _answer(asks, results)


def _fail(asks: Sequence[_Ask[T, R]], error: BaseException) -> None:
    reason = error if isinstance(error, Exception) else Closed("the bus was closed meanwhile")
    for ask in asks:
        if not ask.answer.done():
            ask.answer.set_exception(reason)


def _answer(asks: Sequence[_Ask[T, R]], results: Sequence[R]) -> None:
    start = 0
    for ask in asks:
        end = start + len(ask.items)
        if not ask.answer.done():
            if not ask.alone:
                ask.answer.set_result(results[start:end])
            elif isinstance(own := results[start], BaseException):
                ask.answer.set_exception(own)
            else:
                ask.answer.set_result(own)
        start = end
