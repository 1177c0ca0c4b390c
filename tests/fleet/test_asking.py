"""Whether a worker hears its bus, asked where it answers probes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from contracts.clock import SystemClock
from workers.fleet.asking import hears_bus
from workers.fleet.seat import Seat, Spec
from workers.fleet.supervisor import Supervisor
from workers.health.endpoint import Endpoint, Page

SAYS = (
    "import os, signal, sys; os.write(0, b'ready ' + sys.argv[1].encode() + b'\\n'); signal.pause()"
)


@asynccontextmanager
async def kept(health: str) -> AsyncIterator[Seat]:
    """Who keeps a process that has said where it answers probes."""
    spec = Spec("r", command=[sys.executable, "-S", "-c", SAYS, health])
    supervisor = Supervisor([spec], SystemClock())
    run = asyncio.create_task(supervisor.run())
    await supervisor.ready(20)
    try:
        yield supervisor.seats()[0]
    finally:
        supervisor.stop()
        supervisor.stop()
        await run


async def test_a_worker_that_is_ready_hears_it() -> None:
    status = HTTPStatus.OK
    endpoint = Endpoint({"/readyz": lambda: Page(status, b"{}\n")})
    endpoint.start("127.0.0.1", 0)
    try:
        async with kept(endpoint.url) as keeper:
            assert keeper.said.health == endpoint.url
            assert await hears_bus(keeper)
            status = HTTPStatus.SERVICE_UNAVAILABLE
            assert not await hears_bus(keeper)
    finally:
        endpoint.close()
    async with kept(endpoint.url) as keeper:
        assert not await hears_bus(keeper), "nobody answers there any more"


async def test_one_that_answers_no_probes_is_taken_to_hear_it() -> None:
    async with kept("") as keeper:
        assert keeper.said.health == ""
        assert await hears_bus(keeper)
