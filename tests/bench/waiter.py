"""A role whose tasks wait, as those of agents do; and in each process somebody who writes down what
runs, and how late its event loop is.

A line of `WITNESS/PID.txt` is `+ AT` for a start, `- AT` for an end, `l AT SECONDS` for a call that
came so much too late; times are of the machine's monotonic clock.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from workers import Context, resource, role

_TICK = 0.01
_WRITE = 25
"""Ticks between two writes."""


class Witness:
    """Of one process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lines: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        """A handler runs."""
        self._lines.append(f"+ {time.monotonic()}")
        try:
            yield
        finally:
            self._lines.append(f"- {time.monotonic()}")

    async def watch(self) -> None:
        """Measure the loop, and write from time to time."""
        ticks = 0
        while True:
            wanted = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            now = time.monotonic()
            self._lines.append(f"l {now} {now - wanted}")
            ticks += 1
            if ticks % _WRITE == 0:
                self.write()

    def write(self) -> None:
        """Put down what is new."""
        lines, self._lines = self._lines, []
        with self._file.open("a", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)


@resource
async def witness() -> AsyncIterator[Witness]:
    """The one of this process."""
    found = Witness(Path(os.environ["WITNESS"]) / f"{os.getpid()}.txt")
    watching = asyncio.create_task(found.watch())
    try:
        yield found
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        found.write()


@role("waiter", listens="wait.#", concurrency=int(os.environ.get("BENCH_SLOTS", "250")))
async def wait(seconds: float, ctx: Context, seen: Annotated[Witness, witness]) -> None:
    """Wait."""
    with seen.running():
        await asyncio.sleep(seconds)
