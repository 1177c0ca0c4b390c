"""Promise 18, its first half: `lag` is true within a second."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, Backend, Lag, Lane
from bus.errors import Unroutable
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import bound, eventually, take, task, tasks, total


async def becomes(
    world: World, backend: Backend, group: str, true: Callable[[Mapping[Lane, Lag]], bool]
) -> None:
    """The test fails if the lag is not so within a second."""

    async def probe() -> bool:
        return true(await backend.lag(group))

    await eventually(world, 1.0, probe)


@pytest.mark.promise(18)
async def test_lag_says_what_waits_in_each_lane(world: World) -> None:
    """18: seen by every connection; a new group has nothing in any lane."""
    backend, other = await bound(world, "g", "h"), await world.backend()
    assert total(await backend.lag("g"), "waiting") == 0
    await backend.publish(tasks(5))
    await backend.publish([replace(task("high"), lane=HIGH), replace(task("low"), lane=LOW)])
    await backend.publish([task("copy", copy=1, group="g")])
    wanted = {HIGH: 1, RETRY: 1, NORMAL: 5, LOW: 1}

    def true(lag: Mapping[Lane, Lag]) -> bool:
        return {lane: lag[lane].waiting for lane in wanted} == wanted

    await becomes(world, other, "g", true)
    await becomes(world, other, "h", lambda lag: total(lag, "waiting") == 7)


@pytest.mark.promise(18)
async def test_lag_follows_a_message_through_its_life(world: World) -> None:
    """18: delayed, waiting, leased, gone; `None` only where the broker cannot say."""
    backend = await bound(world)
    due = world.clock.wall() + 1.0
    await backend.publish([task("a", group="g", due=due)])

    def counts(waiting: int, delayed: int, leased: int) -> Callable[[Mapping[Lane, Lag]], bool]:
        def true(lag: Mapping[Lane, Lag]) -> bool:
            return (
                total(lag, "waiting") == waiting
                and total(lag, "delayed") in {delayed, None}
                and total(lag, "leased") in {leased, None}
            )

        return true

    await becomes(world, backend, "g", counts(0, 1, 0))
    await world.pass_time(1.0)
    await becomes(world, backend, "g", counts(1, 0, 0))
    held = await take(world, backend, 1)
    await becomes(world, backend, "g", counts(0, 0, 1))
    assert await backend.settle(held) == []
    await becomes(world, backend, "g", counts(0, 0, 0))


@pytest.mark.promise(18)
async def test_lag_counts_a_lost_message_as_waiting_or_leased_until_it_is_settled(
    world: World,
) -> None:
    """18: nothing drops out of sight between two holders."""
    backend = await bound(world)
    await backend.publish(tasks(4))
    await take(world, backend, 4)
    await world.pass_time(world.lease + 0.2)
    lag = await backend.lag("g")
    waiting, leased = total(lag, "waiting"), total(lag, "leased")
    assert leased is None or (waiting or 0) + leased == 4
    back = await take(world, backend, 4, seconds=1.0)
    await backend.settle(back)
    await becomes(world, backend, "g", lambda lag: total(lag, "leased") in {0, None})


@pytest.mark.promise(18)
async def test_lag_of_a_group_that_is_not_bound_is_an_error(world: World) -> None:
    """18: not an empty answer, which would look like health."""
    backend = await bound(world)
    with pytest.raises(Unroutable):
        await backend.lag("nobody")
