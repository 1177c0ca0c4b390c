"""Threads that belong to the run which asked for them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

from typing_extensions import override

T = TypeVar("T")


class ContextThreads(ThreadPoolExecutor):
    """An executor whose threads know the context of the call: `run_in_executor` passes none on,
    unlike `asyncio.to_thread`."""

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> "Future[T]":
        """As the executor does."""
        return super().submit(copy_context().run, fn, *args, **kwargs)
