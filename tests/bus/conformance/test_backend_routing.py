"""Promises 2, 5 and 22: who gets a message, and who must be there for it to be accepted."""

import asyncio
from dataclasses import replace

import pytest

from bus.backend import Delivery, Message
from bus.errors import Conflict, Unroutable
from contracts.topics import EVENTS
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    MOMENT,
    ORDER,
    SOON,
    bound,
    ids,
    nothing,
    persist,
    take,
    task,
    tasks,
)


def on(topic: str, id_: str = "") -> Message:
    """A message on `topic`, by default with the topic as its id."""
    return replace(task(id_ or topic), topic=topic)


@pytest.mark.promise(2)
async def test_a_topic_nobody_listens_to_is_refused_with_near_matches(world: World) -> None:
    """2: `Unroutable`, and the details name what may have been meant."""
    backend = await world.backend()
    await backend.bind("reviewer", ["code.review"])
    with pytest.raises(Unroutable) as caught:
        await backend.publish([on("code.reveiw")])
    assert "code.review" in caught.value.details


@pytest.mark.promise(2)
async def test_one_unroutable_message_stops_the_whole_call(world: World) -> None:
    """2: nothing of the call was sent, wherever in it the bad one stands."""
    backend = await bound(world)
    for bad in (0, 5, 9):
        batch = tasks(10, f"{bad}-")
        batch[bad] = on("elsewhere")
        with pytest.raises(Unroutable):
            await backend.publish(batch)
    await nothing(world, backend)


@pytest.mark.promise(2)
async def test_a_named_group_that_is_not_bound_is_unroutable(world: World) -> None:
    """2: a message for one group is not kept for nobody."""
    backend = await bound(world)
    with pytest.raises(Unroutable):
        await backend.publish([task("a"), task("b", group="nobody")])
    await nothing(world, backend)


@pytest.mark.promise(24)
async def test_what_muster_tells_is_for_whoever_listens(world: World) -> None:
    """24: nobody: it is dropped, and the tasks beside it are accepted. Somebody, bound through
    another connection just before: the next call reaches them."""
    backend, other = await bound(world), await world.backend()
    calls = [[task("a"), on(EVENTS, "told-a")], [on(EVENTS, "told-alone")]]
    ends = await asyncio.gather(*map(backend.publish, calls), return_exceptions=True)
    assert ends == [None, None]
    with pytest.raises(Unroutable):
        await backend.publish([on("elsewhere"), on(EVENTS, "told-elsewhere")])
    await world.pass_time(1.1)
    await other.bind("ear", [EVENTS])
    await backend.publish([task("b"), on(EVENTS, "told-b")])
    assert ids(await take(world, backend, 2)) == ["a", "b"]
    assert ids(await take(world, other, 1, group="ear")) == ["told-b"]
    await nothing(world, other, group="ear")


@pytest.mark.promise(24)
async def test_what_muster_tells_survives_a_killed_broker(world: World) -> None:
    """24: as the tasks it tells of."""
    backend = await bound(world)
    await backend.bind("ear", [EVENTS])
    await backend.publish([task("a"), on(EVENTS, "told-a")])
    await world.kill_broker()
    found = await persist(world, lambda: take(world, backend, 1, group="ear"))
    assert ids(found) == ["told-a"]


@pytest.mark.promise(5)
async def test_every_group_gets_every_message_that_matches_one_of_its_patterns(
    world: World,
) -> None:
    """5: `*` is one word, `#` zero or more; overlapping patterns count once."""
    backend = await world.backend()
    patterns = {
        "exact": ["a.b"],
        "star": ["a.*"],
        "rest": ["a.#"],
        "all": ["#"],
        "many": ["a.#", "a.*", "a.b", "*.b", "c"],
    }
    for group, wanted in patterns.items():
        await backend.bind(group, wanted)
    await backend.publish([on(topic) for topic in ("a", "a.b", "a.c", "a.b.c", "c", "x.b")])
    expected = {
        "exact": ["a.b"],
        "star": ["a.b", "a.c"],
        "rest": ["a", "a.b", "a.b.c", "a.c"],
        "all": ["a", "a.b", "a.b.c", "a.c", "c", "x.b"],
        "many": ["a", "a.b", "a.b.c", "a.c", "c", "x.b"],
    }
    for group, topics in expected.items():
        assert ids(await take(world, backend, len(topics), group=group)) == topics
        await nothing(world, backend, group=group, seconds=MOMENT / 3)


