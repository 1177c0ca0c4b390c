"""What leaves a fleet through a bridge: at least once, to a real NATS server of somebody else's."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import nats
import pytest
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from bus.backends.memory import MemoryBroker
from bus.bus import Bus
from bus.deadletters import DeadLetter
from contracts.clock import SystemClock
from contracts.events import Event, Kind
from contracts.outcomes import Reason
from tests.servers import NatsServer
from workers.bridge.foreign import Foreign
from workers.bridge.outward import Outward
from workers.bridge.places import Crossing, crossing
from workers.fleet.client import FleetClient
from workers.testing.process import connect

pytestmark = pytest.mark.nats

SECONDS = 20.0

Heard = Callable[[int], Awaitable[list[Any]]]


@asynccontextmanager
async def subject_of(server: NatsServer, *, largest: int = -1) -> AsyncIterator[tuple[str, Heard]]:
    """A place in a stream of its own, and what waits for so many events there."""
    name = f"OUT-{secrets.token_hex(4)}"
    async with _client(server) as js:
        await js.add_stream(name=name, subjects=[f"{name}.>"], max_msg_size=largest)

    async def heard(count: int) -> list[Msg]:
        async with _client(server) as js:
            reader = await js.subscribe(f"{name}.x", ordered_consumer=True)
            return [await reader.next_msg(SECONDS) for _ in range(count)]

    yield f"{server.url}/{name}.x?stream={name}", heard


@asynccontextmanager
async def _client(server: NatsServer) -> AsyncIterator[JetStreamContext]:
    client = await nats.connect(server.url)
    try:
        yield client.jetstream()
    finally:
        await client.close()


@asynccontextmanager
async def bridge(
    place: str, *, tasks: bool = False, structured: bool = False
) -> AsyncIterator[tuple[Outward, Bus, Crossing]]:
    """A bridge from `a.#` of a fleet in memory to `place`, running."""
    clock = SystemClock()
    _, bus = connect(MemoryBroker(clock), "/muster/test")
    found = crossing("a.#", place)
    foreign = Foreign(found.place, found.group, structured=structured)
    outward = Outward(found, bus, foreign, clock, fleet="demo", tasks=tasks)
    await outward.bind()
    await foreign.start()
    running = asyncio.create_task(outward.run())
    try:
        yield outward, bus, found
    finally:
        outward.stop()
        await running
        await foreign.stop()
        await bus.close()


def event(number: int, kind: Kind = Kind.SUCCEEDED, topic: str = "a.b", **data: object) -> Event:
    told = data or {"result": json.dumps({"number": number})}
    return Event(
        kind=kind,
        at=float(number),
        task=f"t{number}",
        topic=topic,
        role="r",
        copy=0,
        attempt=1,
        worker="w",
        pid=1,
        data=told,
    )


async def test_the_ends_of_a_topics_tasks_leave_and_nothing_else(nats_server: NatsServer) -> None:
    async with subject_of(nats_server) as (place, heard), bridge(place) as (_, bus, _crossing):
        for told in (
            event(1),
            event(2, topic="b.a"),
            event(3, Kind.STARTED),
            event(4, Kind.FAILED, reason="crash", error="ä"),
            event(5, result_bytes=70_000),
            event(6, Kind.CANCELLED, reason="by ada"),
        ):
            bus.tell(told)
        found = {each.headers["ce-subject"]: each for each in await heard(4)}
        assert set(found) == {"t1", "t4", "t5", "t6"}
        assert json.loads(found["t1"].data) == {"number": 1}
        assert json.loads(found["t4"].data) == {"reason": "crash", "error": "ä"}
        assert json.loads(found["t5"].data) is None
        assert found["t5"].headers["ce-musterresultbytes"] == "70000"
        assert found["t1"].headers["ce-source"] == "/muster/demo/r"


async def test_tasks_leave_as_they_are_in_structured_mode(nats_server: NatsServer) -> None:
    async with (
        subject_of(nats_server) as (place, heard),
        bridge(place, tasks=True, structured=True) as (_, bus, _crossing),
    ):
        client = FleetClient(bus, SystemClock(), source="/shop")
        task = await client.publish("a.b.c", {"text": "ä"})
        (found,) = await heard(1)
        told = json.loads(found.data)
        assert found.headers["content-type"] == "application/cloudevents+json"
        assert (told["id"], told["source"], told["type"]) == (task.id, "/shop", "a.b.c")
        assert (told["data"], told["musterfleet"]) == ({"text": "ä"}, "demo")


async def test_what_the_other_broker_refuses_is_a_dead_letter_that_can_be_replayed(
    nats_server: NatsServer,
) -> None:
    """A stream that takes small messages only; the others beside the large one leave."""
    async with (
        subject_of(nats_server, largest=1_000) as (place, heard),
        bridge(place) as (outward, bus, found),
    ):
        bus.tell(event(1, result=json.dumps("x" * 2_000)))
        bus.tell(event(2))
        assert [each.headers["ce-subject"] for each in await heard(1)] == ["t2"]
        (letter,) = await _dead(bus, outward, found, 1)
        assert letter.reason is Reason.REJECTED
        await bus.dead.replay(letter.group, letter.id, now=1.0)
        (again,) = await _dead(bus, outward, found, 2)
        assert (again.id, again.replays) == (letter.id, 1)


async def _dead(bus: Bus, outward: Outward, found: Crossing, refused: int) -> list[DeadLetter]:
    async with asyncio.timeout(SECONDS):
        while outward.refused < refused:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.02)
    return [letter async for letter in bus.dead.all(found.group)]


async def test_what_could_not_leave_before_the_stop_leaves_at_the_next_start(
    own_nats: Callable[[], NatsServer],
) -> None:
    server = own_nats()
    clock = SystemClock()
    broker = MemoryBroker(clock)
    async with subject_of(server) as (place, heard):
        found = crossing("a.#", place)
        for start in range(2):
            _, bus = connect(broker, f"/muster/test/{start}")
            foreign = Foreign(found.place, found.group)
            outward = Outward(found, bus, foreign, clock, fleet="demo")
            await outward.bind()
            await foreign.start()
            running = asyncio.create_task(outward.run())
            if start == 0:
                server.kill()
                bus.tell(event(1))
                await asyncio.sleep(0.5)
            else:
                assert (await heard(1))[0].headers["ce-subject"] == "t1"
            outward.stop()
            await running
            await foreign.stop()
            await bus.close()
            if start == 0:
                server.start()
