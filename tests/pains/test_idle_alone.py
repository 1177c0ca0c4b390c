"""Pain 14, at its smallest: one worker that has nothing to do, and is alone: what its process has
to know and no server tells by itself, it has to ask."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from tests import brokers
from tests.forms import form
from tests.pains.idling import counting, idle
from tests.pains.journal import sleepers
from tests.processes import worker_processes
from workers.fleet.presence import present
from workers.settings import Loaded, load
from workers.wiring import Fleet, open_bus

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


_BEGUN = 1.5
"""Seconds in which a worker that can be seen has begun to wait."""


@pytest.mark.long(150)
@pytest.mark.promise(18)
@pytest.mark.parametrize("which", brokers.REAL)
async def test_a_worker_that_is_idle_alone_leaves_its_broker_alone(
    request: pytest.FixtureRequest, which: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """By the servers' own count, all that its one process sends, nobody else being connected: less
    than one operation a second. And it hears at once of what comes then."""
    server, roles = counting(request, which), sleepers(tmp_path)
    brokers.tell(server, tmp_path)
    name = f"alone-{secrets.token_hex(4)}"
    flags = {"bus.url": server.url, "fleet.name": name, "fleet.lease": 10.0}
    arguments = (server.url, name, tmp_path)
    with worker_processes(*arguments, lease=10.0, roles=str(roles)) as workers:
        pids = workers.start("sleeper")
        async with asyncio.timeout(110):
            await there(load(tmp_path, flags=flags))
            await asyncio.sleep(_BEGUN)
            found = await idle(server, None, pids, 1, form(20.0, 60.0))
            took = await napped(load(tmp_path, flags=flags))
    happened(f"idle alone: {found}; then woken within {took:.3f} s")
    assert found.operations < 1.0
    assert found.bus < 1.0
    assert found.core < 0.01
    assert took < 1.0


async def there(loaded: Loaded) -> None:
    """Return when a worker can be seen."""
    async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
        while not await present(fleet.bus.store, "sleeper"):  # noqa: ASYNC110 - it asks a server
            await asyncio.sleep(0.05)


async def napped(loaded: Loaded) -> float:
    """Seconds that the worker takes for a task that is over at once."""
    async with Fleet(await open_bus(loaded), SystemClock()) as fleet:
        began = time.monotonic()
        await (await fleet.publish("nap.x", {"seconds": 0.0})).result(10)
        return time.monotonic() - began
