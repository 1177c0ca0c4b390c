"""Following: as watching, and up to which moment everything is known."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.keyvalue.protocol import Change, Current, KeyValue, Snapshot, Wish, Written
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON, persist

EVERY = 0.2


class Follower:
    """Follows `a/` in a task of its own and keeps what it was told."""

    def __init__(self, world: World, store: KeyValue, wish: Wish | None = None) -> None:
        self._world = world
        self._news = asyncio.Event()
        self.told: list[Change | Current] = []
        changes = store.follow("a/", every=EVERY, wish=wish)
        self._task = asyncio.create_task(self._follow(changes))

    async def _follow(self, changes: AsyncIterator[Change | Current]) -> None:
        async for change in changes:
            self.told.append(change)
            self._news.set()

    async def current_at(self, moment: float, seconds: float = SOON) -> None:
        """Return when everything from before `moment` is said to be known."""

        async def wait() -> None:
            while not any(c.monotonic >= moment for c in self.currents()):
                self._news.clear()
                await self._news.wait()

        await self._world.within(seconds, wait())

    def currents(self) -> list[Current]:
        """The moments told so far."""
        return [change for change in self.told if isinstance(change, Current)]

    async def end(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.mark.promise(0)
async def test_a_follower_is_told_that_nothing_has_changed(world: World) -> None:
    """After the snapshot, again and again, never of a moment that is still to come."""
    store = await world.keyvalue()
    follower = Follower(world, store)
    start = world.clock.monotonic()
    await follower.current_at(start + 4 * EVERY)
    assert isinstance(follower.told[0], Snapshot)
    assert len(follower.currents()) >= 3
    now, wall = world.clock.monotonic(), world.clock.wall()
    assert all(c.monotonic <= now and c.wall <= wall for c in follower.currents())
    told = [c.monotonic for c in follower.currents()]
    assert told == sorted(told)
    await follower.end()


@pytest.mark.promise(0)
async def test_what_is_current_lies_little_behind(world: World) -> None:
    """So that a second is enough for whoever must know everything."""
    follower = Follower(world, await world.keyvalue())
    start = world.clock.monotonic()
    await follower.current_at(start)
    behind = []
    for number in range(1, 6):
        await follower.current_at(start + number * EVERY)
        behind.append(world.clock.monotonic() - follower.currents()[-1].monotonic)
    assert sorted(behind)[2] < 0.7
    await follower.end()


@pytest.mark.promise(0)
async def test_who_needs_to_know_how_current_it_is_is_told_soon(world: World) -> None:
    """Where a store has to be asked, nobody may have asked for a long time; changes come all the
    same."""
    store, wish = await world.keyvalue(), Wish()
    follower = Follower(world, store, wish)
    await follower.current_at(world.clock.monotonic() - SOON)
    for number in range(3):
        await world.pass_time(3 * EVERY)
        await store.put(f"a/{number}", b"x")
        asked = world.clock.monotonic()
        wish.make()
        await follower.current_at(asked, 1.0)
        wish.grant()
        assert sum(isinstance(change, Written) for change in follower.told) == number + 1
    await follower.end()


@pytest.mark.promise(0)
async def test_what_was_put_before_a_moment_was_told_before_it(world: World) -> None:
    """By others, while many changes are on their way."""
    store, other = await world.keyvalue(), await world.keyvalue()
    follower = Follower(world, store)
    put: dict[str, float] = {}

    async def write() -> None:
        for number in range(40):
            await other.put(f"a/{number:02}", b"x")
            put[f"a/{number:02}"] = world.clock.monotonic()
            if number % 10 == 0:
                await world.clock.sleep(EVERY)

    await world.within(SOON, write())
    await follower.current_at(max(put.values()))
    known: set[str] = set()
    for change in follower.told:
        if isinstance(change, Snapshot):
            known |= {entry.key for entry in change.entries}
        elif isinstance(change, Written):
            known.add(change.entry.key)
        elif isinstance(change, Current):
            missing = {key for key, at in put.items() if at < change.monotonic - 0.05} - known
            assert missing == set()
    assert known == set(put)
    await follower.end()


@pytest.mark.promise(0)
async def test_a_broker_that_is_gone_says_nothing_and_is_heard_again(mortal: World) -> None:
    """Nothing is known of the time in between until there is a snapshot again."""
    store = await mortal.keyvalue()
    await store.put("a/1", b"one")
    follower = Follower(mortal, store)
    await follower.current_at(mortal.clock.monotonic())
    await mortal.stop_store(kill=True)
    gone = mortal.clock.monotonic()
    await mortal.pass_time(3 * EVERY)
    assert all(c.monotonic <= gone for c in follower.currents())
    await mortal.start_store()
    back = mortal.clock.monotonic()
    told = len(follower.told)
    other = await mortal.keyvalue()
    await mortal.within(SOON, persist(mortal, lambda: other.put("a/2", b"two")))
    await follower.current_at(back, 20.0)
    later = follower.told[told:]
    first = next(n for n, c in enumerate(later) if isinstance(c, Current) and c.monotonic > gone)
    assert any(isinstance(change, Snapshot) for change in later[:first])
    await follower.end()
