"""Machines that share the seats of a fleet: evenly, each seat once, and over deaths."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.fleet.conftest import Connect
from tests.fleet.machines import DYING, LEASE, LIVING, hall, spread, until
from workers.fleet.seat import State
from workers.fleet.staffing import Fleet, Staff


async def test_one_machine_runs_what_is_wanted(connect: Connect) -> None:
    async with hall(connect) as fleet:
        one = await fleet.machine("a", "b")
        await one.crew.ready(20)
        assert (one.ready("a"), one.ready("b")) == (1, 1)
        await fleet.scale("a", 4)
        await until(lambda: one.ready("a") == 4)
        assert await fleet.holders("a") == [one.name] * 4


async def test_fewer_drain_and_are_not_killed(connect: Connect) -> None:
    async with hall(connect) as fleet:
        one = await fleet.machine(a=4)
        await one.crew.ready(20)
        leaving = one.supervisor.seats()
        await fleet.scale("a", 1)
        await until(lambda: len(one.supervisor.seats()) == 1)
        gone = [seat for seat in leaving if seat.info.state is State.ENDED]
        assert [seat.info.exit_code for seat in gone] == [0, 0, 0]
        assert await fleet.holders("a") == [one.name]
        await fleet.scale("a", 0)
        await until(lambda: not one.supervisor.seats())
        assert await fleet.holders("a") == []


async def test_a_machine_that_comes_takes_its_part_and_nothing_moves_then(
    connect: Connect,
) -> None:
    async with hall(connect) as fleet:
        one = await fleet.machine("a")
        await fleet.scale("a", 4)
        await until(lambda: one.ready("a") == 4)
        two = await fleet.machine("a")
        await two.crew.ready(20)
        assert spread(fleet.machines, "a") == [2, 2]
        keepers = {id(seat) for here in (one, two) for seat in here.supervisor.seats()}
        three = await fleet.machine("b")
        await three.crew.ready(20)
        await asyncio.sleep(2.5)  # long enough for what would move
        staying = {id(seat) for here in (one, two) for seat in here.supervisor.seats()}
        assert {k for k in staying if k not in keepers} == set()
        assert spread(fleet.machines, "a") == [2, 2, 0]


async def test_the_seats_of_a_dead_machine_are_taken_within_three_leases(
    connect: Connect,
) -> None:
    async with hall(connect) as fleet:
        one, two = await fleet.machine("a"), await fleet.machine("a")
        await fleet.scale("a", 4)
        await until(lambda: spread([one, two], "a") == [2, 2] and one.ready("a") == 2)
        began = time.monotonic()
        await two.kill()
        await until(lambda: one.ready("a") == 4)
        assert time.monotonic() - began < 3 * LEASE
        assert await fleet.holders("a") == [one.name] * 4


async def test_a_machine_that_ends_gives_its_seats_up_at_once(connect: Connect) -> None:
    async with hall(connect) as fleet:
        one, two = await fleet.machine("a"), await fleet.machine("a")
        await fleet.scale("a", 2)
        await until(lambda: spread([one, two], "a") == [1, 1] and two.ready("a") == 1)
        began = time.monotonic()
        await two.stop()
        await until(lambda: one.seats("a") == 2)
        assert time.monotonic() - began < LEASE


async def test_a_role_is_left_to_those_who_have_its_code(connect: Connect) -> None:
    async with hall(connect) as fleet:
        one, two = await fleet.machine("a"), await fleet.machine("a", "b")
        await fleet.scale("b", 3)
        await until(lambda: two.ready("b") == 3)
        await fleet.scale("c", 2)

        async def staff() -> dict[str, Staff]:
            return {s.role: s for s in (await Fleet.read(one.store)).staff([])}

        async def told() -> bool:
            return (await staff())["b"].where == {two.name: 3}

        await until(told)
        nobodys = (await staff())["c"]
        assert (nobodys.wanted, nobodys.ready) == (2, 0)
        assert "no machine has the code" in nobodys.why


async def _storm(connect: Callable[[], Awaitable[Any]]) -> tuple[int, int]:
    """Three machines, scaled up and down; the most seats held at once, and how often one was held
    twice."""
    async with hall(connect) as fleet:
        machines = [await fleet.machine("a") for _ in range(3)]
        most = twice = 0

        async def watch() -> None:
            nonlocal most, twice
            while True:
                places = [place for one in machines for place in one.crew._seats.held()]
                twice += len(places) - len(set(places))
                most = max(most, len(set(places)))
                await asyncio.sleep(0)

        watching = asyncio.create_task(watch())
        for count in (6, 2, 5, 0, 3):
            await fleet.scale("a", count)
            await until(lambda n=count: sum(spread(machines, "a")) == n)  # type: ignore[misc]
        await until(lambda: spread(machines, "a") == [1, 1, 1])
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        return most, twice


async def test_no_seat_is_held_twice_while_everything_changes(connect: Connect) -> None:
    assert await _storm(connect) == (6, 0)


class Careless:
    """A store that writes whatever was there before."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def put(self, key: str, value: bytes, **options: Any) -> int:
        """Without comparing."""
        await asyncio.sleep(0)
        return int(await self._store.put(key, value, ttl=options.get("ttl")))


