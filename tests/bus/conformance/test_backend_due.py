"""Promise 8: delays."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from bus.backend import NORMAL, Delivery
from bus.errors import Unroutable
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    ids,
    nothing,
    persist,
    runs,
    take,
    task,
    total,
)
from tests.forms import form


@pytest.mark.promise(8)
async def test_nothing_is_handed_out_before_it_is_due_and_all_within_a_second_after(
    world: World,
) -> None:
    """8: twenty times spread over a second, each checked on arrival."""
    backend = await bound(world)
    start = world.clock.wall() + 0.6
    times = {f"t{n}": start + n / 20 for n in range(20)}
    await backend.publish([task(id_, group="g", due=due) for id_, due in times.items()])
    seen: list[Delivery] = []
    while len(seen) < 20:
        (delivery,) = await take(world, backend, 1)
        now = world.clock.wall()
        assert times[delivery.message.id] <= now < times[delivery.message.id] + 1.0
        seen.append(delivery)
    assert len(set(ids(seen))) == 20


@pytest.mark.long(120)
@pytest.mark.promise(8)
async def test_many_that_fall_due_in_a_second_come_within_the_next(
    world: World, happened: Callable[[str], None]
) -> None:
    """8: spread over that second, each no earlier than its time and no later than a second after.
    Long: a thousand of them, settled as they come; short: what a busy machine can sync."""
    count = form(300, 1000)
    backend, publisher = await bound(world), await world.backend()
    start = world.clock.wall() + 1.0
    times = {f"t{n}": start + n / count for n in range(count)}
    sent = [task(id_, group="g", due=due) for id_, due in times.items()]
    for first in range(0, count, 250):
        await publisher.publish(sent[first : first + 250])
    late: dict[str, float] = {}

    async def gather() -> None:
        while len(late) < count:
            found = await backend.pull("g", ORDER, limit=400, wait=SOON)
            now = world.clock.wall()
            late.update((d.message.id, now - times[d.message.id]) for d in found)
            assert await backend.settle(found) == []

    await world.within(SOON + 2.0, gather())
    happened(f"{count} due within a second: the last one {max(late.values()):.2f} s after its time")
    assert min(late.values()) >= 0.0
    assert max(late.values()) <= 1.0


@pytest.mark.promise(6, 8)
async def test_a_waiting_pull_wakes_when_a_message_falls_due(world: World) -> None:
    """6, 8: also when it began to wait before the message was published."""
    backend, publisher = await bound(world), await world.backend()
    pull = asyncio.create_task(take(world, backend, 1))
    await world.pass_time(0.1)
    due = world.clock.wall() + 0.5
    await publisher.publish([task("later", group="g", due=due + 30)])
    await publisher.publish([task("soon", group="g", due=due)])
    assert ids(await pull) == ["soon"]
    assert world.clock.wall() < due + 1.0


@pytest.mark.promise(3, 4)
async def test_a_delayed_message_repeated_after_it_fell_due_is_the_same_message(
    world: World,
) -> None:
    """3, 4: its publisher did not hear the answer, and asks again when its time has come."""
    backend = await bound(world)
    message = task("late", due=world.clock.wall() + 0.3)
    await backend.publish([message])
    assert ids(await take(world, backend, 1)) == ["late"]
    await backend.publish([message])
    await nothing(world, backend)


@pytest.mark.promise(8)
async def test_a_delayed_message_is_routed_when_it_is_published(world: World) -> None:
    """8: one copy for each group bound then; a group bound later gets none."""
    backend = await bound(world, "one", "two")
    due = world.clock.wall() + 1.0
    await backend.publish([task("a", due=due)])
    await backend.bind("late", ["work.#"])
    await backend.bind("two", ["elsewhere"])
    for group in ("one", "two"):
        (delivery,) = await take(world, backend, 1, group=group)
        assert (delivery.message.id, delivery.message.group) == ("a", group)
        assert world.clock.wall() >= due
    await nothing(world, backend, group="late")


@pytest.mark.promise(2, 8)
async def test_a_delayed_message_nobody_listens_to_is_refused(world: World) -> None:
    """2, 8: at publish, not when it falls due."""
    backend = await bound(world)
    due = world.clock.wall() + 1
    with pytest.raises(Unroutable):
        await backend.publish([replace(task("a", due=due), topic="elsewhere")])


@pytest.mark.promise(8)
async def test_a_due_time_in_the_past_means_now(world: World) -> None:
    """8: for a routed message and for one of a group, whatever lane they name."""
    backend = await bound(world)
    past = world.clock.wall() - 5
    sent = [task("a", due=past), task("b", group="g", due=past)]
    sent += [replace(m, id=f"{m.id}-normal", lane=NORMAL) for m in sent]
    await backend.publish(sent)
    assert ids(await take(world, backend, 4, seconds=1.5)) == ["a", "a-normal", "b", "b-normal"]
    await nothing(world, backend)


@pytest.mark.promise(4, 8)
async def test_delays_of_the_same_task_do_not_replace_each_other(world: World) -> None:
    """4, 8: each copy and each group has its own."""
    backend = await bound(world, "g", "h")
    due = world.clock.wall() + 0.6
    copies = [task("a", copy=copy, group="g", due=due + copy / 10) for copy in (1, 2, 3)]
    await backend.publish([*copies, task("a", copy=1, group="h", due=due)])
    expected = {("a", 1): 1, ("a", 2): 1, ("a", 3): 1}
    assert runs(await take(world, backend, 3)) == expected
    assert runs(await take(world, backend, 1, group="h")) == {("a", 1): 1}


@pytest.mark.promise(8, 18)
async def test_a_delayed_message_keeps_its_place_in_lag_and_its_content(world: World) -> None:
    """8, 18: it counts as delayed until it is due, and arrives as it was sent."""
    backend = await bound(world)
    due = world.clock.wall() + 1.0
    sent = replace(
        task("a", copy=3, group="g", due=due),
        body=bytes(range(256)),
        headers={"ce-id": "a", "muster-tenant": "%C3%A9"},
    )
    await backend.publish([sent])
    lag = await backend.lag("g")
    assert total(lag, "waiting") == 0
    assert total(lag, "delayed") in {1, None}
    (delivery,) = await take(world, backend, 1)
    got = delivery.message
    assert (got.id, got.copy, got.topic, got.body) == ("a", 3, "work.a", sent.body)
    assert dict(got.headers) == dict(sent.headers)
    assert got.group == "g"


@pytest.mark.promise(8, 10)
async def test_then_may_be_delayed(world: World) -> None:
    """8, 10: a retry with a delay: not before, once, and the input is gone."""
    backend = await bound(world)
    await backend.publish([task("a")])
    held = await take(world, backend, 1)
    due = world.clock.wall() + 0.7
    assert await backend.settle(held, then=[task("a", copy=1, group="g", due=due)]) == []
    assert runs(await take(world, backend, 1)) == {("a", 1): 1}
    assert due <= world.clock.wall() < due + 1.0


@pytest.mark.promise(1, 8)
async def test_delayed_messages_survive_a_killed_broker(mortal: World) -> None:
    """1, 8: and are still not early."""
    backend = await bound(mortal)
    due = mortal.clock.wall() + 2.0
    await backend.publish([task(f"t{n}", due=due) for n in range(20)])
    await backend.publish([replace(task("now"), lane=NORMAL)])
    await mortal.kill_broker()
    again = await mortal.backend()
    first = await mortal.within(
        SOON, persist(mortal, lambda: again.pull("g", (NORMAL,), limit=5, wait=SOON))
    )
    assert ids(first) == ["now"]
    assert await again.settle(first) == []
    found = await take(mortal, again, 20)
    assert mortal.clock.wall() >= due
    assert ids(found) == sorted(f"t{n}" for n in range(20))
