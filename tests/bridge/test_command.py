"""The command `muster bridge`, between a fleet and a stream of somebody else's on real NATS."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext

from deploy import ports
from tests.bridge.bridging import SECONDS, bridged
from tests.cli.running import GREETER, Muster, worked
from tests.servers import NatsServer
from workers.settings import load
from workers.wiring import open_bus

pytestmark = [pytest.mark.nats, pytest.mark.slow]

COUNT = 400


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """A fleet of its own where one worker greets."""
    folder = tmp_path_factory.mktemp("bridged")
    with worked(nats_server.url, folder, "greeter", GREETER) as muster:
        yield muster


@pytest.fixture
async def outside(nats_server: NatsServer) -> AsyncIterator[JetStreamContext]:
    """A plain client on the same server."""
    client = await nats.connect(nats_server.url)
    yield client.jetstream()
    await client.close()


async def stream_of(outside: JetStreamContext) -> tuple[str, str]:
    """A stream of somebody else's, and its subject."""
    name = f"ORDERS-{secrets.token_hex(4)}"
    await outside.add_stream(name=name, subjects=[f"{name}.>"])
    return name, f"{name}.new"


async def acknowledged(outside: JetStreamContext, stream: str) -> None:
    """Wait until the bridge has answered for everything in the stream."""
    async with asyncio.timeout(SECONDS):
        while True:
            (info,) = await outside.consumers_info(stream)
            if not info.num_pending and not info.num_ack_pending:
                return
            await asyncio.sleep(0.05)


async def test_foreign_messages_become_tasks_whose_ends_leave_as_events(
    fleet: Muster, nats_server: NatsServer, outside: JetStreamContext
) -> None:
    """In: plain JSON, both modes of CloudEvents, and one event twice. Out: how each ended."""
    stream, subject = await stream_of(outside)
    back, ended = await stream_of(outside)
    topic = f"greeter.{stream.lower()}"
    source = f"{nats_server.url}/{subject}?stream={stream}"
    target = f"{nats_server.url}/{ended}?stream={back}"
    binary = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "order"}
    structured = {"specversion": "1.0", "id": "8", "source": "/shop", "type": "order"}
    structured["data"] = {"name": "Cleo"}  # type: ignore[assignment]
    with bridged(fleet, "--from", topic, "--to", target):
        with bridged(fleet, "--from", source, "--to", topic):
            await outside.publish(subject, b'{"name": "Ada"}')
            for _ in range(2):  # the same event, as two messages
                await outside.publish(subject, b'{"name": "Bob"}', headers=binary)
            await outside.publish(
                subject,
                json.dumps(structured).encode(),
                headers={"content-type": "application/cloudevents+json"},
            )
            await outside.publish(subject, b'{"name": "nobody"}')
            await acknowledged(outside, stream)
        reader = await outside.subscribe(ended, ordered_consumer=True)
        events = [await reader.next_msg(SECONDS) for _ in range(4)]
    with pytest.raises(nats.errors.TimeoutError):
        await reader.next_msg(0.5)
    headers = [event.headers or {} for event in events]
    assert len({each["ce-id"] for each in headers}) == 4
    assert {each["ce-mustertopic"] for each in headers} == {topic}
    said = sorted(json.loads(e.data).get("text", "") for e in events)
    assert said == ["", "Hello, Ada", "Hello, Bob", "Hello, Cleo"]
    (failed,) = [e for e in events if (e.headers or {})["ce-type"] == "muster.task.failed"]
    assert json.loads(failed.data) == {"reason": "rejected", "error": "nobody is there"}


async def test_a_bridge_that_is_killed_loses_nothing_and_doubles_nothing(
    nats_server: NatsServer, outside: JetStreamContext, tmp_path: Path
) -> None:
    """What it had in hand comes again to the next one, and is known by its name."""
    stream, subject = await stream_of(outside)
    name = f"killed-{secrets.token_hex(4)}"
    muster = Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME=name)
    for number in range(COUNT):
        await outside.publish(subject, json.dumps(number).encode())
    settings = {"MUSTER_BUS_URL": nats_server.url, "MUSTER_FLEET_NAME": name}
    bus = await open_bus(load(tmp_path, environment={**settings, "MUSTER_HISTORY_URL": "none"}))
    await bus.bind("taker", ["orders.#"])
    arguments = ("bridge", "--from", f"{nats_server.url}/{subject}?stream={stream}")
    with muster.start(*arguments, "--to", "orders.new") as killed:
        found = await bus.pull("taker", free=1, wait=SECONDS)
        killed.kill()
    await bus.forget_all(found)
    with bridged(muster, *arguments[1:], "--to", "orders.new"):
        await acknowledged(outside, stream)
    while batch := await bus.pull("taker", free=200, wait=0.5):
        await bus.forget_all(batch)
        found += batch
    await bus.close()
    assert sorted(json.loads(each.message.body) for each in found) == list(range(COUNT))


async def test_a_place_that_is_not_there_is_told_in_three_lines(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    muster = Muster(tmp_path, MUSTER_BUS_URL=nats_server.url, MUSTER_FLEET_NAME="none-there")
    place = f"{nats_server.url}/x?stream=NONE"
    ended = muster("bridge", "--from", place, "--to", "orders.new")
    assert (ended.code, ended.lines[0].partition(":")[0]) == (3, "the broker outside refuses")
    gone = muster("bridge", "--from", f"nats://127.0.0.1:{ports.free()}/x", "--to", "orders.new")
    assert (gone.code, gone.lines[0].partition(":")[0]) == (3, "the broker outside does not answer")
    wrong = muster("bridge", "--from", "orders.new", "--to", "other")
    assert (wrong.code, wrong.lines[1]) == (2, "both ends are topics")
