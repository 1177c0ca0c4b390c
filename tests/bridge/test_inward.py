"""What a bridge makes of foreign messages: tasks, or dead letters that can be given back."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bus.backend import MAX_BODY
from bus.backends.memory import MemoryBroker
from bus.bus import Bus
from bus.deadletters import DeadLetter
from contracts.clock import ManualClock, SystemClock
from contracts.outcomes import Reason
from workers.bridge.inward import Absence, Inward, check_by, refuses_nothing
from workers.bridge.messages import Arrived
from workers.bridge.places import crossing
from workers.fleet.client import FleetClient
from workers.sdk.errors import InvalidPayload
from workers.testing.process import connect

CROSSING = crossing("nats://bus/orders?stream=S", "support.order", "test")
EVENT = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop"}


@asynccontextmanager
async def room(
    check: object = None, *, patience: float = 60.0, group: str = "role"
) -> AsyncIterator[tuple[Inward, Bus]]:
    """A bridge and its bus; `group` gets what is published."""
    clock = SystemClock()
    _, bus = connect(MemoryBroker(clock), "/muster/test")
    if group:
        await bus.bind(group, ["support.#"])
    inward = Inward(
        CROSSING,
        FleetClient(bus, clock),
        clock,
        fleet="demo",
        check=check if callable(check) else refuses_nothing,
        patience=patience,
    )
    await inward.bind()
    running = asyncio.create_task(inward.run())
    try:
        yield inward, bus
    finally:
        inward.stop()
        await running
        await bus.close()


async def letters(bus: Bus, count: int = 1) -> Sequence[DeadLetter]:
    found = [letter async for letter in bus.dead.all(CROSSING.group)]
    assert len(found) == count
    return found


def arrived(body: bytes = b"{}", own_id: str = "S 1") -> Arrived:
    return Arrived(body=body, headers={}, own_id=own_id)


async def test_a_message_that_comes_again_is_one_task() -> None:
    async with room() as (inward, bus):
        for own_id in ("S 1", "S 1", "S 2"):
            assert await inward.take(arrived(own_id=own_id))
        assert await inward.take(Arrived(body=b"{}", headers=EVENT, own_id="S 3"))
        assert await inward.take(Arrived(body=b"{}", headers=EVENT, own_id="S 4"))
        found = [await bus.pull("role", free=10, wait=0.2) for _ in range(2)]
        assert [len(batch) for batch in found] == [3, 0]


async def test_what_does_not_fit_is_one_dead_letter_however_often_it_comes() -> None:
    async with room() as (inward, bus):
        for _ in range(3):
            message = Arrived(body=b"no JSON", headers={"x-shop": "ä"}, own_id="S 1")
            assert await inward.take(message)
        (letter,) = await letters(bus)
        assert (letter.reason, letter.topic) == (Reason.INVALID, "support.order")
        assert (letter.body, letter.headers["foreign-x-shop"]) == (b"no JSON", "ä")
        assert "not JSON" in letter.error
        assert await bus.pull("role", free=1, wait=0.1) == []


async def test_a_dead_letter_that_is_mended_and_replayed_becomes_a_task() -> None:
    async with room() as (inward, bus):
        assert await inward.take(arrived(b"no JSON"))
        (letter,) = await letters(bus)
        mended = await bus.dead.edit(letter, b'{"a": 1}', by="ada@host", now=1.0)
        await bus.dead.replay(mended.group, mended.id, now=2.0)
        (delivery,) = await bus.pull("role", free=1, wait=5.0)
        assert delivery.message.body == b'{"a":1}'
        await letters(bus, 0)


async def test_a_dead_letter_replayed_as_it_was_dies_again_and_counts() -> None:
    async with room() as (inward, bus):
        assert await inward.take(arrived(b"no JSON"))
        (letter,) = await letters(bus)
        await bus.dead.replay(letter.group, letter.id, now=2.0)
        async with asyncio.timeout(5):
            while inward.refused < 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        (again,) = await letters(bus)
        assert (again.id, again.replays, again.copy) == (letter.id, 1, 1)


async def test_what_is_too_large_is_kept_in_part_and_says_where_it_lies() -> None:
    async with room() as (inward, bus):
        body = b'"' + b"x" * (MAX_BODY + 10) + b'"'
        assert await inward.take(arrived(body))
        (letter,) = await letters(bus)
        assert len(letter.body) == MAX_BODY
        assert "all 921,612 lie in nats://bus/orders, S 1" in letter.error
        await bus.dead.replay(letter.group, letter.id, now=2.0)
        async with asyncio.timeout(5):
            while inward.refused < 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.01)
        assert "cut" in (await letters(bus))[0].error


async def test_a_payload_no_known_role_takes_is_refused_here() -> None:
    def refuses(_body: bytes) -> object:
        raise InvalidPayload("it does not fit", details="name: missing")

    async with room(check_by([refuses])) as (inward, bus):
        assert await inward.take(arrived())
        assert "name: missing" in (await letters(bus))[0].error
    async with room(check_by([refuses, len])) as (inward, bus):
        assert await inward.take(arrived())
        await letters(bus, 0)


async def test_what_the_fleet_itself_sent_does_not_go_round() -> None:
    async with room() as (inward, bus):
        headers = {**EVENT, "ce-musterfleet": "demo"}
        assert await inward.take(Arrived(body=b"{}", headers=headers))
        assert "round in circles" in (await letters(bus))[0].error


async def test_a_topic_without_a_role_is_waited_for_and_then_given_up() -> None:
    async with room(group="") as (inward, bus):
        taking = asyncio.create_task(inward.take(arrived()))
        await asyncio.wait({taking}, timeout=0.2)
        assert not taking.done()
        await bus.bind("role", ["support.#"])
        assert await taking
        await letters(bus, 0)
    async with room(group="", patience=0.0) as (inward, bus):
        assert await inward.take(arrived())
        assert (await letters(bus))[0].reason is Reason.REJECTED


async def test_those_behind_one_that_waited_in_vain_wait_no_longer_than_it() -> None:
    """Until there is a role, or nobody has asked for a while."""
    clock = ManualClock(1000.0)
    absence = Absence(clock, 60.0)
    assert await told(absence, clock, 60) == [False] * 60
    assert await told(absence, clock, 30) == [True] * 30
    absence.over()
    assert await told(absence, clock, 61) == [*[False] * 60, True]
    await clock.advance(60.0)
    assert not absence.too_long()


async def told(absence: Absence, clock: ManualClock, seconds: int) -> list[bool]:
    """Whether it is too long, asked once a second."""
    found: list[bool] = []
    for _ in range(seconds):
        found.append(absence.too_long())
        await clock.advance(1.0)
    return found


async def test_what_waits_when_the_bridge_stops_is_left_to_the_foreign_broker() -> None:
    async with room(group="") as (inward, bus):
        taking = asyncio.create_task(inward.take(arrived()))
        inward.stop()
        assert not await taking
        await letters(bus, 0)