@pytest.mark.promise(5)
async def test_calls_that_follow_each_other_reach_all_of_many_groups(world: World) -> None:
    """5: however many groups there are for one message, and however many messages in a call."""
    groups = [f"g{number}" for number in range(6)]
    backend = await bound(world, *groups)
    calls = [tasks(size, f"c{size}-") for size in range(1, 8)]
    for call in calls:
        await backend.publish(call)
    expected = sorted(message.id for call in calls for message in call)
    for group in groups:
        assert sorted(ids(await take(world, backend, len(expected), group=group))) == expected


@pytest.mark.promise(5)
async def test_a_message_for_one_group_reaches_no_other(world: World) -> None:
    """5: not even one that is bound to its topic; nor need its own group be."""
    backend = await bound(world, "one", "two")
    await backend.bind("third", ["other"])
    await backend.publish([task("a", group="one"), task("b", group="third")])
    assert ids(await take(world, backend, 1, group="one")) == ["a"]
    assert ids(await take(world, backend, 1, group="third")) == ["b"]
    await nothing(world, backend, group="two")


@pytest.mark.promise(5)
async def test_members_of_a_group_share_its_messages(world: World) -> None:
    """5: each message has one holder, all are held."""
    publisher = await bound(world)
    members = [await world.backend() for _ in range(3)]
    await publisher.publish(tasks(90))
    found: list[Delivery] = []

    async def work(number: int) -> None:
        while len(found) < 90:
            found.extend(await members[number].pull("g", ORDER, limit=5, wait=0.2))

    async def together() -> None:
        await asyncio.gather(*(work(number) for number in range(3)))

    await world.within(SOON, together())
    assert ids(found) == sorted(message.id for message in tasks(90))


@pytest.mark.promise(22)
async def test_binding_again_with_the_same_patterns_changes_nothing(world: World) -> None:
    """22: also while messages wait, and in another order."""
    backend, other = await world.backend(), await world.backend()
    await backend.bind("g", ["work.*", "more"])
    await backend.publish(tasks(20))
    await other.bind("g", ["more", "work.*"])
    await asyncio.gather(*(backend.bind("g", ["work.*", "more"]) for _ in range(3)))
    await backend.publish([on("more")])
    found = ids(await take(world, backend, 21))
    assert found == sorted([*(message.id for message in tasks(20)), "more"])
    await nothing(world, backend)


@pytest.mark.promise(22)
async def test_binding_with_other_patterns_loses_nothing_accepted(world: World) -> None:
    """22: what was routed by the old patterns is still delivered, the new ones hold at once."""
    backend, other = await world.backend(), await world.backend()
    await backend.bind("g", ["old.#", "both"])
    await backend.publish([on("old.a"), on("both", "before")])
    await other.bind("g", ["new.#", "both"])
    await backend.publish([on("new.a"), on("both", "after")])
    with pytest.raises(Unroutable):
        await backend.publish([on("old.b")])
    assert ids(await take(world, backend, 4)) == ["after", "before", "new.a", "old.a"]
    await nothing(world, backend)


@pytest.mark.promise(22)
async def test_unbind_is_refused_while_anything_waits_unless_dropped(world: World) -> None:
    """22: waiting, delayed or in somebody's hands."""
    backend = await bound(world, "waiting", "delayed", "leased", "empty")
    later = world.clock.wall() + 3600
    await backend.publish([task("a", group="waiting"), task("b", group="leased")])
    await backend.publish([task("c", group="delayed", due=later)])
    await take(world, backend, 1, group="leased")
    for group in ("waiting", "delayed", "leased"):
        with pytest.raises(Conflict):
            await backend.unbind(group)
        await backend.unbind(group, drop=True)
    await backend.unbind("empty")
    await backend.unbind("never-bound")
    with pytest.raises(Unroutable):
        await backend.publish([task("d")])


@pytest.mark.promise(22)
async def test_a_group_bound_anew_starts_empty(world: World) -> None:
    """22: what was dropped with it stays dropped."""
    backend = await bound(world)
    await backend.publish([task("a"), task("b", group="g")])
    await backend.unbind("g", drop=True)
    await backend.bind("g", ["work.#"])
    await backend.publish([task("c")])
    assert ids(await take(world, backend, 1)) == ["c"]
    await nothing(world, backend)
