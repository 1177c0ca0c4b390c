"""Runs plain functions in threads, each with a way back into the event loop of its worker."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError as Withdrawn
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

GRACE = 2.0
"""Seconds a function has to return once its run is to end."""

_Work = Callable[[], None]
_End = tuple[Any, BaseException | None]


class Threads:
    """Threads of one role in one process; for one event loop.

    As many as functions run at once: the worker's places bound them, and those that wait for
    children. `keep` of them stay for the next ones. They are daemons: one that never returns does
    not keep its process from ending.
    """

    def __init__(self, name: str, keep: int) -> None:
        self._name = name
        self._keep = keep
        self._grace = GRACE
        self._hurried = asyncio.Event()
        self._lock = threading.Lock()
        self._works: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = 0
        self._busy = 0
        self._closed = False

    @property
    def busy(self) -> int:
        """Functions that compute at this moment, and do not wait for the loop."""
        return self._busy

    async def run(self, call: Callable[["LoopBridge"], T], stuck: Callable[[], None]) -> T:
        """What `call` returns or raises in a thread. When this is cancelled, `call` is told through
        its bridge; if it has not returned `GRACE` seconds later, `stuck` is called and it is left
        to itself."""
        loop = asyncio.get_running_loop()
        bridge = LoopBridge(loop, self._count)
        ended: asyncio.Future[_End] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                end: _End = (context.run(call, bridge), None)
            except BaseException as error:  # noqa: BLE001 - raised where the run waits
                end = (None, error)
            with suppress(RuntimeError):  # the loop has ended: nobody waits
                loop.call_soon_threadsafe(_tell, ended, end)
            self._count(-1)

        self._count(1)
        self._start(work)
        try:
            value, error = await asyncio.shield(ended)
        except asyncio.CancelledError:
            bridge.cancel()
            if not await self._ends(ended):
                stuck()
            raise
        if error is not None:
            raise error
        found: T = value
        return found

    def hurry(self) -> None:
        """Wait for nobody any more: the process ends."""
        self._hurried.set()

    def close(self) -> None:
        """Let idle threads end."""
        with self._lock:
            self._closed = True
            for _ in range(self._idle):
                self._works.put(None)
            self._idle = 0

    async def _ends(self, ended: "asyncio.Future[_End]") -> bool:
        """Whether it ends in time, however often this is cancelled meanwhile."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._grace
        hurried = asyncio.create_task(self._hurried.wait())
        either: set[asyncio.Future[Any]] = {ended, hurried}
        try:
            while (left := until - loop.time()) > 0 and not (ended.done() or hurried.done()):
                with suppress(asyncio.CancelledError):
                    await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        finally:
            hurried.cancel()
        return ended.done() or self._hurried.is_set()

    def _start(self, work: _Work) -> None:
        with self._lock:
            if self._idle:
                self._idle -= 1
            else:
                name = f"role {self._name}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
            self._works.put(work)

    def _serve(self) -> None:
        while (work := self._works.get()) is not None:
            work()
            del work  # what it holds is not ours to keep while this thread waits
            with self._lock:
                if self._closed or self._idle >= self._keep:
                    return
                self._idle += 1

    def _count(self, more: int) -> None:
        with self._lock:
            self._busy += more


class LoopBridge:
    """Implements `workers.sdk.blocking.Bridge`. May be used from several threads."""

    def __init__(self, loop: asyncio.AbstractEventLoop, count: Callable[[int], None]) -> None:
        self._loop = loop
        self._count = count
        self._lock = threading.Lock()
        self._asked: set[Future[Any]] = set()
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether the run is to end."""
        return self._cancelled

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """See `Bridge.wait`."""
        with self._lock:
            if self._cancelled or self._loop.is_closed():
                work.close()
                raise asyncio.CancelledError
            self._count(-1)
            asked = asyncio.run_coroutine_threadsafe(work, self._loop)
            self._asked.add(asked)
        asked.add_done_callback(lambda _: self._count(1))
        try:
            return asked.result()
        except Withdrawn:
            raise asyncio.CancelledError from None
        finally:
            self._asked.discard(asked)

    def cancel(self) -> None:
        """End what is waited for, and let nothing more be asked."""
        with self._lock:
            self._cancelled = True
            for asked in list(self._asked):
                asked.cancel()


def _tell(ended: "asyncio.Future[_End]", end: _End) -> None:
    if not ended.done():
        ended.set_result(end)
