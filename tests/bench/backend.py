"""A backend alone, without `Bus`, beside the bare client of its broker in the same rounds.

    python -m tests.bench.backend --broker redis [--rounds 7] [--tasks 20000]

For those who change a backend; what users get is measured by `muster bench bus`.
"""

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from statistics import median
from typing import Any

import uvloop

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.choice import open_parts
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.bench.batches import BATCH, HEADERS, PULL, two_at_a_time
from tests.bench.bus import RAW, Raw
from tests.bench.servers import Bench, server

_LANES = (HIGH, RETRY, NORMAL, LOW)


async def rates(bench: Bench, n: int, size: int = 500) -> tuple[float, float]:
    """Messages a second published, two batches under way, and pulled and settled."""
    fleet = f"b{uuid.uuid4().hex[:10]}"
    terms = Terms(url=bench.url, fleet=fleet, clock=SystemClock(), database=bench.database)
    parts = await open_parts(terms)
    backend, body = parts.backend, b"x" * size
    await backend.bind("g", ["bench.#"])

    async def publish(first: int) -> None:
        numbers = range(first, min(first + BATCH, n))
        tasks = [Message(f"task-{k}", 0, "bench.noop", body, dict(HEADERS)) for k in numbers]
        await backend.publish(tasks)

    published = await two_at_a_time(publish, n)
    started, got = time.perf_counter(), 0
    settling: list[asyncio.Task[Any]] = []
    while got < n:
        held = await backend.pull("g", _LANES, limit=PULL, wait=1)
        settling.append(asyncio.create_task(backend.settle(held)))
        got += len(held)
        if len(settling) > 1:
            await settling.pop(0)
    await asyncio.gather(*settling)
    consumed = n / (time.perf_counter() - started)
    await backend.unbind("g", drop=True)
    await parts.close()
    return published, consumed


async def measure(client: Raw, bench: Bench, rounds: int, n: int) -> None:
    """Print both by turns; the ratios are of the same round."""
    ratios: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        theirs, mine = await client.rates(bench, n), await rates(bench, n)
        for what, found, one, other in zip(
            ("publish", "consume"), ratios, mine, theirs, strict=True
        ):
            found.append(one / other)
            print(f"{what} {one:8,.0f} of {other:8,.0f} ({found[-1]:.2f})", end="   ")
        print(flush=True)
    publish, consume = map(median, ratios)
    print(f"medians of the ratios: publish {publish:.2f} (0.8), consume {consume:.2f} (0.6)")


def main(words: Sequence[str]) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.backend")
    parser.add_argument("--broker", choices=RAW, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tasks", type=int, default=20_000)
    options = parser.parse_args(words)
    with server(options.broker) as bench:
        uvloop.run(measure(RAW[options.broker], bench, options.rounds, options.tasks))


if __name__ == "__main__":
    main(sys.argv[1:])
