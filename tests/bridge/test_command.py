"""The command `muster bridge` on each broker, between a fleet and places of somebody else's."""

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.backend import Delivery
from bus.bus import Bus
from deploy import ports
from tests import brokers
from tests.bridge.bridging import SECONDS, begun, bridged
from tests.bridge.outside import Outside, outside
from tests.bridge.test_each_broker import until_left
from tests.brokers import Broker
from tests.cli.running import GREETER, Ended, Muster, worked
from workers.settings import load
from workers.wiring import open_bus

pytestmark = pytest.mark.slow

COUNT = 200

TAKEN_OVER = 60.0
"""Seconds until everything is through that a killed bridge had in hand: brokers notice after up to
twelve, on a busy machine later."""

BINARY = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "order"}
STRUCTURED = {"content-type": "application/cloudevents+json"}
HALF = {"ce-specversion": "1.0", "ce-id": "9"}


@pytest.fixture(params=brokers.ALONE)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Broker:
    """Each broker by turns."""
    return brokers.tell(brokers.shared(request, request.param), tmp_path)


async def test_foreign_messages_become_tasks_whose_ends_leave_as_events(
    broker: Broker, tmp_path: Path
) -> None:
    """In: plain JSON, both modes of CloudEvents, one event twice, and what does not fit. Out: how
    each ended, once. Meanwhile both are seen at work."""
    event = {"specversion": "1.0", "id": "8", "source": "/shop", "type": "o"}
    with worked(broker.url, tmp_path, "greeter", GREETER) as fleet:
        async with outside(broker.url, "bridge-in") as shop, outside(broker.url) as back:
            out = ("--from", "greeter.#", "--to", back.place, "--name", "out")
            into = ("--from", shop.place, "--to", "greeter.order", "--name", "in")
            with bridged(fleet, *out) as sent, bridged(fleet, *into) as taken:
                await shop.put(b"no JSON")
                await shop.put(b'{"name": "Eve"}', HALF)
                await shop.put(b'{"name": "Ada"}')
                for _ in range(2):  # the same event, as two messages
                    await shop.put(b'{"name": "Bob"}', BINARY)
                whole = {**event, "data": {"name": "Cleo"}}
                await shop.put(json.dumps(whole).encode(), STRUCTURED)
                await shop.put(b'{"name": "nobody"}')
                events = await back.heard(4)
                dead = await dead_of(fleet, 2)
                working = {
                    each["role"]: each["workers"] for each in fleet("ps", "--json").json["roles"]
                }
            assert await shop.left("bridge-in") == 0
        replayed = fleet("dlq", "replay", "--all", "--role", "bridge-in")
    assert "bridge-in does not run" in replayed.err
    assert working == {"greeter": 1, "bridge-in": 1, "bridge-out": 1}
    assert (sent[-1], taken[-1]) == ("4 sent, 0 dead letters", "5 published, 2 dead letters")
    assert len({headers["ce-id"] for headers, _ in events}) == 4
    assert {headers["ce-mustertopic"] for headers, _ in events} == {"greeter.order"}
    said = sorted(json.loads(body).get("text", "") for _, body in events)
    assert said == ["", "Hello, Ada", "Hello, Bob", "Hello, Cleo"]
    (failed,) = [body for headers, body in events if headers["ce-type"] == "muster.task.failed"]
    assert json.loads(failed) == {"reason": "rejected", "error": "nobody is there"}
    assert sorted(each["error"].partition(" (")[0] for each in dead) == [
        "the CloudEvent has no source or no id",
        "the body is not JSON",
    ]


async def dead_of(fleet: Muster, count: int) -> list[dict[str, str]]:
    """So many dead letters of the bridge that leads in."""
    async with asyncio.timeout(SECONDS):
        while True:
            ended: Ended = await asyncio.to_thread(
                fleet, "dlq", "ls", "--role", "bridge-in", "--json"
            )
            found: list[dict[str, str]] = ended.json
            if len(found) == count:
                return found


