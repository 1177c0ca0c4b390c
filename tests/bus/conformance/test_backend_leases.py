"""Promises 12 and 13, and stale receipts: a message belongs to its holder for its lease."""

import asyncio

import pytest

from bus.backend import Delivery
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import MOMENT, ORDER, bound, ids, nothing, take, task, tasks


@pytest.mark.promise(12)
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


@pytest.mark.promise(12)
async def test_who_came_second_has_what_the_first_lets_lie(world: World) -> None:
    """12: members that were woken by the same message and did not get it; it is handed out again
    and again within lease + 1 s, though nothing new comes that would wake them."""
    backend = await bound(world)
    members = [await world.backend() for _ in range(3)]
    pulls = {asyncio.create_task(m.pull("g", ORDER, limit=1, wait=60.0)) for m in members}
    await world.pass_time(MOMENT)
    await backend.publish([task("a", copy=1, group="g")])
    for number in range(len(members)):

        async def first() -> list[Delivery]:
            done, _ = await asyncio.wait(pulls, return_when=asyncio.FIRST_COMPLETED)
            pulls.difference_update(done)
            return [delivery for pull in done for delivery in pull.result()]

        (found,) = await world.within(world.lease + 1.0, first())
        assert (found.message.id, found.earlier) == ("a", number)


@pytest.mark.promise(12, 15)
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


@pytest.mark.promise(13)
async def test_extend_keeps_a_delivery_for_as_long_as_it_is_called(world: World) -> None:
    """13: for more than three leases, while another member waits for it; a keeper on a
    connection of its own may do it, settling stays with the first one."""
    backend, keeper, rival = await bound(world), await world.backend(), await world.backend()
    await backend.publish(tasks(2))
    held = await take(world, backend, 2)
    pull = asyncio.create_task(rival.pull("g", ORDER, limit=2, wait=60.0))
    end = world.clock.monotonic() + 3.2 * world.lease
    turn = 0
    while world.clock.monotonic() < end:
        await world.pass_time(world.lease / 3)
        assert await (keeper, keeper, keeper, keeper, backend)[turn % 5].extend(held) == []
        turn += 1
    assert not pull.done()
    assert await backend.settle(held) == []
    await world.pass_time(MOMENT)
    pull.cancel()
    await asyncio.wait([pull])
    assert pull.cancelled()


@pytest.mark.promise(9, 12)
async def test_a_receipt_is_lost_when_its_lease_ran_out_though_nobody_took_it(
    world: World,
) -> None:
    """9, 12: settle and extend say so and send nothing, and the message comes to whoever pulls.
    Together with one that is ours, `then` is sent and only the other is returned."""
    backend = await bound(world)
    await backend.publish(tasks(2))
    held = await take(world, backend, 2)
    await world.pass_time(world.lease + 0.1)
    assert await backend.extend(held) == held
    assert await backend.settle(held, then=[task("x", group="g")]) == held
    await backend.publish([task("fresh", group="g")])
    back = await take(world, backend, 3, seconds=1.0)
    assert ids(back) == ["fresh", "t0", "t1"]
    fresh = [d for d in back if d.message.id == "fresh"]
    again = [d for d in back if d.message.id != "fresh"]
    assert await backend.settle([*held, *fresh], then=[task("y", group="g")]) == held
    assert await backend.settle(again) == []
    assert ids(await take(world, backend, 1)) == ["y"]
    await nothing(world, backend)


@pytest.mark.promise(9, 15)
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


@pytest.mark.promise(9, 12)
async def test_a_closed_connection_gives_up_what_it_did_not_settle(world: World) -> None:
    """9, 12: each of the others comes back by its lease, counted; none of the settled does."""
    backend, closing = await bound(world), await world.backend()
    await backend.publish(tasks(10))
    held = await take(world, closing, 10)
    assert [delivery.earlier for delivery in held] == [0] * 10
    assert await closing.settle(held[::2]) == []
    await closing.close()
    back = await take(world, backend, 5, seconds=world.lease + 1.0)
    assert ids(back) == ids(held[1::2])
    assert all(delivery.earlier >= 1 for delivery in back)
    await nothing(world, backend)


@pytest.mark.promise(12)
async def test_a_dead_reclaimer_blocks_nobody(world: World) -> None:
    """12: killed after it took over from a killed holder: the next one gets it in time, and
    `earlier` has counted every hand-over that nobody answered."""
    backend = await bound(world)
    members = [await world.member() for _ in range(2)]
    await backend.publish([task("a")])
    for member in members:
        assert await world.within(world.lease + 4.0, member.hold("g", 1)) == ["a"]
        await member.kill()
    (delivery,) = await take(world, backend, 1, seconds=world.lease + 1.0)
    assert delivery.earlier == 2
