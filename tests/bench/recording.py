"""How fast the recorder moves events from a real broker into a real database.

`python -m tests.bench.recording [--tasks N]`: the mix of events is that of `tests.bench.history`.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from random import Random

import uvloop

from bus.bus import Bus
from contracts.clock import SystemClock
from contracts.topics import EVENTS, RECORDER
from knowledge.history.history import History
from tests.bench.history import events
from tests.servers import NatsServer, PostgresServer, open_folder
from workers.history.recorder import Recorder
from workers.settings import load
from workers.wiring import open_bus

_BATCH = 200


async def _run(nats: NatsServer, url: str, folder: Path, tasks: int) -> str:
    """What it came to."""
    clock = SystemClock()
    flags = {"bus.url": nats.url, "fleet.name": "bench", "history.url": url}
    bus: Bus = await open_bus(load(folder, flags=flags))
    await bus.bind(RECORDER, [EVENTS])
    told = events(tasks, Random(0))
    for first in range(0, len(told), _BATCH):
        await bus._send_unasked(bus._announcer.messages(told[first : first + _BATCH]))
    recorder = Recorder(bus, lambda: History.open(url, clock), clock, name="bench", lease=10.0)
    began = time.perf_counter()
    run = asyncio.create_task(recorder.run())
    while recorder.counts.recorded < len(told):  # noqa: ASYNC110 - it rings no bell
        await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    recorder.stop()
    await run
    await bus.close()
    return f"{len(told) / took:,.0f} events/s recorded, {len(told):,} events"


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.recording", description=__doc__)
    parser.add_argument("--tasks", type=int, default=50_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, open_folder() as state:
        folder = Path(name)
        nats, postgres = NatsServer(folder / "nats"), PostgresServer(state / "state")
        nats.start()
        postgres.start()
        try:
            said = uvloop.run(_run(nats, postgres.url, folder, arguments.tasks))
        finally:
            postgres.stop()
            nats.stop()
    print(said)


if __name__ == "__main__":
    main()
