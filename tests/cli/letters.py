"""Dead letters in the fleet of a command-line test, put there and looked at without a worker."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bus.backend import Delivery
from bus.bus import Bus
from bus.deadletters import DeadLetter
from contracts.envelope import Envelope, encode
from contracts.outcomes import Reason
from tests.cli.running import Muster
from workers.settings import load
from workers.wiring import open_bus

T = TypeVar("T")


def on_bus(muster: Muster, act: Callable[[Bus], Awaitable[T]]) -> T:
    """What `act` returns on the bus of this fleet."""

    async def run() -> T:
        bus = await open_bus(load(muster.folder, environment=muster.environment))
        try:
            return await act(bus)
        finally:
            await bus.close()

    return asyncio.run(run())


def letter(id_: str, *, ago: float = 0.0, tenant: str = "default", **fields: Any) -> DeadLetter:
    """A letter of the role `greeter` that died so many seconds ago."""
    now = time.time()
    body = fields.pop("body", b'{"name":"nobody"}')
    task = Envelope(
        id=id_, topic="greeter.hello", source="/test", time=now, body=body, tenant=tenant
    )
    given = {"group": "greeter", "reason": Reason.REJECTED, "error": "nobody is there", **fields}
    return DeadLetter(
        id=id_,
        topic=task.topic,
        attempts=1,
        copy=0,
        worker="w1",
        died=now - ago,
        published=now - ago,
        headers=encode(task),
        body=body,
        **given,
    )


def put(muster: Muster, *letters: DeadLetter) -> None:
    """Put them, and bind their roles."""

    async def act(bus: Bus) -> None:
        for group in {each.group for each in letters}:
            await bus.bind(group, [f"{group}.#"])
        for each in letters:
            await bus.dead.put(each)

    on_bus(muster, act)


def dead(muster: Muster) -> dict[str, DeadLetter]:
    """All that are there, by their ids."""

    async def act(bus: Bus) -> dict[str, DeadLetter]:
        return {each.id: each async for each in bus.dead.all()}

    return on_bus(muster, act)


def replayed(muster: Muster, count: int, group: str = "greeter") -> dict[str, Delivery]:
    """What was given back to a group: exactly `count` of them."""

    async def act(bus: Bus) -> dict[str, Delivery]:
        found: list[Delivery] = []
        while len(found) < count:
            found += await bus.pull(group, free=count - len(found), wait=10.0)
        found += await bus.pull(group, free=1, wait=0.1)
        for each in found:
            await bus.forget(each)
        return {each.message.id: each for each in found}

    taken = on_bus(muster, act)
    assert len(taken) == count
    return taken