@pytest.mark.parametrize("connect", ["memory"], indirect=True)
async def test_a_store_that_does_not_compare_would_be_found_out(connect: Connect) -> None:
    async def careless() -> Careless:
        return Careless(await connect())

    _, twice = await _storm(careless)
    assert twice > 0


async def test_a_crash_loop_is_told_to_the_fleet_and_the_rest_goes_on(connect: Connect) -> None:
    async with hall(connect) as fleet:
        one = await fleet.having({"sick": DYING, "well": LIVING})
        await until(lambda: one.ready("well") == 1)
        await until(lambda: any(s.info.restarts >= 2 for s in one.supervisor.seats()))

        async def told() -> bool:
            found = (await Fleet.read(one.store)).crashes()
            return [(c.role, c.exit_code, c.restarts >= 2) for c in found] == [("sick", 3, True)]

        await until(told)
        assert one.ready("well") == 1


@pytest.mark.parametrize("connect", ["memory"], indirect=True)
async def test_cut_off_only_those_workers_drain_that_would_double_others(
    connect: Connect,
) -> None:
    """Others may run our seats by now. A worker that hears no bus either can start nothing."""
    async with hall(connect) as fleet:
        one = await fleet.machine(a=2)
        await one.crew.ready(20)
        keepers = one.supervisor.seats()
        one.hears = False
        store = one.store._store  # type: ignore[attr-defined]
        store.outage()
        await asyncio.sleep(LEASE + 1.5)
        assert one.supervisor.seats() == keepers
        assert one.ready("a") == 2
        one.hears = True
        await until(lambda: one.seats("a") == 0)
        store.restore()
        await until(lambda: one.ready("a") == 2)
        assert await fleet.holders("a") == [one.name] * 2


@pytest.mark.parametrize("connect", ["memory"], indirect=True)
async def test_a_store_that_was_away_for_all_moves_nothing(connect: Connect) -> None:
    """Its entries have lapsed when it comes back: everybody keeps what nobody else has taken."""
    async with hall(connect) as fleet:
        one, two = await fleet.machine("a"), await fleet.machine("a")
        one.hears = two.hears = False
        await fleet.scale("a", 2)
        await until(lambda: [one.ready("a"), two.ready("a")] == [1, 1])
        keepers = [*one.supervisor.seats(), *two.supervisor.seats()]
        store = one.store._store  # type: ignore[attr-defined]
        store.outage()
        await asyncio.sleep(LEASE + 1.0)
        store.restore()
        await asyncio.sleep(LEASE)
        assert [*one.supervisor.seats(), *two.supervisor.seats()] == keepers
        assert not any(keeper.stopping for keeper in keepers)


@pytest.mark.parametrize("connect", ["memory"], indirect=True)
async def test_a_machine_that_stood_still_keeps_what_nobody_has_taken(connect: Connect) -> None:
    """Its sign of life has lapsed meanwhile, but it was not cut off: it did not run."""
    async with hall(connect) as fleet:
        one = await fleet.machine(a=2)
        await one.crew.ready(20)
        keepers = one.supervisor.seats()
        time.sleep(2 * LEASE)  # noqa: ASYNC251 - the whole loop shall stand still
        await asyncio.sleep(LEASE)
        assert one.supervisor.seats() == keepers
        assert not any(keeper.stopping for keeper in keepers)
