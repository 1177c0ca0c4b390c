"""How fast events get into history: `python -m tests.bench.history`.

The mix is that of a fleet: per task one event of its publication, a start for every second one
(short runs are told by their end alone) and an end with a payload and a result of 200 bytes each.
A publication and its end are some batches apart. The server is the embedded one: fsync and
synchronous_commit are on.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial
from random import Random
from statistics import median

import asyncpg
import uvloop

from contracts.clock import SystemClock
from contracts.events import Event, Kind
from contracts.ids import new_id
from knowledge.history.history import History
from tests.servers import PostgresServer, open_folder

BODY = '{"x": "' + "p" * 191 + '"}'
"""200 bytes of JSON text."""


def events(tasks: int, rng: Random) -> list[Event]:
    """The events of `tasks` tasks in the order of their time."""
    now = time.time()
    made = [event for number in range(tasks) for event in _task(now + number * 1e-4, rng)]
    return sorted(made, key=lambda e: e.at)


def _task(at: float, rng: Random) -> Iterator[Event]:
    event = partial(Event, task=new_id(at), topic="bench.noop", published=at, copy=0)
    yield event(kind=Kind.PUBLISHED, at=at, role="", attempt=0, worker="bench", pid=0)
    run = partial(event, role="noop", attempt=1, worker="noop-host-1-4711", pid=4711)
    if rng.random() < 0.5:
        yield run(kind=Kind.STARTED, at=at + 0.3)
    data = {"seconds": 0.1, "payload": BODY, "result": BODY}
    yield run(kind=Kind.SUCCEEDED, at=at + 0.4, data=data)


async def measure(url: str, rounds: int, tasks: int, batch: int) -> list[float]:
    """Events per second of each round; all rounds fill the same tables."""
    history = await History.open(url, SystemClock())
    await history.retain(time.time())
    rates = []
    for number in range(rounds):
        told = events(tasks, Random(number))
        before = time.perf_counter()
        for begin in range(0, len(told), batch):
            await history.record(told[begin : begin + batch], upto=time.time() - 1.0)
        rates.append(len(told) / (time.perf_counter() - before))
    await history.close()
    return rates


async def _filled(url: str) -> tuple[int, int]:
    link = await asyncpg.connect(url)
    row = await link.fetchrow(
        "SELECT pg_database_size(current_database()) AS bytes, count(*) AS events"
        " FROM muster.events"
    )
    await link.close()
    return (row["bytes"], row["events"]) if row else (0, 0)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=20_000, help="per round, 2.5 events each")
    parser.add_argument("--batch", type=int, default=10_000, help="events recorded in one call")
    o = parser.parse_args()
    with open_folder() as folder:
        server = PostgresServer(folder / "state")
        server.start()
        try:
            rates = uvloop.run(measure(server.url, o.rounds, o.tasks, o.batch))
            size, count = uvloop.run(_filled(server.url))
        finally:
            server.stop()
    print(f"{o.rounds} rounds of {o.tasks:,} tasks, {o.batch:,} events a call")
    print(f"events/s: least {min(rates):,.0f}, median {median(rates):,.0f}, most {max(rates):,.0f}")
    print(f"on disk: {size / count:,.0f} bytes an event, {size / count * 2.5:,.0f} a task")


if __name__ == "__main__":
    main()
