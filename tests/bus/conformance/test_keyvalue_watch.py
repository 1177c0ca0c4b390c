"""Watching: a snapshot, then every change, and a snapshot again when the thread was lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bus.keyvalue.protocol import Change, Entry, KeyValue, Removed, Snapshot, Written
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import MOMENT, SOON, persist


class View:
    """What a watch has told: every change, and the entries that follow from them."""

    def __init__(self, world: World, changes: AsyncIterator[Change]) -> None:
        self._world = world
        self._changes = changes
        self.told: list[Change] = []
        self.entries: dict[str, bytes] = {}

    async def next(self, seconds: float = SOON) -> Change:
        """The next change; the test fails if none comes in time."""

        async def one() -> Change:
            return await anext(self._changes)

        change = await self._world.within(seconds, one())
        self.told.append(change)
        if isinstance(change, Snapshot):
            self.entries = {entry.key: entry.value for entry in change.entries}
        elif isinstance(change, Written):
            self.entries[change.entry.key] = change.entry.value
        else:
            self.entries.pop(change.key, None)
        return change

    async def until(self, wanted: dict[str, bytes], seconds: float = SOON) -> None:
        """Follow the changes until the entries are as wanted."""
        end = self._world.clock.monotonic() + seconds
        while self.entries != wanted:
            left = end - self._world.clock.monotonic()
            await self.next(max(0.1, left))


async def watching(world: World, store: KeyValue, prefix: str) -> View:
    """A view of `prefix` that has had its first snapshot."""
    view = View(world, store.watch(prefix))
    assert isinstance(await view.next(), Snapshot)
    return view


@pytest.mark.promise(0)
async def test_a_watch_begins_with_a_snapshot_and_tells_changes(world: World) -> None:
    """In order, by whomever they were made, with value and revision; deletes are visible."""
    store, other = await world.keyvalue(), await world.keyvalue()
    first = await store.put("a/1", b"one")
    await store.put("a/2", b"two")
    await store.delete("a/2")
    view = await watching(world, store, "a/")
    assert view.told == [Snapshot((Entry("a/1", b"one", first),))]
    second = await other.put("a/1", b"changed")
    assert await view.next() == Written(Entry("a/1", b"changed", second))
    third = await store.put("a/3", b"")
    assert await view.next() == Written(Entry("a/3", b"", third))
    assert await other.delete("a/1")
    assert await view.next() == Removed("a/1", expired=False)


@pytest.mark.promise(0)
async def test_the_snapshot_of_nothing_is_empty(world: World) -> None:
    """It comes at once, so that a watcher knows that it is up to date."""
    store = await world.keyvalue()
    view = await watching(world, store, "a/")
    assert view.told == [Snapshot(())]


@pytest.mark.promise(0)
async def test_a_large_snapshot_is_one_and_complete(world: World) -> None:
    """More entries than a page of `list` has."""
    store = await world.keyvalue()
    await asyncio.gather(*(store.put(f"a/{n:04}", b"x") for n in range(700)))
    view = await watching(world, store, "a/")
    assert len(view.entries) == 700


@pytest.mark.promise(0)
async def test_a_watch_hears_of_its_prefix_only(world: World) -> None:
    """`a/b/` hears nothing of `a/bc/` or `a/b`."""
    store = await world.keyvalue()
    await store.put("a/bc/0", b"x")
    view = await watching(world, store, "a/b/")
    assert view.entries == {}
    for key in ("a/bc/1", "a/b", "a/b/1", "A/b/1"):
        await store.put(key, b"x")
    await store.delete("a/bc/0")
    await store.put("a/b/2", b"y")
    for _ in range(2):
        assert isinstance(await view.next(), Written)
    assert view.entries == {"a/b/1": b"x", "a/b/2": b"y"}


@pytest.mark.promise(0)
async def test_a_watch_of_everything_hears_everything(world: World) -> None:
    """The empty prefix."""
    store = await world.keyvalue()
    await store.put("a", b"1")
    view = await watching(world, store, "")
    await store.put("b/c", b"2")
    await view.until({"a": b"1", "b/c": b"2"})


@pytest.mark.promise(0)
async def test_nothing_is_missed_between_snapshot_and_changes(world: World) -> None:
    """Watches that begin while others write end up with what is stored."""
    store = await world.keyvalue()
    views: list[View] = []

    async def write() -> None:
        for number in range(150):
            await store.put(f"a/{number % 40}", str(number).encode())
            if number % 7 == 0:
                await store.delete(f"a/{(number * 3) % 40}")

    async def begin() -> None:
        for _ in range(5):
            views.append(View(world, store.watch("a/")))
            await views[-1].next()

    async def both() -> None:
        await asyncio.gather(write(), begin())

    await world.within(SOON, both())
    stored = {entry.key: entry.value for entry in await store.list("a/")}
    for view in views:
        await view.until(stored)


@pytest.mark.promise(0)
async def test_an_expiry_is_a_change_within_a_second(world: World) -> None:
    """Told as expired; an entry written again meanwhile does not go."""
    store = await world.keyvalue()
    view = await watching(world, store, "a/")
    start = world.clock.monotonic()
    await store.put("a/renewed", b"1", ttl=1.0)
    await store.put("a/1", b"one", ttl=1.0)
    await store.put("a/renewed", b"2", ttl=3600.0)
    for _ in range(3):
        assert isinstance(await view.next(), Written)
    assert await view.next(2.2) == Removed("a/1", expired=True)
    assert 0.95 <= world.clock.monotonic() - start < 2.1
    assert view.entries == {"a/renewed": b"2"}


@pytest.mark.promise(0)
async def test_an_expiry_is_told_to_a_watch_that_began_later(world: World) -> None:
    """It knows the entry from its snapshot only."""
    store = await world.keyvalue()
    await store.put("a/1", b"one", ttl=1.0)
    view = await watching(world, store, "a/")
    assert view.entries == {"a/1": b"one"}
    assert await view.next(2.2) == Removed("a/1", expired=True)


@pytest.mark.promise(0)
async def test_a_watch_gets_a_snapshot_again_after_the_broker_was_killed(mortal: World) -> None:
    """And then the changes, from the same iterator; what changed meanwhile is in it."""
    store = await mortal.keyvalue()
    await store.put("a/1", b"one")
    view = await watching(mortal, store, "a/")
    following = asyncio.create_task(view.next(20.0))
    await mortal.stop_store(kill=True)
    await mortal.start_store()
    assert isinstance(await following, Snapshot)
    assert view.entries == {"a/1": b"one"}
    other = await mortal.keyvalue()
    await mortal.within(SOON, persist(mortal, lambda: other.put("a/2", b"two")))
    await view.until({"a/1": b"one", "a/2": b"two"})


@pytest.mark.promise(0)
async def test_a_watch_can_be_cancelled_and_closed(world: World) -> None:
    """In any state; others go on."""
    store = await world.keyvalue()
    stays = await watching(world, store, "a/")
    waiting = asyncio.create_task(_follow(store))
    await world.pass_time(MOMENT)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    closing = store.watch("a/")
    await world.within(SOON, _first(closing))
    await closing.aclose()  # type: ignore[attr-defined]
    await store.put("a/1", b"one")
    await stays.until({"a/1": b"one"})


async def _follow(store: KeyValue) -> None:
    async for _ in store.watch("a/"):
        pass


async def _first(changes: AsyncIterator[Change]) -> Change:
    return await anext(changes)
