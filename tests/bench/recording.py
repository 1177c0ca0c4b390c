"""How fast the recorder moves events from a real broker into a real database.

`python -m tests.bench.recording [--tasks N]`: each task is told by two events, its publication and
its end with a payload and a result of 200 bytes.
"""

import argparse
import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from bus.bus import Bus
from contracts.clock import SystemClock
from contracts.events import Event, Kind
from contracts.ids import new_id
from contracts.topics import EVENTS, RECORDER
from knowledge.history.history import History
from tests.servers import NatsServer, PostgresServer, open_folder
from workers.history.recorder import Recorder
from workers.settings import load
from workers.wiring import open_bus

_BODY = '"' + "x" * 198 + '"'
_BATCH = 200


_PUBLISHED = Event(
    kind=Kind.PUBLISHED,
    at=0.0,
    task="",
    topic="bench.x",
    role="",
    copy=0,
    attempt=0,
    worker="/bench",
    pid=0,
)
_ENDED = replace(
    _PUBLISHED,
    kind=Kind.SUCCEEDED,
    role="bench",
    attempt=1,
    worker="bench-1",
    pid=1,
    data={"seconds": 0.001, "payload": _BODY, "result": _BODY},
)


def _events(count: int) -> list[Event]:
    """What is told of so many tasks."""
    found: list[Event] = []
    now = time.time()
    for number in range(count):
        task, at = new_id(now), now + number * 1e-4
        found.append(replace(_PUBLISHED, task=task, at=at, published=at))
        found.append(replace(_ENDED, task=task, at=at + 0.01, published=at))
    return found


async def _run(nats: NatsServer, url: str, folder: Path, tasks: int) -> float:
    """Events per second."""
    clock = SystemClock()
    flags = {"bus.url": nats.url, "fleet.name": "bench", "history.url": url}
    bus: Bus = await open_bus(load(folder, flags=flags))
    await bus.bind(RECORDER, [EVENTS])
    events = _events(tasks)
    for first in range(0, len(events), _BATCH):
        await bus._send_unasked(bus._announcer.messages(events[first : first + _BATCH]))
    recorder = Recorder(bus, lambda: History.open(url, clock), clock, name="bench", lease=10.0)
    began = time.perf_counter()
    run = asyncio.create_task(recorder.run())
    while recorder.counts.recorded < len(events):  # noqa: ASYNC110 - it rings no bell
        await asyncio.sleep(0.05)
    took = time.perf_counter() - began
    recorder.stop()
    await run
    await bus.close()
    return len(events) / took


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
            rate = uvloop.run(_run(nats, postgres.url, folder, arguments.tasks))
        finally:
            postgres.stop()
            nats.stop()
    print(f"{rate:,.0f} events/s recorded, {2 * arguments.tasks:,} events")


if __name__ == "__main__":
    main()
