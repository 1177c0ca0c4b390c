"""Places of a limited concurrency, held by several processes in one store."""

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import Unreachable
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue, Revision
from bus.places import Places, agreed
from tests.bus.conformance.harness import World

SCOPE = ("role", "a", "role.0")
LEASE = 2.0


class Fleet:
    """Processes that run as much as they may, and the most that ran at once."""

    def __init__(self, world: World, limit: int) -> None:
        self.world = world
        self.limit = limit
        self.running = 0
        self.most = 0
        self.idle = 0.0
        self._ended: float | None = None

    async def process(self, *, broken: bool = False) -> Places:
        """A new one."""
        store: Any = await self.world.keyvalue()
        if broken:
            store = Forgetful(store)
        return Places(store, self.world.clock, random.Random(1), LEASE)

    async def run(self, places: Places, seconds: float) -> None:
        """One task that waits for its place, runs and gives it back."""
        while not await places.take(SCOPE, self.limit):
            await places.chance(SCOPE, self.limit, 60.0)
        now = self.world.clock.wall()
        if self._ended is not None and self.running < self.limit:
            self.idle = max(self.idle, now - self._ended)
        self.running += 1
        self.most = max(self.most, self.running)
        await self.world.clock.sleep(seconds)
        self.running -= 1
        self._ended = self.world.clock.wall()
        places.give(SCOPE)


class Forgetful:
    """A store that tells nobody who holds places."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, **options: Any) -> Revision:
        """Holders are written as none."""
        return await self._store.put(key, b"{}" if key.endswith("/held") else value, **options)


async def storm(world: World, *, broken: bool = False) -> Fleet:
    """Four processes with twelve tasks each, of which three run at once."""
    fleet = Fleet(world, 3)
    processes = [await fleet.process(broken=broken) for _ in range(4)]

    async def all_of_them() -> None:
        runs = [fleet.run(places, 0.05) for places in processes for _ in range(12)]
        await asyncio.gather(*runs)
        for places in processes:
            await places.close()

    await world.within(30.0, all_of_them())
    return fleet


async def test_never_more_run_than_there_are_places(world: World) -> None:
    """Nor does a place stay unused for a second while tasks wait in any process; at the end all
    places are free."""
    fleet = await storm(world)
    assert fleet.most == 3
    assert fleet.idle < 1.0
    entry = await (await world.keyvalue()).get(keys.places(SCOPE) + "held")
    assert entry is not None
    assert entry.value == b"{}"


async def test_a_store_that_forgets_holders_would_be_caught(world: World) -> None:
    """The check above can fail."""
    assert (await storm(world, broken=True)).most > 3


async def test_the_places_of_a_dead_process_are_free_within_its_lease(world: World) -> None:
    """It says nothing any more; whoever waits finds out, and one that lives keeps its own."""
    fleet = Fleet(world, 2)
    dead, alive, heir = [await fleet.process() for _ in range(3)]

    async def scene() -> float:
        assert await dead.take(SCOPE, 2)
        assert await alive.take(SCOPE, 2)
        died = world.clock.wall()
        waiting = asyncio.create_task(fleet.run(heir, 0.0))
        other = await world.keyvalue()
        while not waiting.done():
            await alive.renew(other)
            await world.clock.sleep(LEASE / 4)
        await waiting
        more = [await heir.take(SCOPE, 2) for _ in range(2)]
        assert more == [True, False], "one that lives lost its place"
        return world.clock.wall() - died

    assert LEASE - 0.1 <= await world.within(15.0, scene()) <= LEASE + 2.0


async def test_many_places_are_kept_by_one_sign_of_life(world: World) -> None:
    """However many places and scopes a process holds."""
    places = Places(await world.keyvalue(), world.clock, random.Random(1), LEASE)
    store = await world.keyvalue()

    async def scene() -> int:
        found = await asyncio.gather(*[places.take(("s", str(n % 10)), 20) for n in range(100)])
        assert all(found)
        return len(await store.list(keys.holder()))

    assert await world.within(10.0, scene()) == 1


async def test_a_caller_that_goes_takes_no_place_with_it(world: World) -> None:
    """At whatever moment it is cancelled."""
    places = Places(await world.keyvalue(), world.clock, random.Random(1), LEASE)

    async def scene() -> None:
        for turns in range(30):
            taking = asyncio.create_task(places.take(SCOPE, 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            taking.cancel()
            await asyncio.wait([taking])
            if not taking.cancelled() and taking.result():
                places.give(SCOPE)
            while not await places.take(SCOPE, 1):
                await places.chance(SCOPE, 1, 1.0)
            places.give(SCOPE)
        await places.close()

    await world.within(30.0, scene())


async def test_a_store_that_is_away_gives_no_place_and_gets_them_back(mortal: World) -> None:
    """What ended meanwhile is given back when it is there again."""
    places = Places(await mortal.keyvalue(), mortal.clock, random.Random(1), 60.0)
    other = Places(await mortal.keyvalue(), mortal.clock, random.Random(2), 60.0)
    assert await mortal.within(5.0, places.take(SCOPE, 1))
    await mortal.stop_store(kill=True)
    with pytest.raises(Unreachable):
        await mortal.within(30.0, other.take(SCOPE, 1))
    places.give(SCOPE)
    await mortal.start_store()

    async def free() -> None:
        while True:
            try:
                if await other.take(SCOPE, 1):
                    return
            except Unreachable:
                pass
            await mortal.clock.sleep(0.1)

    await mortal.within(15.0, free())


holders = st.dictionaries(st.sampled_from("abc"), st.integers(0, 5))


@given(holders, st.integers(1, 9), st.integers(0, 5), st.integers(0, 5))
def test_what_a_process_may_hold(
    before: dict[str, int], limit: int, running: int, wanted: int
) -> None:
    """Never more than the limit beyond what runs already, all it can get, others untouched."""
    after = agreed(before, "a", limit, running=running, wanted=wanted)
    mine = after.get("a", 0)
    others = sum(held for name, held in before.items() if name != "a")
    assert running <= mine <= running + wanted
    assert mine == running or mine + others <= limit
    assert mine == running + wanted or mine + others >= limit
    assert {n: h for n, h in after.items() if n != "a"} == {
        n: h for n, h in before.items() if n != "a"
    }


def test_a_limit_that_was_lowered_ends_nothing() -> None:
    assert agreed({"a": 5, "b": 2}, "a", 3, running=5, wanted=2) == {"a": 5, "b": 2}


def test_who_holds_nothing_is_not_named() -> None:
    assert agreed({"a": 2, "b": 1}, "a", 3, running=0, wanted=0) == {"b": 1}
