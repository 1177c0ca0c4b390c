"""The clock that moves only when told to."""

import asyncio

from contracts.clock import ManualClock, SystemClock


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock(100.0)
    sleeper = asyncio.create_task(clock.sleep(5.0))
    await clock.advance(4.9)
    assert not sleeper.done()
    await clock.advance(0.1)
    assert sleeper.done()
    assert clock.wall() == clock.monotonic() == 105.0


async def test_sleepers_wake_in_order_of_their_time_and_see_it() -> None:
    clock = ManualClock(0.0)
    seen: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append((name, clock.wall()))

    tasks = [asyncio.create_task(sleep(n, s)) for n, s in [("c", 3.0), ("a", 1.0), ("b", 1.0)]]
    await clock.advance(10.0)
    await asyncio.gather(*tasks)
    assert seen == [("a", 1.0), ("b", 1.0), ("c", 3.0)]


async def test_what_wakes_can_sleep_again_inside_the_same_advance() -> None:
    clock = ManualClock(0.0)
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(1.0)
            ticks.append(clock.wall())

    task = asyncio.create_task(tick())
    await clock.advance(3.5)
    task.cancel()
    assert ticks == [1.0, 2.0, 3.0]


async def test_a_sleeper_that_was_cancelled_does_not_hold_up_the_others() -> None:
    clock = ManualClock()
    gone, stays = (asyncio.create_task(clock.sleep(1.0)) for _ in range(2))
    await clock.advance(0.0)
    gone.cancel()
    await clock.advance(1.0)
    assert stays.done()
    assert gone.cancelled()


async def test_a_sleep_of_nothing_returns_at_once_on_both_clocks() -> None:
    for clock in (ManualClock(), SystemClock()):
        async with asyncio.timeout(5):
            await clock.sleep(0)
            await clock.sleep(-1)
        assert clock.wall() > 1_600_000_000
