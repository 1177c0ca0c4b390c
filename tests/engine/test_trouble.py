"""What does not work in a worker is told: pulls that fail or hang, leases that are not renewed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from bus.backend import Delivery
from bus.errors import Unreachable
from contracts.clock import ManualClock
from tests.bus.rooms import delivery, envelope
from tests.engine.fleets import LiveFleet, ManualFleet, made, renewed_never
from workers.engine.keeper import Extender, Keeper
from workers.sdk.context import Context


@pytest.fixture
async def fleet() -> AsyncIterator[ManualFleet]:
    found = ManualFleet()
    yield found
    await found.close()


async def quick(_payload: Any, _ctx: Context) -> int:
    return 1


@pytest.mark.promise(16)
async def test_a_worker_that_cannot_pull_says_why(fleet: ManualFleet) -> None:
    """16: and no longer as soon as it can, although there is nothing to pull."""
    member = await fleet.start(made(quick))
    pull, away = member.backend.pull, True

    async def sometimes(*arguments: Any, **options: Any) -> list[Delivery]:
        if away:
            raise Unreachable("no such stream")
        return await pull(*arguments, **options)

    member.backend.pull = sometimes  # type: ignore[method-assign]
    assert member.worker.trouble() == ""
    await fleet.clock.advance(25.0)
    assert "no such stream" in member.worker.trouble()
    away = False
    await fleet.clock.advance(1.0)
    assert member.worker.trouble() == ""
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == 1


async def test_an_outage_is_told_at_its_beginning_from_time_to_time_and_at_its_end(
    fleet: ManualFleet,
) -> None:
    """Not at each try: there are two a second where connecting is refused at once."""
    member = await fleet.start(made(quick))
    pull, away, tries = member.backend.pull, True, 0

    async def sometimes(*arguments: Any, **options: Any) -> list[Delivery]:
        nonlocal tries
        tries += 1
        if away:
            raise Unreachable("no such stream")
        return await pull(*arguments, **options)

    member.backend.pull = sometimes  # type: ignore[method-assign]
    with capture_logs() as told:
        await fleet.clock.advance(90.0)
        away = False
        await fleet.clock.advance(1.0)
    said = [line["event"] for line in told if "pull" in line["event"]]
    assert tries > 50
    assert set(said[:-1]) == {"cannot pull; trying again"}
    assert len(said) in {4, 5}
    assert said[-1] == "pulls work again"


async def test_a_pull_that_never_returns_is_told(fleet: ManualFleet) -> None:
    """It waits for twenty seconds at most; one that takes much longer is deaf."""
    member = await fleet.start(made(quick))

    async def never(*_arguments: Any, **_options: Any) -> list[Delivery]:
        await asyncio.Event().wait()
        return []

    member.backend.pull = never  # type: ignore[method-assign]
    await fleet.clock.advance(60.0)
    assert "late" in member.worker.trouble()


async def test_a_worker_with_its_hands_full_is_in_no_trouble(fleet: ManualFleet) -> None:
    """It does not pull; what failed before is not its present state."""
    gate = asyncio.Event()

    async def slow(_payload: Any, _ctx: Context) -> int:
        await gate.wait()
        return 1

    member = await fleet.start(made(slow, concurrency=1, timeout=10_000.0))
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: member.worker.running == 1)
    await fleet.clock.advance(400.0)
    assert member.worker.trouble() == ""
    gate.set()
    assert await fleet.within(task.result()) == 1


async def test_a_keeper_says_why_it_cannot_renew() -> None:
    clock = ManualClock()
    keeper = Keeper(10.0, clock, lambda _: None)
    held = delivery(envelope("a"))

    class Extending:
        away = True

        async def extend(self, deliveries: Any) -> list[Delivery]:
            return await renewed_never(deliveries) if self.away else []

        async def close(self) -> None:
            return

    extending = Extending()
    keeper.hold(held)
    clock._now += 1.0
    await keeper.renew(extending)
    assert "no answer" in keeper.trouble
    extending.away = False
    await keeper.renew(extending)
    assert keeper.trouble == ""
    extending.away = True
    await keeper.renew(extending)
    keeper.release(held)
    await keeper.renew(extending)
    assert keeper.trouble == "", "there is nothing to renew"


async def test_a_host_tells_what_is_bound_what_troubles_it_and_whether_leases_are_kept() -> None:
    fleet = LiveFleet(lease=1.0)
    thread_ends: list[Any] = []

    class Mortal:
        async def extend(self, deliveries: Any) -> list[Delivery]:
            return await renewed_never(deliveries)

        async def close(self) -> None:
            return

    async def mortal() -> Extender:
        thread_ends.append((asyncio.get_running_loop(), asyncio.current_task()))
        return Mortal()

    async with fleet.running(made(quick), extender=mortal) as host:
        assert (host.unbound(), dict(host.troubles()), host.keeps) == ([], {}, True)
        host._keeper.trouble = "away"
        assert host.troubles() == {"renewing leases": "away"}
        loop, task = thread_ends[0]
        loop.call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(host._thread._thread.join, 5.0)
        assert not host.keeps
