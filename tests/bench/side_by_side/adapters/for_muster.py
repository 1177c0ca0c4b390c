"""muster: calls of 500 tasks, two under way; every guarantee on, and somebody bound to the events,
so that they are kept durably. Its worker is `muster work noop` with 100 places."""

import os
import signal
from pathlib import Path

import uvloop

from contracts.topics import EVENTS
from tests.bench import measures
from tests.bench.roles import Nothing
from tests.bench.side_by_side.adapters import counting
from workers import Context, role
from workers.settings import load
from workers.wiring import open_bus

_counting = counting.Counting()


@role("noop", listens="bench.noop", concurrency=100)
async def noop(payload: Nothing, ctx: Context) -> None:
    """Count, and let the process drain when it has seen all: it ends when every one is settled."""
    if _counting.seen():
        os.kill(os.getpid(), signal.SIGTERM)


async def _publish() -> None:
    bus = await open_bus(load(Path.cwd(), flags={"bus.url": counting.URL}))
    await bus.bind("recorder", [EVENTS])
    await bus.bind("noop", ["bench.noop"])
    print(await measures._publish(bus, counting.TASKS, counting.PAYLOAD))
    await bus.close()


if __name__ == "__main__":
    uvloop.run(_publish())
