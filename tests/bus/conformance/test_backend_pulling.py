"""Promise 6 and the order of lanes: how messages are handed out."""

import asyncio
from dataclasses import replace

import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Lane, Message
from bus.errors import Unroutable
from contracts.errors import MusterError
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    eventually,
    ids,
    nothing,
    take,
    task,
    tasks,
    total,
)


@pytest.mark.promise(6)
async def test_at_most_limit_are_handed_out(world: World) -> None:
    """6: what is over waits for the next pull."""
    backend = await bound(world)
    await backend.publish(tasks(50))
    found: list[Delivery] = []
    for limit in (1, 7, 20, 1):
        batch = await world.within(SOON, backend.pull("g", ORDER, limit=limit, wait=SOON))
        assert 1 <= len(batch) <= limit
        found += batch
    found += await take(world, backend, 50 - len(found))
    assert len(set(ids(found))) == 50


@pytest.mark.promise(6)
async def test_a_pull_takes_what_is_there_at_once(world: World) -> None:
    """6: it does not wait for `limit` to be full."""
    backend = await bound(world)
    await backend.publish(tasks(3))
    start = world.clock.monotonic()
    found = await take(world, backend, 3, seconds=SOON)
    assert len(found) == 3
    assert world.clock.monotonic() - start < 1.0


@pytest.mark.promise(6)
async def test_empty_is_normal_and_comes_after_about_wait(world: World) -> None:
    """6: no error, not earlier, little later."""
    backend = await bound(world)
    for wait in (0.0, 0.5):
        start = world.clock.monotonic()
        assert await world.within(SOON, backend.pull("g", ORDER, limit=1, wait=wait)) == []
        assert wait * 0.9 <= world.clock.monotonic() - start < wait + 1.0


@pytest.mark.promise(6)
async def test_a_waiting_pull_wakes_when_a_message_arrives(world: World) -> None:
    """6: in every lane it asked for, long before its wait is over."""
    backend, publisher = await bound(world), await world.backend()
    for lane in (HIGH, NORMAL, LOW):
        pull = asyncio.create_task(backend.pull("g", ORDER, limit=5, wait=30.0))
        await world.pass_time(0.1)
        assert not pull.done()
        await publisher.publish([replace(task(f"in-{lane.name}"), lane=lane)])
        found = await world.within(1.0, _result(pull))
        assert ids(found) == [f"in-{lane.name}"]
    pull = asyncio.create_task(backend.pull("g", ORDER, limit=5, wait=30.0))
    await world.pass_time(0.1)
    await publisher.publish([task("again", copy=1, group="g")])
    assert ids(await world.within(1.0, _result(pull))) == ["again"]


async def _result(pull: "asyncio.Task[list[Delivery]]") -> list[Delivery]:
    return await pull


@pytest.mark.promise(6)
async def test_every_waiting_member_is_woken_for_a_share(world: World) -> None:
    """6: one that takes little leaves the rest to those that wait beside it."""
    publisher = await bound(world)
    members = [await world.backend() for _ in range(3)]
    pulls = [asyncio.create_task(m.pull("g", ORDER, limit=1, wait=30.0)) for m in members]
    await world.pass_time(0.1)
    await publisher.publish(tasks(3))

    async def results() -> list[Delivery]:
        return [delivery for found in await asyncio.gather(*pulls) for delivery in found]

    assert ids(await world.within(1.0, results())) == ["t0", "t1", "t2"]


@pytest.mark.promise(6)
async def test_every_waiting_pull_of_one_member_gets_its_share(world: World) -> None:
    """6: of new messages and of those that come back; calls may be concurrent."""
    backend, publisher = await bound(world), await world.backend()
    for copy in (0, 1):
        pulls = [asyncio.create_task(backend.pull("g", ORDER, limit=1, wait=30.0)) for _ in "123"]
        await world.pass_time(0.1)
        await publisher.publish([task(f"t{n}", copy=copy, group="g") for n in range(3)])

        came = await world.within(1.0, asyncio.wait(pulls))
        found = [delivery for pull in came[0] for delivery in pull.result()]
        assert ids(found) == ["t0", "t1", "t2"]
        assert await backend.settle(found) == []


