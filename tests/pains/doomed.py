"""`python -m tests.pains.doomed FOLDER`: a scheduler that kills itself at the worst moments.

A file `MOMENT-ID` in `FOLDER` dooms whoever is about to publish the task of that id and takes the
file away: it dies with -9, while it holds the schedule. In everything else it is the product's own
scheduler process.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bus.bus import Bus
from bus.publishing import Publishing
from contracts.envelope import Envelope
from workers.scheduling import schedule
from workers.settings import load

MOMENTS = ("before", "unnoted", "after")
"""Before it is published; when the broker has it and its key is not noted yet; when all is done but
that the schedule has not moved on."""


class Doom:
    """Publishes as the bus does, unless it dies of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._publish = Bus.publish
        self._hold = Publishing.hold

    async def publish(self, bus: Bus, tasks: Sequence[Envelope], **more: Any) -> frozenset[str]:
        """In place of `Bus.publish`."""
        ids = [task.id for task in tasks]
        self._perhaps("before", ids)
        held = await self._publish(bus, tasks, **more)
        self._perhaps("after", ids)
        return held

    async def hold(self, publishing: Publishing, ids: Iterable[str], seconds: float) -> None:
        """In place of `Publishing.hold`."""
        noted = list(ids)
        self._perhaps("unnoted", noted)
        await self._hold(publishing, noted, seconds)

    def _perhaps(self, moment: str, ids: Iterable[str]) -> None:
        for task in ids:
            try:
                (self._folder / f"{moment}-{task}").unlink()
            except FileNotFoundError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path) -> None:
    """Schedule until SIGTERM, or doom."""
    doom = Doom(folder)

    async def publish(bus: Bus, tasks: Sequence[Envelope], **more: Any) -> frozenset[str]:
        return await doom.publish(bus, tasks, **more)

    async def hold(publishing: Publishing, ids: Iterable[str], seconds: float) -> None:
        await doom.hold(publishing, ids, seconds)

    Bus.publish = publish  # type: ignore[method-assign,assignment]
    Publishing.hold = hold  # type: ignore[method-assign,assignment]
    asyncio.run(schedule(load(), lambda *_: print("ready", flush=True)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
