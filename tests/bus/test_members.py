"""Promise 22: versions of a role side by side, and groups that nobody is in any more."""

import asyncio

import pytest

from bus.bus import Bus
from bus.errors import Unroutable
from bus.members import DESERTED, SIGN_EVERY, Members, deserted, last_seen, versions
from contracts.clock import ManualClock
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import envelope, memory_bus

SHORT = 3.0
"""Seconds a note lasts here: longer than a bind takes on any broker."""


class Version:
    """A process of a version of the role, which asks for one topic."""

    def __init__(self, world: World, bus: Bus, members: Members, topic: str) -> None:
        self.bus = bus
        self.members = members
        self.topic = topic
        self._world = world

    async def join(self) -> None:
        """Start."""
        await self.members.join("g", [self.topic])

    async def look(self) -> None:
        """Renew."""
        await self.members.stay("g", [self.topic])

    async def is_served(self, id_: str) -> bool:
        """Whether what it asks for is accepted, and reaches the group."""
        try:
            await self.bus.publish([envelope(id_, topic=self.topic)])
        except Unroutable:
            return False
        (delivery,) = await self._world.within(SOON, self.bus.pull("g", free=1, wait=SOON))
        assert (delivery.message.id, delivery.message.topic) == (id_, self.topic)
        return await self.bus.forget(delivery)


async def version(world: World, topic: str) -> Version:
    """A process that has not started yet."""
    backend, store = await world.backend(), await world.keyvalue()
    members = Members(store, world.clock, backend.bind, ttl=SHORT)
    return Version(world, Bus(backend, store, clock=world.clock), members, topic)


@pytest.mark.promise(22)
async def test_versions_that_start_by_turns_are_all_served(world: World) -> None:
    """22: whoever binds last adds to what the others ask for."""
    old, new = await version(world, "work.old"), await version(world, "work.new")
    for turn, starting in enumerate((old, new, old, new, old)):
        await starting.join()
        assert await starting.is_served(f"own-{turn}")
        if turn:
            assert await old.is_served(f"old-{turn}")
            assert await new.is_served(f"new-{turn}")


@pytest.mark.promise(22)
async def test_versions_that_start_at_once_are_all_served(world: World) -> None:
    """22: once each has joined, whoever came first."""
    versions = [await version(world, f"work.v{number}") for number in range(4)]
    await asyncio.gather(*(each.join() for each in versions))
    served = [await each.is_served(f"t{n}") for n, each in enumerate(versions)]
    assert served == [True] * 4


@pytest.mark.promise(22)
async def test_what_a_version_asked_for_goes_with_its_last_member(world: World) -> None:
    """22: two looks after its note has expired, and not before."""
    old, new = await version(world, "work.old"), await version(world, "work.new")
    await old.join()
    await new.join()
    await new.look()
    assert await old.is_served("still")
    await world.pass_time(SHORT + 1.1)
    await new.look()
    await new.look()
    assert await new.is_served("new")
    with pytest.raises(Unroutable):
        await old.bus.publish([envelope("gone", topic="work.old")])


@pytest.mark.promise(22)
async def test_an_outage_longer_than_the_notes_cuts_nobody_off(world: World) -> None:
    """22: all notes have expired; each version is asked for until all have looked again."""
    old, new = await version(world, "work.old"), await version(world, "work.new")
    await old.join()
    await new.join()
    await old.look()
    await world.pass_time(SHORT + 1.1)
    for turn, looking in enumerate((new, old, new, old)):
        await looking.look()
        assert await old.is_served(f"old-{turn}")
        assert await new.is_served(f"new-{turn}")


@pytest.mark.promise(22)
async def test_a_group_whose_members_are_gone_is_told_from_others(world: World) -> None:
    """22: when one was last there is kept, also without members, until the group is forgotten."""
    bus = Bus(await world.backend(), await world.keyvalue(), clock=world.clock)
    await bus.join("g", ["work.#"])
    await bus.join("h", ["work.#"])
    seen = await last_seen(bus.store)
    now = world.clock.wall()
    assert set(seen) == {"g", "h"}
    assert all(now - 5.0 < at <= now for at in seen.values())
    assert deserted(["g", "h", "never"], seen, now) == {}
    assert set(deserted(["g"], seen, now + DESERTED)) == {"g"}
    await bus.unbind("g")
    assert set(await last_seen(bus.store)) == {"h"}


@pytest.mark.promise(22)
async def test_a_group_that_was_retired_begins_anew(world: World) -> None:
    """22: what an earlier version asked for does not come back with the next one."""
    old, new = await version(world, "work.old"), await version(world, "work.new")
    await old.join()
    assert await versions(old.bus.store, "g") == [("work.old",)]
    await old.bus.unbind("g")
    assert await versions(old.bus.store, "g") == []
    await new.join()
    assert await new.is_served("new")
    with pytest.raises(Unroutable):
        await new.bus.publish([envelope("old", topic="work.old")])


@pytest.mark.promise(22)
async def test_a_member_signs_as_long_as_it_stays() -> None:
    """22: true to a minute, by the clock's hand."""
    clock = ManualClock()
    bus, _, _ = memory_bus(clock)
    await bus.join("g", ["work.#"])
    for _ in range(40):
        await clock.advance(SIGN_EVERY / 3)
        await bus.stay("g", ["work.#"])
        assert clock.wall() - (await last_seen(bus.store))["g"] <= SIGN_EVERY
    await clock.advance(DESERTED)
    assert set(deserted(["g"], await last_seen(bus.store), clock.wall())) == {"g"}
