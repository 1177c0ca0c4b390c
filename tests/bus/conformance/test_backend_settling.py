"""Promises 9, 10 and 11: what is done stays done, and what must follow exists."""

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from bus.backend import Backend, Delivery
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    eventually,
    ids,
    nothing,
    persist,
    runs,
    take,
    task,
    tasks,
    total,
)


@pytest.mark.promise(9)
async def test_what_was_settled_is_never_handed_out_again(mortal: World) -> None:
    """9: not after its lease, not after a clean restart of the broker."""
    backend = await bound(mortal)
    await backend.publish(tasks(100))
    held = await take(mortal, backend, 100)
    assert await backend.settle(held[:50]) == []
    await asyncio.gather(*(backend.settle([delivery]) for delivery in held[50:]))
    await mortal.stop_broker(kill=False)
    await mortal.start_broker()
    again = await mortal.backend()
    await nothing(mortal, again, seconds=mortal.lease + 0.5)


@pytest.mark.promise(9)
async def test_after_a_killed_broker_nothing_unsettled_is_missing(mortal: World) -> None:
    """9: what was settled may come again, which is counted; what was not does come."""
    backend = await bound(mortal)
    await backend.publish(tasks(400))
    held = await take(mortal, backend, 400)
    await backend.settle(held[:300])
    await mortal.kill_broker()
    again = await mortal.backend()
    open_ = set(ids(held[300:]))
    seen: Counter[str] = Counter()

    async def collect() -> None:
        while not open_ <= set(seen):
            found = await persist(mortal, lambda: again.pull("g", ORDER, limit=100, wait=1.0))
            seen.update(ids(found))

    await mortal.within(mortal.lease + SOON, collect())
    print(f"{len(set(seen) - open_)} of 300 settled messages came again after kill -9")
    assert set(seen) <= {message.id for message in tasks(400)}


@pytest.mark.promise(9, 10)
async def test_settling_twice_reports_the_second_as_no_longer_ours(world: World) -> None:
    """A settled delivery is not ours, to settle or to extend; its `then` is not sent."""
    backend = await bound(world)
    await backend.publish(tasks(2))
    first, second = await take(world, backend, 2)
    assert await backend.settle([first]) == []
    assert await backend.settle([first], then=[task("x", group="g")]) == [first]
    assert await backend.extend([first, second]) == [first]
    assert await backend.settle([first, second], then=[task("y", group="g")]) == [first]
    assert ids(await take(world, backend, 1)) == ["y"]
    await nothing(world, backend)


@pytest.mark.promise(10)
async def test_settling_nothing_sends_then(world: World) -> None:
    """With no input at all `then` is sent; without either nothing happens."""
    backend = await bound(world)
    assert await backend.settle([]) == []
    assert await backend.settle([], then=[task("a")]) == []
    assert await backend.extend([]) == []
    assert ids(await take(world, backend, 1)) == ["a"]


@pytest.mark.promise(10)
async def test_then_of_a_topic_nobody_wants_is_dropped(world: World) -> None:
    """10: it is owed to nobody; what stands beside it is sent and the input is settled."""
    backend = await bound(world)
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    later = world.clock.wall() + 0.1
    unwanted = [replace(task(f"x{due}", due=due), topic="elsewhere") for due in (0.0, later)]
    beside = task("b")
    assert await backend.settle(held, then=[unwanted[0], beside, unwanted[1]]) == []
    assert ids(await take(world, backend, 1)) == ["b"]
    await nothing(world, backend)


@pytest.mark.promise(10)
async def test_then_is_routed_to_every_group(world: World) -> None:
    """10: as if it had been published."""
    backend = await bound(world, "one", "two")
    await backend.publish([task("a", group="one")])
    held = await take(world, backend, 1, group="one")
    assert await backend.settle(held, then=[task("b")]) == []
    for group in ("one", "two"):
        assert ids(await take(world, backend, 1, group=group)) == ["b"]


