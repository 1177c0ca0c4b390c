"""How soon a waiting pull has what was published, beside the raw client on the same server."""

import asyncio
import time
import uuid
from statistics import quantiles

import pytest

from bus.backend import Lane, LaneName, Message
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from contracts.clock import SystemClock
from tests.bench import raw_nats
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

ROUNDS, EACH = 6, 30
WITHIN = 0.002
"""Seconds that a wake may take longer than the raw driver's own delivery (promise 6)."""


async def ours(server: NatsServer, n: int, slices: int) -> list[float]:
    """Seconds from the call of publish until a pull that waits has the message, `n` times; one
    connection publishes, another pulls, in every slice by turns."""
    lanes = [Lane(name, number) for name in LaneName for number in range(slices)]
    fleet = f"t{uuid.uuid4().hex[:12]}"
    links = [
        await connect(server.url, fleet=fleet, lease=10.0, slices=slices, clock=SystemClock())
        for _ in range(2)
    ]
    publisher, puller = map(NatsBackend, links)
    await publisher.bind("g", ["work.#"])
    found: list[float] = []
    pull = asyncio.create_task(puller.pull("g", lanes, limit=1, wait=30.0))
    for number in range(n + 1):
        await asyncio.sleep(0.003)  # time for the bell to lie at the server
        started = time.perf_counter()
        lane = Lane(LaneName.NORMAL, number % slices)
        await publisher.publish([Message(f"m{number}", 0, "work.a", b"x" * 500, lane=lane)])
        deliveries = await pull
        found.append(time.perf_counter() - started)
        pull = asyncio.create_task(puller.pull("g", lanes, limit=1, wait=30.0))
        await puller.settle(deliveries)
    pull.cancel()
    await asyncio.wait([pull])
    for backend, link in zip((publisher, puller), links, strict=True):
        await backend.close()
        await link.close()
    return found[1:]


@pytest.mark.promise(6, 7)
@pytest.mark.parametrize("slices", [1, 16])
async def test_a_wake_is_within_two_milliseconds_of_the_raw_driver(
    nats_server: NatsServer, slices: int
) -> None:
    """6: by turns in one run; their first quartiles, since other work on the machine only adds."""
    raw: list[float] = []
    bus: list[float] = []
    for _ in range(ROUNDS):
        raw += await raw_nats.latency(nats_server.url, EACH)
        bus += await ours(nats_server, EACH, slices)
    quick_raw, quick_bus = quantiles(raw)[0], quantiles(bus)[0]
    print(f"publish to delivery: raw {quick_raw * 1e3:.2f} ms, bus {quick_bus * 1e3:.2f} ms")
    assert quick_bus - quick_raw <= WITHIN
