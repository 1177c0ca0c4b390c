"""The one thread of a node that writes: the loop goes on while the disk works."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from consensus.storage.errors import Stopped
from contracts.errors import MusterError

T = TypeVar("T")


class Writer:
    """Does one thing after the other, in the order of the calls. `failed` is told, on the event
    loop, the first error after which nothing more is done: any but those that a store raises
    before it wrote anything (`NoSpace`, `BackupRefused`)."""

    def __init__(self, failed: Callable[[BaseException], None]) -> None:
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Do `work` on the thread, then `done` with its result on the event loop."""

        def run() -> None:
            self._tell(partial(done, work()))

        self._waiting.put(run)

    async def call(self, work: Callable[[], T]) -> T:
        """The result of `work`, or what it raised where nothing was written."""
        future: asyncio.Future[T] = self._loop.create_future()

        def run() -> None:
            try:
                found = work()
            except Stopped:
                raise
            except MusterError as error:
                self._tell(partial(_refuse, future, error))
            else:
                self._tell(partial(_answer, future, found))

        self._waiting.put(run)
        return await future

    async def close(self) -> None:
        """Return when all is done that was asked for."""
        self._waiting.put(None)
        await self._loop.run_in_executor(None, self._thread.join)

    def _run(self) -> None:
        while not self._over and (work := self._waiting.get()) is not None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it ends the node
                self._over = True
                self._tell(partial(self._failed, error))

    def _tell(self, what: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:  # the loop is closed: nobody is there to be told
            self._over = True


def _answer(future: "asyncio.Future[T]", found: T) -> None:
    if not future.done():
        future.set_result(found)


def _refuse(future: "asyncio.Future[T]", error: MusterError) -> None:
    if not future.done():
        future.set_exception(error)
