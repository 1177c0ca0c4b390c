"""Slots of limited rates, reserved by several processes in one store."""

import asyncio
import random
from typing import Any

import pytest

from bus.buckets import Bucket
from bus.errors import Unreachable
from bus.keyvalue.protocol import KeyValue, Revision
from bus.limits import LATE, Reservations, held, mark, written
from bus.scopes import Scopes
from contracts.envelope import decode, encode
from contracts.limits import Limit
from tests.bus.conformance.harness import World
from tests.bus.rooms import envelope
from tests.bus.test_buckets import most_in_a_window

BUCKET = Bucket(0.05, burst=4)


class NeverCompares:
    """A store whose puts overwrite whatever is there."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, *, ttl: float, expect: object) -> Revision:
        """Without `expect`."""
        assert expect is not None
        return await self._store.put(key, value, ttl=ttl)


async def reserved(world: World, *, broken: bool = False) -> list[float]:
    """The slots of 160 tasks in four processes, ten at a moment."""
    found: list[float] = []

    async def process(number: int) -> None:
        store: Any = await world.keyvalue()
        if broken:
            store = NeverCompares(store)
        reservations = Reservations(store, world.clock, random.Random(number))
        for _ in range(4):
            asks = [reservations.reserve(("role", "a"), BUCKET) for _ in range(10)]
            found.extend(await asyncio.gather(*asks))

    async def all_of_them() -> None:
        await asyncio.gather(*map(process, range(4)))

    await world.within(20.0, all_of_them())
    return found


def check(slots: list[float]) -> None:
    """Each slot is given once, and no window has more than it may."""
    assert len(slots) == 160
    for seconds in (0.05, 0.5, 1.0):
        assert most_in_a_window(slots, seconds - 1e-6) <= BUCKET.burst + seconds / BUCKET.interval


async def test_however_many_processes_ask_the_fleet_keeps_the_rate(world: World) -> None:
    check(await reserved(world))


async def test_a_store_that_does_not_compare_would_be_caught(world: World) -> None:
    """The check above can fail."""
    slots = await reserved(world, broken=True)
    with pytest.raises(AssertionError):
        check(slots)


async def test_a_moment_costs_one_change_of_the_bucket(world: World) -> None:
    """However many tasks ask in it, and nothing has to be read before."""
    store = _Counting(await world.keyvalue())
    reservations = Reservations(store, world.clock, random.Random(1))

    async def moment() -> None:
        await reservations.reserve(("a",), BUCKET)
        store.calls.clear()
        await asyncio.gather(*[reservations.reserve(("a",), BUCKET) for _ in range(300)])

    await world.within(10.0, moment())
    assert store.calls.count("put") <= 2
    assert store.calls.count("get") == 0


async def test_a_store_that_is_away_gives_no_slot(mortal: World) -> None:
    """What is limited does not start, rather than too often."""
    reservations = Reservations(await mortal.keyvalue(), mortal.clock, random.Random(1))
    await mortal.within(5.0, reservations.reserve(("a",), BUCKET))
    await mortal.stop_store(kill=True)
    with pytest.raises(Unreachable):
        await mortal.within(30.0, reservations.reserve(("a",), BUCKET))
    await mortal.start_store()


class _Counting:
    """A store that notes what is asked of it."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.calls.append(name)
        return getattr(self._store, name)


LIMITS = Scopes("a", (Limit(rate="1/s"), Limit(rate="1/s", by="tenant")))


def test_slots_travel_with_the_copy_they_were_written_for() -> None:
    """A hand-back takes them along; a used attempt has used them; a copy they were not written
    for, a first copy and what nobody can read have none."""
    scopes = LIMITS.of(envelope())
    slots = {mark(scope): 1_700_000_000.5 + n for n, scope in enumerate(scopes)}
    task = envelope(copy=3, reserved=written(slots))
    headers = encode(task)
    assert held(decode(headers, b"").reserved, scopes, 1_700_000_000.0) == slots
    assert decode(encode(task.again()), b"").reserved == task.reserved
    assert task.again(attempt=task.attempt + 1).reserved is None
    for forged in ("4;" + written(slots), "0;" + written(slots), "3;", ";", "3", written(slots)):
        assert decode({**headers, "muster-reserved": forged}, b"").reserved is None
    first = encode(envelope()) | {"muster-reserved": "0;" + written(slots)}
    assert decode(first, b"").reserved is None
    assert "muster-reserved" not in encode(decode(first, b""))


@pytest.mark.parametrize("text", ["", "x", "=", "a=b", "a=nan", "a=1,b", "ffffffff=1e99"])
def test_what_is_no_reservation_is_none(text: str) -> None:
    scopes = LIMITS.of(envelope())
    assert held(text, scopes, 5.0) == {}
    assert held(f"{mark(scopes[0])}=x", scopes, 5.0) == {}
    assert held(f"{mark(scopes[0])}=nan", scopes, 5.0) == {}
    assert held(f"{mark(scopes[0])}=-inf", scopes, 5.0) == {}


def test_slots_are_over_a_while_after_the_latest() -> None:
    scopes = LIMITS.of(envelope())
    slots = {mark(scopes[0]): 100.0, mark(scopes[1]): 160.0}
    assert held(written(slots), scopes, 160.0 + LATE) == slots
    assert held(written(slots), scopes, 160.1 + LATE) == {}
