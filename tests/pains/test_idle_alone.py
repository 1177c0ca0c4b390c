"""Pain 14, at its smallest: one worker that has nothing to do, and is alone on Redis, which says
nothing by itself: what its process has to know, it has to ask."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.forms import form
from tests.pains.journal import sleepers
from tests.pains.remembering import remembering
from tests.redis_server import RedisServer
from tests.watching import commands, operations

pytestmark = [pytest.mark.redis, pytest.mark.postgres, pytest.mark.slow]

_WARM = 1.5
"""Seconds after its last task: what that has left to do is done."""


@pytest.mark.long(120)
@pytest.mark.promise(18)
async def test_a_worker_that_is_idle_alone_leaves_its_broker_alone(
    own_redis: Callable[..., RedisServer],
    history_url: str,
    tmp_path: Path,
    happened: Callable[[str], None],
) -> None:
    """By the server's own count, all that its one process sends: less than one operation a second.
    And it hears at once of what comes then."""
    server, name, roles = own_redis(), f"alone-{secrets.token_hex(4)}", sleepers(tmp_path)
    arguments = (server, history_url, name, tmp_path)
    seconds = form(5.0, 60.0)
    async with remembering(*arguments, roles=roles, lease=10.0) as it, asyncio.timeout(110):
        it.workers.start("sleeper")
        await it.seen("sleeper")
        await (await it.fleet.publish("nap.x", {"seconds": 0.0})).result(10)
        await asyncio.sleep(_WARM)
        before, each, began = operations(server), commands(server), time.monotonic()
        await asyncio.sleep(seconds)
        found = (operations(server) - before) / (time.monotonic() - began)
        sent = {name: n - each.get(name, 0) for name, n in commands(server).items()}
        woken = time.monotonic()
        await (await it.fleet.publish("nap.x", {"seconds": 0.0})).result(10)
        took = time.monotonic() - woken
    asked = {name: n for name, n in sent.items() if n}
    happened(f"idle alone: {found:.2f} operations/s over {seconds:g} s {asked}; then {took:.3f} s")
    assert found < 1.0
    assert took < 1.0
