"""One of the two buses: its connection, and a breaker that knows whether it is away.

The breaker (pybreaker) opens at the first call that ends without an answer. From then on the bus is
tried beside all calls, one trial at a time, so that no publisher waits for it; a trial that is
answered closes the breaker. A bus that leans on the bus database is not away while that is: what
the database does not answer says nothing of the bus.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError

from bus.backend import Backend
from bus.errors import BusError, DatabaseUnreachable, Unreachable
from bus.opening import Parts
from contracts.clock import Clock

T = TypeVar("T")

TRIAL = 0.5
"""Seconds between two trials of a bus that is away."""

DOUBT = 1.0
"""Seconds after which a bus that has not answered a call is asked whether it is there."""

ANSWER = 1.5
"""Seconds in which it has to say so, or is away."""

_log = logging.getLogger(__name__)


class Side:
    """One bus. `number`: 1 is used first. `open_`: connects to it; may be called again. `beside`:
    asks the bus database it leans on whether it is there."""

    def __init__(
        self,
        number: int,
        where: str,
        open_: Callable[[], Awaitable[Parts]],
        clock: Clock,
        beside: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self.number = number
        self.where = where
        self.on_change: list[Callable[[], None]] = []
        self._connect = open_
        self._beside = beside
        self._clock = clock
        self._parts: Parts | None = None
        self._breaker = CircuitBreaker(
            fail_max=1,
            reset_timeout=TRIAL / 2,
            exclude=[lambda error: not _of_the_bus(error)],
            throw_new_error_on_trip=False,
        )
        self._why = Unreachable("the bus was not asked yet", details=where)
        self._gone, self._back = asyncio.Event(), asyncio.Event()
        self._back.set()
        self._keeper: asyncio.Task[None] | None = None
        self._question: asyncio.Task[bool] | None = None
        self._second_question: asyncio.Task[bool] | None = None

    @property
    def away(self) -> bool:
        """Whether it did not answer when it was asked last."""
        return self._parts is None or self._breaker.current_state != STATE_CLOSED

    @property
    def why(self) -> Unreachable:
        """What it said when it went away."""
        return Unreachable(
            f"bus {self.number} of this fleet is away",
            details=f"{self.where}: {self._why}",
            actions=("see that it runs: `muster doctor`",),
            retry_after=TRIAL,
        )

    @property
    def parts(self) -> Parts:
        """What is connected to it. Raises `Unreachable` if nothing ever was."""
        if self._parts is None:
            raise self.why
        return self._parts

    async def open(self) -> None:
        """Connect, and look after the connection until `close`. A bus that is away is no error;
        raises what else connecting to it raises."""
        try:
            self._parts = await self._connect()
        except DatabaseUnreachable:
            raise
        except Unreachable as error:
            self._breaker.open()
            self._left(error)
        self._keeper = asyncio.create_task(self._keep())

    async def run(self, call: Callable[[Backend], Coroutine[Any, Any, T]]) -> T:
        """What the call gives. Raises `Unreachable` at once while the bus is away, and soon when it
        hangs: the outcome of the call is unknown then."""
        return await self.wait_for(lambda bus: self._watched(call(bus)))

    async def wait_for(self, call: Callable[[Backend], Awaitable[T]]) -> T:
        """As `run` for a call that may take long."""
        if self.away:
            raise self.why
        try:
            with self._breaker.calling():
                return await call(self.parts.backend)
        except DatabaseUnreachable:
            raise
        except Unreachable as error:
            self._left(error)
            raise

    async def back(self, seconds: float) -> None:
        """Return when the bus is there, at the latest after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._back.wait()

    async def close_backend(self) -> None:
        """Close what is connected to it, but the connection."""
        for task in (self._keeper, self._question, self._second_question):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        if self._parts is not None:
            await self._parts.store.close()
            await self._parts.backend.close()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._parts is not None:
            await self._parts.close()

    async def _watched(self, call: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(call)
        try:
            await asyncio.wait([task], timeout=DOUBT)
            while not task.done():
                if not await self._answers():
                    raise Unreachable(f"{self.where} does not answer", retry_after=TRIAL)
                await asyncio.wait([task], timeout=DOUBT)
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # asyncio reports one that nobody has looked at

    async def _answers(self) -> bool:
        """Whether it is there; asked once for all calls that wait."""
        if self._question is None or self._question.done():
            self._question = asyncio.create_task(self._asked())
        return await asyncio.shield(self._question)

    async def _asked(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER):
                await self.parts.backend.extend(())
        except DatabaseUnreachable:
            return True
        except TimeoutError:
            return not await self._database_answers()
        except BusError:
            return False
        return True

    async def _database_answers(self) -> bool:
        """Whether it is not the database that keeps the bus from answering."""
        if self._beside is None:
            return True
        if self._second_question is None or self._second_question.done():
            self._second_question = asyncio.create_task(_answered(self._beside))
        done, _ = await asyncio.wait([self._second_question], timeout=ANSWER)
        return any(task.result() for task in done)

    async def _keep(self) -> None:
        while True:
            await self._gone.wait()
            await self._clock.sleep(TRIAL)
            await self._try()

    async def _try(self) -> None:
        """Let one call through: that bus answers it, or stays away."""
        try:
            with self._breaker.calling():
                await self._trial()
        except CircuitBreakerError:
            return
        except Unreachable as error:
            self._why = error
        except BusError as error:
            self._why = Unreachable(str(error))
            _log.warning("bus %d at %s: %s", self.number, self.where, error)
        if not self.away:
            self._gone.clear()
            self._back.set()
            _log.warning("bus %d at %s is back", self.number, self.where)
            self._tell()

    async def _trial(self) -> None:
        """One without the database is no answer of the bus either."""
        try:
            if self._parts is None:
                self._parts = await self._connect()
            await self._parts.backend.extend(())
        except DatabaseUnreachable as error:
            raise Unreachable(str(error), details=error.details) from error

    def _left(self, error: Unreachable) -> None:
        self._why = error
        if self._gone.is_set() or not self.away:
            return
        self._gone.set()
        self._back.clear()
        _log.warning("bus %d at %s is away: %s", self.number, self.where, error)
        self._tell()

    def _tell(self) -> None:
        for each in self.on_change:
            each()


async def _answered(ask: Callable[[], Awaitable[object]]) -> bool:
    try:
        await ask()
    except BusError:
        return False
    return True


def _of_the_bus(error: BaseException) -> bool:
    """Whether it says that the bus is away."""
    return isinstance(error, Unreachable) and not isinstance(error, DatabaseUnreachable)