@pytest.mark.promise(10)
async def test_then_already_out_does_not_keep_the_input(world: World) -> None:
    """10: as after a crash between the two: sent before, settled now, run once."""
    backend = await bound(world)
    await backend.publish(tasks(3))
    again = [task(f"t{n}", copy=1, group="g") for n in range(3)]
    held = sorted(await take(world, backend, 3), key=lambda d: d.message.id)
    await backend.publish(again[:2])
    for delivery, copy in zip(held, again, strict=True):
        assert await backend.settle([delivery], then=[copy]) == []
    found = await take(world, backend, 3)
    assert runs(found) == {(f"t{n}", 1): 1 for n in range(3)}
    assert await backend.settle(found) == []
    await eventually(world, 1.0, lambda: _empty(backend))


@pytest.mark.promise(10, 12)
async def test_a_killed_holder_loses_neither_input_nor_then(world: World) -> None:
    """10, 12: a process killed in the middle of replacing inputs leaves one or the other."""
    backend, member = await bound(world), await world.member()
    await member.churn("g")
    await backend.publish(tasks(300))

    async def some_replaced() -> bool:
        lag = await backend.lag("g")
        return (lag[ORDER[1]].waiting or 0) >= 30

    await eventually(world, SOON, some_replaced)
    await member.kill()
    await _replace_all(world, backend, 300)


@pytest.mark.promise(10)
async def test_a_killed_broker_loses_neither_input_nor_then(mortal: World) -> None:
    """10: killed in the middle of settles; what is unknown is settled again."""
    backend = await bound(mortal)
    await backend.publish(tasks(300))
    held = await take(mortal, backend, 300)

    async def settle(delivery: Delivery) -> None:
        again = replace(delivery.message, copy=1, group="g")
        await backend.settle([delivery], then=[again])

    async def killed_meanwhile() -> None:
        settles = [asyncio.create_task(settle(delivery)) for delivery in held]
        await asyncio.wait(settles, return_when=asyncio.FIRST_COMPLETED)
        await mortal.kill_broker()
        results = await asyncio.gather(*settles, return_exceptions=True)
        print(f"{sum(r is not None for r in results)} of 300 settles ended in an error")

    await mortal.within(7.0, killed_meanwhile())
    await _replace_all(mortal, await mortal.backend(), 300)


async def _replace_all(world: World, backend: Backend, count: int) -> None:
    """Go on replacing first copies until every task has come as its second copy."""
    seen: Counter[tuple[str, int]] = Counter()

    async def work() -> None:
        while sum(copy == 1 for _, copy in seen) < count:
            found = await persist(world, lambda: backend.pull("g", ORDER, limit=50, wait=0.5))
            seen.update(runs(found))
            first = [d for d in found if d.message.copy == 0]
            second = [d for d in found if d.message.copy == 1]
            again = [replace(d.message, copy=1, group="g") for d in first]
            await backend.settle(first, then=again)
            await backend.settle(second)

    await world.within(world.lease + SOON, work())
    twice = sum(times > 1 for (_, copy), times in seen.items() if copy == 1)
    print(f"{twice} of {count} second copies came twice")


@pytest.mark.promise(11)
async def test_a_hand_back_is_available_at_once_and_thirty_are_harmless(world: World) -> None:
    """11: each time within a second, never counted as a hand-over nobody answered."""
    backend, other = await bound(world), await world.backend()
    await backend.publish([task("a")])
    for copy in range(30):
        (held,) = await take(world, (backend, other)[copy % 2], 1, seconds=1.0)
        assert (held.message.copy, held.earlier) == (copy, 0)
        again = task("a", copy=copy + 1, group="g")
        assert await (backend, other)[copy % 2].settle([held], then=[again]) == []
    assert await backend.settle(await take(world, backend, 1)) == []

    await eventually(world, 2.0, lambda: _empty(backend))


async def _empty(backend: Backend) -> bool:
    lag = await backend.lag("g")
    return total(lag, "waiting") == 0 and total(lag, "leased") in {0, None}
