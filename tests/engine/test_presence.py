"""Who is there: seen when ready, renewed while alive, gone at once after a good-bye."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from bus.backends.memory import MemoryBroker
from bus.keyvalue import keys
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import ManualClock
from workers.fleet.presence import GONE, LOOK, OVERDUE, RENEW, Alive, Presence, last_sign, present

ALIVE = Alive(
    role="coder",
    worker="w-1",
    pid=17,
    host="h",
    since=1.0,
    at=2.0,
    concurrency=8,
    running=3,
    succeeded=5,
)


class Scene:
    """One worker that shows itself, in a store."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.store = MemoryKeyValue(self.broker.store)
        self.ready = asyncio.Event()
        self.drained = asyncio.Event()
        self.drained.set()
        self.shown = 0
        self.heard = 0
        self.state = ALIVE
        self.presence = Presence(
            self.store,
            self.clock,
            lambda: self.state,
            ready=self._ready,
            shown=self._shown,
            heard=self._heard,
            over=self._over,
        )
        self.task = asyncio.create_task(self.presence.run())

    async def _ready(self) -> None:
        await self.ready.wait()

    async def _over(self) -> None:
        await self.drained.wait()

    def _shown(self) -> None:
        self.shown += 1

    def _heard(self) -> None:
        self.heard += 1

    async def seen(self) -> list[Alive]:
        return await present(self.store)

    async def stop(self) -> None:
        self.presence.stop()
        await self.clock.advance(0)
        await asyncio.wait_for(self.task, 5.0)


@pytest.fixture
async def scene() -> Any:
    made = Scene()
    yield made
    await made.stop()


async def test_it_is_seen_once_it_is_ready(scene: Scene) -> None:
    await scene.clock.advance(60.0)
    assert (await scene.seen(), scene.shown) == ([], 0)
    scene.ready.set()
    await scene.clock.advance(0.1)
    assert (await scene.seen(), scene.shown) == ([ALIVE], 1)


async def test_it_stays_while_it_lives_with_its_latest_state(scene: Scene) -> None:
    scene.ready.set()
    await scene.clock.advance(0.1)
    scene.state = replace(ALIVE, succeeded=99)
    await scene.clock.advance(10 * RENEW)
    assert await scene.seen() == [replace(ALIVE, succeeded=99)]
    assert scene.shown == 1


async def test_a_change_is_shown_within_a_second(scene: Scene) -> None:
    scene.ready.set()
    await scene.clock.advance(0.1)
    scene.state = replace(ALIVE, succeeded=99)
    await scene.clock.advance(LOOK)
    assert await scene.seen() == [scene.state]


async def test_memory_and_time_used_are_shown_but_are_no_news(scene: Scene) -> None:
    """They change all the time: an idle worker leaves its broker alone."""
    scene.ready.set()
    await scene.clock.advance(0)
    await scene.clock.advance(0)
    scene.state = replace(ALIVE, memory=1_000, cpu=0.5)
    await scene.clock.advance(LOOK)
    assert [one.memory for one in await scene.seen()] == [0]
    await scene.clock.advance(RENEW)
    assert [(one.memory, one.cpu) for one in await scene.seen()] == [(1_000, 0.5)]


async def test_it_says_good_bye(scene: Scene) -> None:
    scene.ready.set()
    await scene.clock.advance(0.1)
    await scene.stop()
    assert await scene.seen() == []


async def test_while_it_drains_it_is_there_with_what_it_runs(scene: Scene) -> None:
    scene.ready.set()
    scene.drained.clear()
    await scene.clock.advance(0.1)
    scene.state = replace(ALIVE, draining=True)
    scene.presence.stop()
    await scene.clock.advance(LOOK)
    assert await scene.seen() == [scene.state]
    scene.state = replace(ALIVE, draining=True, running=0, succeeded=8)
    await scene.clock.advance(LOOK)
    assert await scene.seen() == [scene.state]
    await scene.clock.advance(4 * RENEW)
    assert await scene.seen() == [scene.state]
    scene.drained.set()
    await scene.clock.advance(0)
    await scene.stop()
    assert await scene.seen() == []


def test_one_that_has_missed_its_renewal_is_silent() -> None:
    assert ALIVE.silent(ALIVE.at + RENEW + LOOK) is None
    assert ALIVE.silent(ALIVE.at + OVERDUE + 1.0) == OVERDUE + 1.0
    assert ALIVE.silent(ALIVE.at - 60.0) is None, "its clock is ahead"


async def test_one_that_died_is_gone_after_three_renewals(scene: Scene) -> None:
    scene.ready.set()
    await scene.clock.advance(0.1)
    scene.task.cancel()
    await scene.clock.advance(3 * RENEW - 0.2)
    assert await scene.seen() == [ALIVE]
    await scene.clock.advance(0.5)
    assert await scene.seen() == []
    scene.task = asyncio.create_task(asyncio.sleep(0))


async def test_a_store_that_is_away_is_tried_again(scene: Scene) -> None:
    scene.broker.outage()
    scene.ready.set()
    await scene.clock.advance(2 * RENEW)
    assert (scene.shown, scene.heard) == (0, 0)
    scene.broker.restore()
    await scene.clock.advance(RENEW)
    assert (await scene.seen(), scene.shown) == ([ALIVE], 1)
    assert scene.heard == 1


async def test_one_that_is_stopped_before_it_is_ready_was_never_seen(scene: Scene) -> None:
    await scene.clock.advance(1.0)
    await scene.stop()
    assert (await scene.seen(), scene.shown) == ([], 0)


async def test_those_of_one_role_can_be_asked_for_and_what_is_unreadable_is_left_out() -> None:
    clock = ManualClock()
    store = MemoryKeyValue(MemoryBroker(clock).store)
    for role, worker in (("coder", "a"), ("coder", "b"), ("coder2", "c"), ("writer", "d")):
        state = replace(ALIVE, role=role, worker=worker)
        scene = Presence(
            store,
            clock,
            lambda state=state: state,  # type: ignore[misc]
            ready=_now,
            shown=_unheard,
            heard=_unheard,
        )
        await scene._put()
    await store.put(keys.alive("coder", "z"), b"not json")
    assert [each.worker for each in await present(store, "coder")] == ["a", "b"]
    assert len(await present(store)) == 4


async def _now() -> None:
    return


def _unheard() -> None:
    return


async def test_one_that_ran_tasks_and_died_is_known_to_have_been_there(scene: Scene) -> None:
    """Within a renewal and two looks of its death; one that ended well leaves nothing."""
    scene.ready.set()
    await scene.clock.advance(0.1)
    for _ in range(40):
        scene.state = replace(ALIVE, at=scene.clock.wall())
        await scene.clock.advance(0.5)
    died = scene.clock.wall()
    scene.task.cancel()
    await scene.clock.advance(100.0)
    assert await scene.seen() == []
    sign = await last_sign(scene.store, "w-1")
    assert sign is not None
    assert died - GONE < sign <= died
    scene.task = asyncio.create_task(scene.presence.run())
    await scene.clock.advance(1.0)
    await scene.stop()
    assert await last_sign(scene.store, "w-1") is None


async def test_an_idle_one_leaves_no_word(scene: Scene) -> None:
    scene.state = replace(ALIVE, running=0)
    scene.ready.set()
    await scene.clock.advance(3 * RENEW)
    assert len(await scene.seen()) == 1
    assert await scene.store.list("last/") == []
