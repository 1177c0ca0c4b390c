"""Roles that fail in every way Python knows, and say on disk when they begin."""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from workers import Context, Reject, Retry, SyncContext, role


class OddError(Exception):
    """Says what no database and no encoding takes."""

    def __str__(self) -> str:
        return "nul \0, half a character \udcff, bell \a"


class UnspeakableError(Exception):
    """Fails when it is asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("it does not speak")


class SilentError(BaseException):
    """One that `except Exception` lets pass."""


def _raising(make: Callable[[], BaseException]) -> Callable[[], object]:
    def fail() -> object:
        raise make()

    return fail


def _deep() -> object:
    return _deep()


def _stop() -> object:
    return next(iter(()))


def _huge() -> object:
    return "x" * 2_000_000


WAYS: Mapping[str, Callable[[], object]] = MappingProxyType(
    {
        "plain": _raising(lambda: ValueError("no such value")),
        "odd": _raising(OddError),
        "unspeakable": _raising(UnspeakableError),
        "endless": _raising(lambda: ValueError("very " * 200_000)),
        "group": _raising(lambda: ExceptionGroup("several", [ValueError("a"), KeyError("b")])),
        "deep": _deep,
        "memory": _raising(MemoryError),
        "late": _raising(TimeoutError),
        "stop": _stop,
        "exit": _raising(lambda: SystemExit(3)),
        "silent": _raising(lambda: SilentError("not an Exception")),
        "base-group": _raising(lambda: BaseExceptionGroup("base", [SilentError("one")])),
        "generator": _raising(GeneratorExit),
        "interrupt": _raising(lambda: KeyboardInterrupt("as if somebody had pressed Ctrl-C")),
        "cancelled": _raising(lambda: asyncio.CancelledError("of itself")),
        "unwritable": object,
        "huge": _huge,
        "reject": lambda: Reject("not wanted"),
        "retry": lambda: Retry(reason="again, please"),
        "no-retry": lambda: Retry(after=float("nan")),
    }
)


def begin(handler: str, way: str, task: str, attempt: int) -> None:
    """Say so."""
    with Path(os.environ["WAYS"]).open("a", encoding="utf-8") as file:
        file.write(f"{handler} {way} {task} {attempt}\n")


@role("awaits", listens="fail.awaits", attempts=2, backoff=0.01, concurrency=4)
async def awaits(way: str, ctx: Context) -> object:
    """Fail on the event loop."""
    begin("awaits", way, ctx.id, ctx.attempt)
    return WAYS[way]()


@role("plain", listens="fail.plain", attempts=2, backoff=0.01, concurrency=4)
def plain(way: str, ctx: SyncContext) -> object:
    """Fail in a thread."""
    begin("plain", way, ctx.id, ctx.attempt)
    return WAYS[way]()


@role("apart", listens="fail.apart", attempts=2, backoff=0.01, isolation="process")
async def apart(way: str, ctx: Context) -> object:
    """Fail in a process of its own."""
    begin("apart", way, ctx.id, ctx.attempt)
    return WAYS[way]()