async def test_bridges_that_are_killed_lose_nothing_and_double_no_task(
    broker: Broker, tmp_path: Path
) -> None:
    """From a place to a topic, and from there to another place, both killed in the middle. What the
    first had in hand comes again, and is known by its name; what the second had leaves again, under
    the same one."""
    name = f"killed-{secrets.token_hex(4)}"
    muster = Muster(tmp_path, MUSTER_BUS_URL=broker.url, MUSTER_FLEET_NAME=name)
    async with (
        outside(broker.url, "bridge-in") as shop,
        outside(broker.url) as back,
        opened(muster) as bus,
    ):
        out = ("--from", "orders.#", "--to", back.place, "--tasks", "--name", "out")
        into = ("--from", shop.place, "--to", "orders.new", "--name", "in")
        await bus.bind("taker", ["orders.#"])
        for number in range(COUNT):
            await shop.put(json.dumps(number).encode())
        async with aside(begun(muster, *out)) as second, aside(begun(muster, *into)) as first:
            found = await taken(bus, 1)
            first.kill()
            await back.heard(1)
            second.kill()
        async with aside(bridged(muster, *out)), aside(bridged(muster, *into)):
            found += await taken(bus, COUNT - len(found))
            left = await until_heard(back, {each.message.id for each in found})
            await until_left(shop, "bridge-in", 0, TAKEN_OVER)
        found += await bus.pull("taker", free=1, wait=0.5)
        assert await shop.left("bridge-in") == 0
    assert sorted(json.loads(each.message.body) for each in found) == list(range(COUNT))
    assert set(left) == set(range(COUNT))


@asynccontextmanager
async def aside(context: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    """What waits when it begins and ends, in a thread: our connections give signs of life."""
    made = await asyncio.to_thread(context.__enter__)
    try:
        yield made
    finally:
        await asyncio.to_thread(context.__exit__, *sys.exc_info())


@asynccontextmanager
async def opened(muster: Muster) -> AsyncIterator[Bus]:
    """The bus of its fleet."""
    bus = await open_bus(load(muster.folder, environment=muster.environment))
    try:
        yield bus
    finally:
        await bus.close()


async def taken(bus: Bus, count: int) -> list[Delivery]:
    """At least so many tasks, done."""
    found: list[Delivery] = []
    async with asyncio.timeout(TAKEN_OVER):
        while len(found) < count:
            batch = await bus.pull("taker", free=200, wait=SECONDS)
            await bus.forget_all(batch)
            found += batch
    return found


async def until_heard(place: Outside, ids: set[str]) -> list[int]:
    """What the events of a place carry, once each of these has come."""
    count = len(ids)
    async with asyncio.timeout(TAKEN_OVER):
        while True:
            found = await place.heard(count)
            missing = ids - {headers["ce-id"] for headers, _ in found}
            if not missing:
                return [json.loads(body) for _, body in found]
            count += len(missing)


async def test_what_cannot_be_joined_is_told_in_three_lines(
    broker: Broker, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A place that is not there, a server that is not there, two ends that are topics."""
    muster = Muster(tmp_path, MUSTER_BUS_URL=broker.url, MUSTER_FLEET_NAME="none-there")
    if request.node.callspec.params["broker"] != "redis":  # where a group makes its stream
        async with outside(broker.url) as place:
            none = place.place.replace(place.name, "none")
        ended = muster("bridge", "--from", none, "--to", "orders.new")
        assert (ended.code, ended.lines[0].partition(":")[0]) == (3, "the broker outside refuses")
    nobody = f"{broker.url.partition('://')[0]}://127.0.0.1:{ports.free()}/x"
    for ends in ((nobody, "orders.new"), ("orders.new", nobody)):
        gone = muster("bridge", "--from", ends[0], "--to", ends[1])
        assert (gone.code, gone.lines[0]) == (3, f"the broker outside does not answer: {nobody}")
    wrong = muster("bridge", "--from", "orders.new", "--to", "other")
    assert (wrong.code, wrong.lines[1]) == (2, "both ends are topics")
