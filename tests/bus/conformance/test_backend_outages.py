"""Promises 1, 9, 10 and 16 under load: a server goes away in every way, and comes back."""

from collections.abc import Callable

import pytest

from tests.bus.conformance.harness import World
from tests.bus.conformance.load import BACK, Load, loaded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MUCH = 300
"""Tasks that are done before each trouble."""

_AWAY = 0.5
_FROZEN = 10.0
_BUSY = 30.0


async def ended(world: World, *, store: bool, kill: bool) -> None:
    """SIGKILL, or in good order; then a new start."""
    stop, start = world.stop_broker, world.start_broker
    if store:
        stop, start = world.stop_store, world.start_store
    await stop(kill=kill)
    await world.pass_time(_AWAY)
    await start()


async def frozen(world: World, *, store: bool) -> None:
    """SIGSTOP for ten seconds."""
    await (world.freeze_store if store else world.freeze_broker)()
    await world.pass_time(_FROZEN)
    await (world.thaw_store if store else world.thaw_broker)()


async def noticed(world: World, load: Load, refused: int) -> float:
    """Seconds until work goes on; somebody was told that it did not."""
    began = world.clock.monotonic()
    await world.within(BACK, load.goes_on())
    assert load.refused > refused
    return world.clock.monotonic() - began


async def outlives(
    world: World,
    happened: Callable[[str], None],
    *troubles: str,
    store: bool = False,
) -> None:
    """What has been settled never comes again from a server that is live or was restarted, and may
    from one that was killed."""
    took: list[str] = []
    async with loaded(world) as load:
        for trouble in troubles or ("stop", "freeze", "kill"):
            await world.within(_BUSY, load.goes_on(MUCH))
            assert load.again == []
            refused = load.refused
            if trouble == "freeze":
                await frozen(world, store=store)
            else:
                await ended(world, store=store, kill=trouble == "kill")
            took.append(f"{trouble} {await noticed(world, load, refused):.2f} s")
    twice = load.handed.total() - len(load.handed)
    happened(
        f"work after {', '.join(took)}; {len(load.accepted)} accepted, {twice} handed over twice, "
        f"{len(load.again)} of them after they were settled, by the one that was killed"
    )


@pytest.mark.promise(1, 9, 10, 16)
async def test_a_broker_that_goes_away_under_load_loses_nothing(
    mortal: World, happened: Callable[[str], None]
) -> None:
    """Restarted, frozen for ten seconds and killed with -9, while publishers and members are at it:
    work goes on within five seconds of its return, all that was accepted runs, nothing is left."""
    await outlives(mortal, happened)


@pytest.mark.promise(1, 9, 10, 16)
async def test_a_bus_database_that_goes_away_under_load_loses_nothing(
    databased: World, happened: Callable[[str], None]
) -> None:
    """The same, where the broker stays and what it lacks goes away."""
    await outlives(databased, happened, store=True)
