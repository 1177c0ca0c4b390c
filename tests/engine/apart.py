"""Roles whose tasks run in child processes; each does what its payload says."""

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contracts.outcomes import Reject, Retry, Snooze
from workers import Context, SyncContext, role
from workers.sdk.errors import TaskFailed, UnknownRole


class Do(BaseModel):
    """What to do, and a place to say so."""

    what: str = "echo"
    value: Any = None
    file: str = ""

    def say(self, *words: object) -> None:
        """Leave a line for the test."""
        with Path(self.file).open("a", encoding="utf-8") as file:
            file.write(" ".join(map(str, words)) + "\n")


async def _echo(do: Do, ctx: Context) -> Any:
    return {
        "value": do.value,
        "id": ctx.id,
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "topic": ctx.topic,
        "pid": os.getpid(),
    }


async def _error(do: Do, ctx: Context) -> Any:
    raise ValueError(do.value)


async def _cancel(do: Do, ctx: Context) -> Any:
    raise asyncio.CancelledError


async def _outcome(do: Do, ctx: Context) -> Any:
    kinds: dict[str, Any] = {
        "reject": Reject("no use"),
        "snooze": Snooze(3.0, "later"),
        "retry": Retry(2.0, "again"),
    }
    return kinds[do.value]


async def _signal(do: Do, ctx: Context) -> Any:
    os.kill(os.getpid(), do.value)


async def _exit(do: Do, ctx: Context) -> Any:
    os._exit(do.value)


async def _sys_exit(do: Do, ctx: Context) -> Any:
    sys.exit(do.value)


class UncommonError(BaseException):
    """One that `except Exception` lets pass."""


class UnspeakableError(Exception):
    """One that fails when it is asked what it says."""

    def __str__(self) -> str:
        raise self


async def _raise(do: Do, ctx: Context) -> Any:
    kinds: dict[str, BaseException] = {
        "interrupt": KeyboardInterrupt("no key"),
        "generator": GeneratorExit("no generator"),
        "uncommon": UncommonError("no Exception"),
        "group": BaseExceptionGroup("several", [UncommonError()]),
        "half": ValueError("half a character: \udcff"),
        "unspeakable": UnspeakableError(),
        "memory": MemoryError("of its own"),
    }
    raise kinds[do.value]


async def _log_half(do: Do, ctx: Context) -> Any:
    ctx.log.info("half a character: \udcff", odd={"\udcff": ["\udcff", object()]})
    return "logged"


async def _segfault(do: Do, ctx: Context) -> Any:
    ctypes.string_at(0)


async def _parent(do: Do, ctx: Context) -> Any:
    os.kill(os.getppid(), signal.SIGKILL)
    await asyncio.sleep(60)


async def _hang(do: Do, ctx: Context) -> Any:
    """With a grandchild, until it is ended."""
    nap = [sys.executable, "-c", "import time; time.sleep(600)"]
    grandchild = subprocess.Popen(nap)  # noqa: ASYNC220 - quick enough
    do.say("pids", os.getpid(), grandchild.pid)
    try:
        await asyncio.sleep(600)
    except asyncio.CancelledError:
        do.say("cancelled", ctx.cancelled)
        raise


