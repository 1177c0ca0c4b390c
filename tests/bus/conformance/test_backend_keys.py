"""Promise 4: one dedupe key is one message; another key is another one."""

import asyncio
from dataclasses import replace

import pytest

from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import bound, ids, nothing, runs, take, task


@pytest.mark.promise(4)
async def test_the_same_key_twice_is_one_message(world: World) -> None:
    """4: within one call, in later calls, and from another connection at the same time."""
    backend, other = await bound(world), await world.backend()
    await backend.publish([task("a"), task("b"), task("a")])
    await asyncio.gather(backend.publish([task("a")]), other.publish([task("a"), task("c")]))
    assert ids(await take(world, backend, 3)) == ["a", "b", "c"]
    await nothing(world, backend)


@pytest.mark.promise(4)
async def test_a_key_is_remembered_after_its_message_was_settled(world: World) -> None:
    """4: a repetition that arrives late does not run again."""
    backend = await bound(world)
    await backend.publish([task("a")])
    assert await backend.settle(await take(world, backend, 1)) == []
    await backend.publish([task("a")])
    await nothing(world, backend)


@pytest.mark.promise(4)
async def test_another_copy_of_the_same_task_is_another_message(world: World) -> None:
    """4: a retry is never taken for a repetition of what it replaces."""
    backend = await bound(world)
    await backend.publish([task("a")])
    for copy in range(1, 4):
        held = await take(world, backend, 1)
        assert held[0].message.copy == copy - 1
        assert await backend.settle(held, then=[task("a", copy=copy, group="g")]) == []
    await backend.publish([task("a", copy=9, group="g")])
    assert runs(await take(world, backend, 2)) == {("a", 3): 1, ("a", 9): 1}


@pytest.mark.promise(4)
async def test_the_same_task_for_another_group_is_another_message(world: World) -> None:
    """4: keys of different groups, and of a routed message, do not meet."""
    backend = await bound(world, "one", "two")
    await backend.publish([task("a", group="one")])
    await backend.publish([task("a", group="two"), task("a", group="one")])
    await backend.publish([task("a")])
    for group in ("one", "two"):
        found = await take(world, backend, 2, group=group)
        assert ids(found) == ["a", "a"]
        await nothing(world, backend, group=group)


@pytest.mark.promise(4, 5)
async def test_a_retry_in_one_group_is_not_seen_by_another(world: World) -> None:
    """4, 5: both groups may retry the same task, each for itself."""
    backend = await bound(world, "one", "two")
    await backend.publish([task("a")])
    for group in ("one", "two"):
        held = await take(world, backend, 1, group=group)
        assert await backend.settle(held, then=[task("a", copy=1, group=group)]) == []
    for group in ("one", "two"):
        assert runs(await take(world, backend, 1, group=group)) == {("a", 1): 1}
        await nothing(world, backend, group=group)


@pytest.mark.promise(4, 10)
async def test_the_same_key_twice_in_then_is_one_message(world: World) -> None:
    """4, 10: a settle repeated after an unknown outcome leaves one copy."""
    backend = await bound(world)
    await backend.publish([task("a"), task("b")])
    first, second = await take(world, backend, 2)
    again = task("a", copy=1, group="g")
    await backend.settle([first], then=[again, again])
    await backend.settle([second], then=[again])
    await backend.publish([again])
    assert runs(await take(world, backend, 1)) == {("a", 1): 1}
    await nothing(world, backend)


@pytest.mark.promise(4)
async def test_the_body_plays_no_part_in_the_key(world: World) -> None:
    """4: the first one accepted is the one that runs."""
    backend = await bound(world)
    await backend.publish([replace(task("a"), body=b"first")])
    await backend.publish([replace(task("a"), body=b"second")])
    assert [d.message.body for d in await take(world, backend, 1)] == [b"first"]
    await nothing(world, backend)


@pytest.mark.promise(4, 8)
async def test_a_delayed_message_published_twice_comes_once_to_each_group(world: World) -> None:
    """4, 8: routed before it is due, it has one key per group."""
    backend = await bound(world, "one", "two")
    due = world.clock.wall() + 0.8
    await backend.publish([task("a", due=due), task("a", due=due)])
    await backend.publish([task("a", due=due)])
    for group in ("one", "two"):
        assert ids(await take(world, backend, 1, group=group)) == ["a"]
        await nothing(world, backend, group=group)
