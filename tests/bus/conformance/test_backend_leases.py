"""Promises 12 and 13, and stale receipts: a message belongs to its holder for its lease."""

import asyncio

from bus.backend import Backend, Delivery
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import MOMENT, ORDER, bound, ids, nothing, take, task, tasks


async def test_what_a_killed_holder_held_goes_to_another_within_the_lease(world: World) -> None:
    """12: it was extending until then; it comes within lease + 1 s, counted, and once."""
    backend, member = await bound(world), await world.member()
    await backend.publish(tasks(5))
    assert len(await world.within(8.0, member.hold("g", 5))) == 5
    await nothing(world, backend, seconds=MOMENT)
    await member.kill()
    back = await take(world, backend, 5, seconds=world.lease + 1.0)
    assert ids(back) == [message.id for message in tasks(5)]
    assert all(delivery.earlier >= 1 for delivery in back)
    assert await backend.settle(back) == []


async def test_what_a_frozen_holder_held_goes_to_another_and_stays_there(world: World) -> None:
    """12, 15: it comes within lease + 1 s; the old holder, thawed, can do it no harm."""
    backend, member = await bound(world), await world.member()
    await backend.publish(tasks(3))
    assert len(await world.within(8.0, member.hold("g", 3))) == 3
    member.freeze()
    back = await take(world, backend, 3, seconds=world.lease + 1.0)
    member.thaw()
    assert await world.within(4.0, member.settle()) == 3
    assert await backend.extend(back) == []
    await nothing(world, backend)
    assert await backend.settle(back) == []


async def test_extend_keeps_a_delivery_for_as_long_as_it_is_called(world: World) -> None:
    """13: for more than three leases, while another member waits for it."""
    backend, rival = await bound(world), await world.backend()
    await backend.publish(tasks(2))
    held = await take(world, backend, 2)
    pull = asyncio.create_task(rival.pull("g", ORDER, limit=2, wait=60.0))
    end = world.clock.monotonic() + 3.2 * world.lease
    while world.clock.monotonic() < end:
        await world.pass_time(world.lease / 4)
        assert await backend.extend(held) == []
    assert not pull.done()
    assert await backend.settle(held) == []
    await world.pass_time(MOMENT)
    assert not pull.done()
    await _end(pull)


async def test_another_connection_may_extend(world: World) -> None:
    """13: as the keeper in its own thread does; settling stays with the first one."""
    backend, keeper, rival = await bound(world), await world.backend(), await world.backend()
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    pull = asyncio.create_task(rival.pull("g", ORDER, limit=1, wait=60.0))
    for _ in range(3):
        await world.pass_time(world.lease / 2)
        assert await keeper.extend(held) == []
    assert not pull.done()
    assert await backend.settle(held) == []
    await _end(pull)


async def _end(pull: "asyncio.Task[list[Delivery]]") -> None:
    pull.cancel()
    await asyncio.wait([pull])
    assert pull.cancelled()


async def test_a_receipt_is_lost_when_its_lease_ran_out_though_nobody_took_it(
    world: World,
) -> None:
    """9, 12: settle and extend say so, send nothing, and the message comes to whoever pulls."""
    backend = await bound(world)
    await backend.publish(tasks(2))
    held = await take(world, backend, 2)
    await world.pass_time(world.lease + 0.1)
    assert await backend.extend(held) == held
    assert await backend.settle(held, then=[task("x", group="g")]) == held
    back = await take(world, backend, 2, seconds=1.0)
    assert ids(back) == ["t0", "t1"]
    assert await backend.settle(back) == []
    await nothing(world, backend)


async def test_a_stale_receipt_does_not_disturb_the_new_holder(world: World) -> None:
    """9, 15: neither settle nor extend of the old one touches the message of the new one."""
    backend, other, third = await bound(world), await world.backend(), await world.backend()
    await backend.publish([task("a")])
    stale = await take(world, backend, 1)
    fresh = await take(world, other, 1, seconds=world.lease + 1.0)
    assert await backend.extend(stale) == stale
    assert await backend.settle(stale, then=[task("x", group="g")]) == stale
    await nothing(world, third)
    await world.pass_time(world.lease / 2)
    assert await other.extend(fresh) == []
    await nothing(world, third, seconds=world.lease * 0.7)
    assert await other.settle(fresh) == []
    await nothing(world, third)


async def test_a_settle_of_stale_and_fresh_sends_then_and_keeps_the_stale(world: World) -> None:
    """10: `then` goes out when at least one input was ours; the others come back."""
    backend = await bound(world)
    await backend.publish([task("stale")])
    stale = await take(world, backend, 1)
    await world.pass_time(world.lease + 0.1)
    await backend.publish([task("fresh", group="g")])
    found = await take(world, backend, 2, seconds=1.0)
    fresh = [d for d in found if d.message.id == "fresh"]
    again = [d for d in found if d.message.id == "stale"]
    assert await backend.settle([*stale, *fresh], then=[task("x", group="g")]) == stale
    assert ids(await take(world, backend, 1)) == ["x"]
    assert await backend.settle(again) == []


async def test_every_unanswered_hand_over_is_counted(world: World) -> None:
    """12: `earlier` rises by one each time a lease runs out."""
    backend = await bound(world)
    await backend.publish([task("a")])
    for earlier in range(2):
        (lost,) = await take(world, backend, 1, seconds=world.lease + 1.0)
        assert lost.earlier == earlier
    held = await take(world, backend, 1, seconds=world.lease + 1.0)
    assert held[0].earlier == 2
    assert await backend.settle(held) == []


async def test_a_closed_connection_gives_up_what_it_held(world: World) -> None:
    """What was pulled and not settled comes back by its lease."""
    backend, closing = await bound(world), await world.backend()
    await backend.publish(tasks(3))
    held = await take(world, closing, 3)
    assert await closing.settle(held[:1]) == []
    await closing.close()
    back = await take(world, backend, 2, seconds=world.lease + 1.0)
    assert ids(back) == ids(held[1:])


async def test_a_dead_reclaimer_blocks_nobody(world: World) -> None:
    """12: killed after it took over from a killed holder: the next one gets it in time."""
    backend: Backend = await bound(world)
    members = [await world.member() for _ in range(2)]
    await backend.publish([task("a")])
    for member in members:
        assert await world.within(world.lease + 4.0, member.hold("g", 1)) == ["a"]
        await member.kill()
    (delivery,) = await take(world, backend, 1, seconds=world.lease + 1.0)
    assert delivery.earlier >= 2