async def _block(do: Do, ctx: Context) -> Any:
    """Without giving the event loop a turn, and without a care for signals."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    do.say("pids", os.getpid())
    while not (do.value and ctx.cancelled):
        time.sleep(0.01)  # noqa: ASYNC251 - that is the point
    do.say("cancelled", ctx.cancelled)
    while True:
        time.sleep(0.01)  # noqa: ASYNC251


async def _eat(do: Do, ctx: Context) -> Any:
    return len(bytearray(do.value * 1024 * 1024))


async def _eat_by_another(do: Do, ctx: Context) -> Any:
    """A process it starts holds the memory."""
    eats = f"b = b'x' * {60 * 1024 * 1024}; import time; time.sleep(600)"
    for _ in range(do.value):
        subprocess.Popen([sys.executable, "-c", eats])  # noqa: ASYNC220
    await asyncio.sleep(600)


async def _open(do: Do, ctx: Context) -> Any:
    files = [tempfile.TemporaryFile() for _ in range(do.value)]  # noqa: SIM115
    for file in files:
        file.close()
    return len(files)


async def _progress(do: Do, ctx: Context) -> Any:
    await ctx.progress(0.25, "a quarter", words=3)
    await ctx.progress(0.5, "half", what=object())
    ctx.log.info("half way", words=3, thing=Path("x"))
    try:
        raise KeyError("k")
    except KeyError:
        ctx.log.warning("caught", exc_info=True)
    logging.getLogger("quiet").debug("not told")
    return None


async def _stream(do: Do, ctx: Context) -> Any:
    for n in range(do.value):
        await ctx.stream({"n": n})
    return do.value


async def _publish(do: Do, ctx: Context) -> Any:
    first = await ctx.publish("leaf.x", {"n": 1.0, "big": 2**70})
    second = await ctx.publish("leaf.x", do.value, priority=None, delay=0.5)
    return [first, second]


async def _publish_nowhere(do: Do, ctx: Context) -> Any:
    await ctx.publish("nobody.listens", 1)


async def _call(do: Do, ctx: Context) -> Any:
    return await asyncio.gather(*(ctx.call("leaf", n) for n in range(do.value)))


async def _call_badly(do: Do, ctx: Context) -> Any:
    found: list[list[Any]] = []
    try:
        await ctx.call("leaf", "die")
    except TaskFailed as error:
        found.append([str(error.result.reason), error.result.error])
    try:
        await ctx.call("no-such-role", 1)
    except UnknownRole as error:
        found.append([error.message, error.details, list(error.actions)])
    return found


async def _call_briefly(do: Do, ctx: Context) -> Any:
    try:
        async with asyncio.timeout(0.2):
            await ctx.call("leaf", "hang")
    except TimeoutError:
        return "gave up"


async def _rubbish(do: Do, ctx: Context) -> Any:
    """Writes on every socket it finds."""
    for number in range(3, 20):
        try:
            os.write(number, b"\xff" * 64)
        except OSError:
            continue
    await asyncio.sleep(60)


_DOES: dict[str, Callable[[Do, Context], Awaitable[Any]]] = {
    name.removeprefix("_"): value
    for name, value in globals().items()
    if name.startswith("_") and asyncio.iscoroutinefunction(value)
}


@role("apart", listens="apart.#", isolation="process", attempts=2, backoff=0.01)
async def apart(do: Do, ctx: Context) -> Any:
    """Does as it is told."""
    return await _DOES[do.what](do, ctx)


@role("brief", listens="brief.#", isolation="process", attempts=1, timeout=0.5)
async def brief(do: Do, ctx: Context) -> Any:
    """The same, for half a second."""
    return await _DOES[do.what](do, ctx)


@role(
    "small", listens="small.#", isolation="process", attempts=1, memory_mb=150, files=10, timeout=20
)
async def small(do: Do, ctx: Context) -> Any:
    """The same, with little memory and few files."""
    return await _DOES[do.what](do, ctx)


@role("shared", listens="shared.#", attempts=3, backoff=0.01)
async def shared(do: Do, ctx: Context) -> Any:
    """The same, in its worker's process unless it is suspect."""
    return await _DOES[do.what](do, ctx)


@role("thread", listens="thread.#", isolation="process", attempts=1, timeout=1.0)
def thread(do: Do, ctx: SyncContext) -> Any:
    """Plain, in a thread of a process of its own."""
    ctx.progress(0.5, "half")
    if do.what == "deaf":
        do.say("pids", os.getpid())
        time.sleep(60)
    return [ctx.call("leaf", do.value), threading.current_thread() is threading.main_thread()]


@role("single", listens="single.#", isolation="process", delivery="once")
async def single(do: Do, ctx: Context) -> Any:
    """The same, at most once."""
    do.say("begun", ctx.id)
    return await _DOES[do.what](do, ctx)


@role("leaf", listens="leaf.#", attempts=1)
async def leaf(value: Any, ctx: Context) -> Any:
    """Called and published to by the others."""
    if value == "hang":
        await asyncio.sleep(600)
    return Reject("as told") if value == "die" else value
