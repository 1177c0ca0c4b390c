"""One connection to a Redis server: commands go out in order, answers come in the same order.

Any number of callers share it. One that is cancelled leaves its answer to be dropped when it comes,
so nothing has to be disconnected, and what is asked in the same moment shares one sync of the
server's log.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from bus.backends.redis.errors import ClosedByUs, Lost, Refused

Argument = str | bytes | int | float

_MORE = object()
"""What the parser says when an answer is not complete."""


class Wire(asyncio.Protocol):
    """A connection that stands until `lost` is called with it.

    `silence`: looks (`beat`) without a sign of life, while an answer is to come, after which it
    counts as lost. `push`: gets every answer instead of whoever asked, once `subscribe` was called,
    and at last why it went.
    """

    def __init__(
        self,
        lost: Callable[["Wire"], None],
        *,
        silence: int,
        push: Callable[[Any], None] | None = None,
    ) -> None:
        self.id: int | None = None
        self._lost = lost
        self._silence = silence
        self._push = push
        self._pushing = False
        self._reader = hiredis.Reader(notEnoughData=_MORE, replyError=Refused)
        self._answers: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None
        self._heard = False
        self._silent = 0
        self._unsent = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._end: Exception | None = None

    @property
    def open(self) -> bool:
        """Whether it stands, as far as is known."""
        return self._transport is not None and self._end is None

    def ask(self, *command: Argument) -> "asyncio.Future[Any]":
        """Send a command; its answer, or `Refused` or `Lost`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._transport is None or self._end is not None:
            _fail(future, self._end or Lost("it was not connected"))
            return future
        if not self._answers:
            self._silent = 0
        self._answers.append(future)
        self._transport.write(_packed(command))
        return future

    def subscribe(self, *command: Argument) -> None:
        """Send a command whose answer, and all that comes later, goes to `push`."""
        self._pushing = True
        if self._transport is not None and self._end is None:
            self._transport.write(_packed(command))

    async def drained(self) -> None:
        """Return when not too much is unsent, or the connection is gone."""
        await self._writable.wait()

    def beat(self) -> None:
        """Look for a sign of life; to be called every half second. One that comes late because
        the process stood still counts once, and what had arrived is read before the next."""
        if self._transport is None or self._end is not None:
            return
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        heard, self._heard = self._heard, False
        if not self._answers or heard or self._unsent < before:
            self._silent = 0
            return
        self._silent += 1
        if self._silent > self._silence:
            self.drop(Lost(f"no answer within {self._silence / 2:g} s"))

    def drop(self, why: Exception | None = None) -> None:
        """End the connection at once; whoever waits for an answer gets `why`."""
        if self._transport is not None:
            self._transport.abort()
        self._finish(why or ClosedByUs("the connection was closed"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answers, or parts of them."""
        self._heard = True
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _MORE:
                self._take(answer)
        except hiredis.ProtocolError as error:
            self.drop(Lost(f"this is not the protocol of Redis: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._finish(Lost(f"the connection was lost: {exc}" if exc else "the server closed it"))

    def pause_writing(self) -> None:
        """Too much is unsent."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """No longer."""
        self._writable.set()

    def _take(self, answer: Any) -> None:
        if self._pushing and not self._answers:
            if self._push is not None:
                self._push(answer)
            return
        future = self._answers.popleft()
        if isinstance(answer, Refused):
            _fail(future, answer)
        elif not future.done():
            future.set_result(answer)

    def _finish(self, why: Exception) -> None:
        if self._end is not None:
            return
        self._end = why
        self._writable.set()
        answers, self._answers = self._answers, deque()
        for future in answers:
            _fail(future, type(why)(*why.args))
        if self._push is not None:
            self._push(why)
        self._lost(self)


def _packed(command: tuple[Argument, ...]) -> bytes:
    packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]  # any number of them
    return packed


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # seen: nobody may be waiting any more
