"""A time limit on a run, cheaper than a general one: every task pays for it."""

import asyncio
from types import TracebackType
from typing import Self


class TimeLimit:
    """Cancels the running `task` (found if not given, which takes longer) `seconds` after the
    block was entered, and raises `TimeoutError` instead. `expired` tells a time limit from a
    `TimeoutError` of the block's own.

    Cancellations are counted as `asyncio.timeout` does (Python 3.11, `Lib/asyncio/timeouts.py`), so
    that a cancellation from outside at the same moment is not swallowed.
    """

    __slots__ = ("_before", "_handle", "_seconds", "_task", "expired")

    def __init__(self, seconds: float, task: asyncio.Task[None] | None = None) -> None:
        self.expired = False
        self._seconds = seconds
        self._task = task
        self._handle: asyncio.TimerHandle | None = None
        self._before = 0

    def __enter__(self) -> Self:
        task = self._task = self._task or asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        self._before = task.cancelling()
        self._handle = asyncio.get_running_loop().call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if not self.expired or self._task is None:
            return
        ours = self._task.uncancel() <= self._before
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def _expire(self) -> None:
        self.expired = True
        if self._task is not None:
            self._task.cancel()