@pytest.mark.promise(6)
async def test_a_cancelled_pull_loses_nothing(world: World) -> None:
    """6: what it had taken is handed out again, within the lease at the latest."""
    backend, publisher = await bound(world), await world.backend()
    got: list[Delivery] = []
    for number in range(60):
        pull = asyncio.create_task(backend.pull("g", ORDER, limit=3, wait=10.0))
        publishing = asyncio.create_task(publisher.publish([task(f"t{number}")]))
        for _ in range(number % 12):
            await asyncio.sleep(0)
        if number % 2:
            await publishing
        pull.cancel()
        done, _ = await asyncio.wait([pull])
        got += [d for p in done if not p.cancelled() for d in p.result()]
        await publishing
    await publisher.settle(got)
    rest = await take(world, publisher, 60 - len(got), seconds=world.lease + 2.0)
    assert ids([*got, *rest]) == sorted(f"t{number}" for number in range(60))


@pytest.mark.promise(6)
async def test_a_cancelled_pull_does_not_swallow_the_wake_of_another(world: World) -> None:
    """6: of two that wait, the one left gets the message, within the lease at the latest."""
    backend, other = await bound(world), await world.backend()
    for id_, cancel_first in (("a", True), ("b", False)):
        first = asyncio.create_task(backend.pull("g", ORDER, limit=1, wait=30.0))
        await world.pass_time(0.05)
        second = asyncio.create_task(other.pull("g", ORDER, limit=1, wait=30.0))
        await world.pass_time(0.05)
        if cancel_first:
            first.cancel()
        await backend.publish([task(id_)])
        first.cancel()
        await asyncio.wait([first])
        got = [] if first.cancelled() else first.result()
        if got:
            second.cancel()
            await asyncio.wait([second])
        else:
            got = await world.within(world.lease + 2.0, _result(second))
        assert ids(got) == [id_]
        assert await other.settle(got) == []


async def test_earlier_lanes_come_first(world: World) -> None:
    """Lanes are pulled in the order given, whatever the order of publishing."""
    backend = await bound(world)
    await backend.publish([replace(task("low"), lane=LOW), replace(task("normal"), lane=NORMAL)])
    await backend.publish([task("retry", copy=1, group="g"), replace(task("high"), lane=HIGH)])

    async def all_wait() -> bool:
        return total(await backend.lag("g"), "waiting") == 4

    await eventually(world, 2.0, all_wait)
    first = await take(world, backend, 1)
    rest = await take(world, backend, 3)
    assert [d.message.id for d in first + rest] == ["high", "retry", "normal", "low"]


async def test_only_the_lanes_asked_for_are_pulled(world: World) -> None:
    """A lane that is not named keeps its messages; the order given is the one kept."""
    backend = await bound(world)
    await backend.publish([replace(task(lane.name.value), lane=lane) for lane in _SENT])
    await backend.publish([task("retry", copy=1, group="g")])

    async def all_wait() -> bool:
        return total(await backend.lag("g"), "waiting") == 4

    await eventually(world, 2.0, all_wait)
    found = await take(world, backend, 2, lanes=(LOW, HIGH))
    assert [d.message.id for d in found] == ["low", "high"]
    others = await world.within(SOON, backend.pull("g", (LOW, HIGH), limit=5, wait=0.2))
    assert others == []
    assert ids(await take(world, backend, 1, lanes=(RETRY,))) == ["retry"]
    assert ids(await take(world, backend, 1, lanes=(NORMAL,))) == ["normal"]


_SENT: tuple[Lane, ...] = (NORMAL, HIGH, LOW)


async def test_what_comes_back_lies_in_the_retry_lane(world: World) -> None:
    """A message with a copy above 0 or with a due time, whatever lane it names."""
    backend = await bound(world)
    soon = world.clock.wall() + 0.3
    sent: list[Message] = [
        replace(task("copy", copy=2, group="g"), lane=HIGH),
        replace(task("due", group="g"), lane=LOW, due=soon),
        replace(task("routed"), lane=HIGH, due=soon),
    ]
    await backend.publish(sent)
    assert ids(await take(world, backend, 3, lanes=(RETRY,))) == ["copy", "due", "routed"]
    await nothing(world, backend)


async def test_wrong_pulls_are_errors(world: World) -> None:
    """A group that is not bound is `Unroutable`; a limit below one is refused."""
    backend = await bound(world)
    with pytest.raises(Unroutable):
        await world.within(SOON, backend.pull("nobody", ORDER, limit=1, wait=0.1))
    for limit in (0, -1):
        with pytest.raises(MusterError):
            await world.within(SOON, backend.pull("g", ORDER, limit=limit, wait=0.1))
