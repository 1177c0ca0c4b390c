"""muster: calls of 500 tasks, two under way; every guarantee on, and somebody bound to the events,
so that they are kept durably. Its worker is `muster work noop` with 100 places."""

import os
from pathlib import Path

import uvloop

from contracts.topics import EVENTS
from tests.bench import measures
from tests.bench.side_by_side.adapters.counting import PAYLOAD, TASKS
from workers.settings import load
from workers.wiring import open_bus


async def _publish() -> None:
    bus = await open_bus(load(Path.cwd(), flags={"bus.url": os.environ["BENCH_URL"]}))
    await bus.bind("recorder", [EVENTS])
    await bus.bind("noop", ["bench.noop"])
    print(await measures._publish(bus, TASKS, PAYLOAD))
    await bus.close()


if __name__ == "__main__":
    uvloop.run(_publish())
