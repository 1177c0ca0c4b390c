"""The key-value store when many write at once, when its broker dies, and when it is closed."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from bus.errors import Closed, Conflict, Unreachable
from bus.keyvalue.protocol import ABSENT, KeyValue
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON, eventually, persist

Call = Callable[[], Coroutine[Any, Any, object]]


@pytest.mark.promise(0)
async def test_of_many_that_compare_and_set_at_once_one_wins(world: World) -> None:
    """For `ABSENT` and for a revision, from several connections, again and again."""
    stores = [await world.keyvalue() for _ in range(4)]
    revision = 0
    for turn in range(10):

        async def attempt(number: int, turn: int = turn, expect: int = revision) -> int | None:
            store: KeyValue = stores[number % 4]
            try:
                value = f"{turn}-{number}".encode()
                return await store.put("a/1", value, expect=expect if turn else ABSENT)
            except Conflict:
                return None

        results = await asyncio.gather(*map(attempt, range(12)))
        winners = [number for number, result in enumerate(results) if result is not None]
        assert len(winners) == 1
        entry = await stores[0].get("a/1")
        assert entry is not None
        assert entry.value == f"{turn}-{winners[0]}".encode()
        assert entry.revision == results[winners[0]]
        revision = entry.revision


@pytest.mark.promise(0)
async def test_counting_by_compare_and_set_loses_nothing(world: World) -> None:
    """Read, add one, write if unchanged: every addition counts."""
    stores = [await world.keyvalue() for _ in range(3)]
    await stores[0].put("count", b"0")

    async def add(store: KeyValue) -> None:
        for _ in range(10):
            while True:
                entry = await store.get("count")
                assert entry is not None
                raised = str(int(entry.value) + 1).encode()
                try:
                    await store.put("count", raised, expect=entry.revision)
                    break
                except Conflict:
                    continue

    async def all_of_them() -> None:
        await asyncio.gather(*map(add, stores))

    await world.within(SOON, all_of_them())
    entry = await stores[0].get("count")
    assert entry is not None
    assert entry.value == b"30"


@pytest.mark.promise(0)
async def test_entries_survive_a_killed_broker(mortal: World) -> None:
    """What a `put` that returned wrote is there; what was deleted is not; a ttl still ends."""
    store = await mortal.keyvalue()
    await asyncio.gather(*(store.put(f"a/{n}", str(n).encode()) for n in range(100)))
    await store.put("a/expires", b"x", ttl=3.0)
    assert await store.delete("a/7")
    await mortal.kill_store()
    again = await mortal.keyvalue()
    found = await mortal.within(SOON, persist(mortal, lambda: again.list("a/")))
    numbers = sorted(entry.key for entry in found if entry.key != "a/expires")
    assert numbers == sorted(f"a/{n}" for n in range(100) if n != 7)

    async def expired() -> bool:
        return await again.get("a/expires") is None

    await eventually(mortal, 5.0, expired)


@pytest.mark.promise(0)
async def test_only_bus_errors_leave_a_store(mortal: World) -> None:
    """`Unreachable` without a broker, `Closed` once closed; closing twice does nothing."""
    store = await mortal.keyvalue()
    revision = await store.put("a/1", b"one")
    calls: list[Call] = [
        lambda: store.get("a/1"),
        lambda: store.put("a/1", b"two"),
        lambda: store.put("a/1", b"two", expect=revision),
        lambda: store.delete("a/1"),
        lambda: store.list("a/"),
    ]
    await mortal.stop_store(kill=True)
    await mortal.within(7.0, _all_raise(Unreachable, calls))
    await store.close()
    await store.close()
    await mortal.within(1.0, _all_raise(Closed, calls))
    await mortal.start_store()


async def _all_raise(error: type[Exception], calls: list[Call]) -> None:
    results = await asyncio.gather(*(call() for call in calls), return_exceptions=True)
    assert [result for result in results if not isinstance(result, error)] == []
