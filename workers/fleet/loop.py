"""An event loop in a thread of its own, for code that has none."""

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import CancelledError as Withdrawn
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from bus.errors import Closed
from workers.fleet.errors import Forked

T = TypeVar("T")

_END = 10.0
"""Seconds the thread has to end; it is a daemon, so one that does not keeps nobody."""


class LoopThread:
    """Runs coroutines for any number of threads. Raises `Closed` after `close`, and `Forked` in a
    process that was forked from the one it was made in: there the thread does not exist."""

    def __init__(self, name: str) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def ours(self) -> bool:
        """Whether this is the process it was made in."""
        return self._pid == os.getpid()

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` returns or raises. Whatever ends the waiting, such as Ctrl-C, ends it too."""
        future = self._begin(work)
        try:
            return future.result()
        except Withdrawn:
            raise _closed() from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[T]) -> Iterator[T]:
        """The items of an asynchronous generator, which is closed with this one."""
        try:
            while True:
                try:
                    item = self.wait(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            if self._is_this_thread:  # collected here: nobody may wait for the loop
                self._loop.create_task(_closed_items(items))
            elif self.ours:
                with suppress(Closed):
                    self.wait(items.aclose())

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Do a `last` thing, then end the loop and its thread. Does nothing the second time. Called
        in that thread, as when something is collected there, it does not wait."""
        with self._lock:
            if self._closed or not self.ours:
                last.close()
                return
            self._closed = True
            future = asyncio.run_coroutine_threadsafe(last, self._loop)
        if self._is_this_thread:
            future.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
            return
        try:
            future.result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_END)

    @property
    def _is_this_thread(self) -> bool:
        return self.ours and threading.current_thread() is self._thread

    def _begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        if not self.ours:
            work.close()
            raise Forked(self._pid)
        with self._lock:
            if self._closed:
                work.close()
                raise _closed()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


def _closed() -> Closed:
    return Closed(
        "the connection to the fleet is closed",
        details="its close() was called, or its block was left",
        actions=("connect again: `Fleet.connect_sync()`",),
    )


async def _closed_items(items: AsyncGenerator[T]) -> None:
    await items.aclose()


async def _next(items: AsyncGenerator[T]) -> T:
    return await anext(items)
