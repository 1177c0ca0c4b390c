"""Promises 1 and 3: what was accepted is kept, and repeating is safe."""

import asyncio

import pytest

from bus.backend import Backend, Message
from bus.errors import Unreachable
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    drain,
    ids,
    nothing,
    persist,
    runs,
    take,
    task,
    tasks,
    total,
)


@pytest.mark.promise(1)
async def test_accepted_messages_survive_a_killed_broker(mortal: World) -> None:
    """1: for every group bound when `publish` returned, though no member ever started."""
    backend = await bound(mortal, "one", "two")
    batches = [tasks(50, f"{batch}-") for batch in range(10)]
    await mortal.within(SOON, _all(backend, batches))
    await mortal.kill_broker()
    again = await mortal.backend()
    expected = sorted(message.id for batch in batches for message in batch)
    for group in ("one", "two"):
        assert ids(await drain(mortal, again, 500, group=group)) == expected


async def _all(backend: Backend, batches: list[list[Message]]) -> None:
    await asyncio.gather(*(backend.publish(batch) for batch in batches))


@pytest.mark.promise(1)
async def test_a_binding_survives_a_broker_killed_right_after_it(mortal: World) -> None:
    """1: what is published after the kill still reaches the group."""
    await bound(mortal)
    await mortal.kill_broker()
    backend = await mortal.backend()
    await mortal.within(SOON, persist(mortal, lambda: backend.publish([task("a")])))
    assert ids(await take(mortal, backend, 1)) == ["a"]


@pytest.mark.promise(1)
async def test_a_returned_bind_is_seen_by_every_later_publish(world: World) -> None:
    """1: also by another connection that has published on the same topic before."""
    publisher, binder = await bound(world), await world.backend()
    for number in range(10):
        group = f"late{number}"
        await publisher.publish([task(f"before{number}")])
        await binder.bind(group, ["work.*"])
        await publisher.publish([task(f"after{number}")])
        found = await take(world, binder, 1, group=group)
        assert ids(found) == [f"after{number}"]


@pytest.mark.promise(3)
async def test_a_batch_that_is_half_known_is_completed(world: World) -> None:
    """3: repeating a batch of which some are out adds only those that are not."""
    backend = await bound(world)
    await backend.publish(tasks(40)[10:25])
    await backend.publish(tasks(40))
    await backend.publish(tasks(40))
    assert len(set(ids(await take(world, backend, 40)))) == 40
    await nothing(world, backend)


@pytest.mark.promise(1, 3, 4)
async def test_repeating_what_an_outage_left_unknown_loses_and_doubles_nothing(
    mortal: World,
) -> None:
    """1, 3, 4: the broker is killed while batches are under way; the publisher repeats those,
    then all of them: keys are remembered over the kill."""
    backend = await bound(mortal)
    batches = [tasks(20, f"{batch}-") for batch in range(30)]
    unknown = 0

    async def insist(batch: list[Message]) -> None:
        nonlocal unknown
        try:
            await backend.publish(batch)
        except Unreachable:
            unknown += 1
            await persist(mortal, lambda: backend.publish(batch))

    async def publish_all() -> None:
        for start in range(0, 30, 5):
            await asyncio.gather(*map(insist, batches[start : start + 5]))

    async def killed_meanwhile() -> None:
        publishing = asyncio.create_task(publish_all())
        await _some_are_out(mortal, backend)
        await mortal.kill_broker()
        await publishing

    await mortal.within(7.0, killed_meanwhile())
    print(f"{unknown} of {len(batches)} batches were repeated")
    again = await mortal.backend()
    for batch in batches:
        await again.publish(batch)
    found = await drain(mortal, again, 600)
    twice = [(key, n) for key, n in runs(found).items() if n > 1]
    assert twice == []
    assert ids(found) == sorted(message.id for batch in batches for message in batch)
    await nothing(mortal, again)


async def _some_are_out(world: World, backend: Backend) -> None:
    while not total(await backend.lag("g"), "waiting"):
        await world.clock.sleep(0.001)


@pytest.mark.promise(3)
async def test_an_empty_publish_is_accepted(world: World) -> None:
    """3: nothing to send is no error."""
    backend = await bound(world)
    await backend.publish([])
    assert await backend.pull("g", ORDER, limit=1, wait=0.0) == []
