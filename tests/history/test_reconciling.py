"""What history believes of unfinished tasks, held against the bus: no live task is ever lost."""

import asyncio
import itertools
import random
import time
from dataclasses import replace

import pytest

from bus.deadletters import DeadLetter
from contracts.events import Event, Kind
from contracts.outcomes import Reason, Retry, Snooze
from knowledge.history.history import History
from knowledge.history.judging import Verdict
from tests.engine.fleets import LiveFleet, made
from tests.history.test_recorder import LEASE, Scene, until
from workers.fleet.options import Options
from workers.history.reconciling import reconcile
from workers.sdk.context import Context

pytestmark = pytest.mark.postgres


@pytest.fixture
def scene(history_url: str) -> Scene:
    """A fleet, its history empty."""
    return Scene(LiveFleet(LEASE), history_url)


def _started(task: str, role: str, *, ago: float = 60.0) -> Event:
    """Told by a worker that is gone."""
    at = time.time() - ago
    return Event(
        kind=Kind.STARTED,
        at=at,
        task=task,
        topic=f"{role}.x",
        role=role,
        copy=1,
        attempt=2,
        worker="gone-1",
        pid=7,
        published=at - 1.0,
    )


def _letter(task: str, role: str, copy: int) -> DeadLetter:
    return DeadLetter(
        id=task,
        group=role,
        topic=f"{role}.x",
        reason=Reason.CRASH,
        error="killed",
        attempts=2,
        copy=copy,
        worker="gone-1",
        died=time.time(),
    )


async def _found(scene: Scene, history: History) -> dict[str, Verdict]:
    bus, clock = scene.fleet.client.bus, scene.fleet.clock
    found = await reconcile(history, bus, clock, lease=LEASE, limit=1000)
    return {each.task.task: each.verdict for each in found}


async def _vouched(history: History) -> bool:
    asked = (await history.watermark()).now
    return (await history.catch_up()).upto >= asked


async def test_what_is_wrong_is_told_apart(scene: Scene) -> None:
    """Lost, dead, of a retired role, left by its worker; and one that started a moment ago."""
    bus = scene.fleet.client.bus
    for role in ("empty", "busy", "empty-too"):
        await bus.bind(role, [f"{role}.#"])
    await scene.fleet.client.publish("busy.x", None, reply=False)
    await bus.dead.put(_letter("dead", "empty", 1))
    await bus.dead.put(_letter("lost", "empty", 0))  # of an earlier copy, replayed since
    told = [("lost", "empty"), ("dead", "empty"), ("retired", "nobody"), ("left", "busy")]
    async with scene.recorder(), scene.history() as history:
        await history.record([_started(task, role) for task, role in told])
        await until(lambda: _vouched(history))
        await history.record([_started("recent", "empty-too", ago=0.0)])
        assert await _found(scene, history) == {
            "lost": Verdict.LOST,
            "dead": Verdict.DEAD,
            "retired": Verdict.RETIRED,
            "left": Verdict.LEFT,
        }


async def test_nothing_is_lost_for_a_history_that_is_behind(scene: Scene) -> None:
    """Its end may be on its way: nobody records."""
    await scene.fleet.client.bus.bind("empty", ["empty.#"])
    async with scene.history() as history:
        await history.record([_started("ended", "empty")], upto=time.time())
        assert await _found(scene, history) == {}


async def test_one_that_is_heard_of_between_two_looks_is_not_lost(scene: Scene) -> None:
    await scene.fleet.client.bus.bind("empty", ["empty.#"])
    started = _started("ends", "empty")
    async with scene.recorder(), scene.history() as history:
        await history.record([started])
        await until(lambda: _vouched(history))
        looking = asyncio.create_task(_found(scene, history))
        scene.fleet.client.bus.tell(replace(started, kind=Kind.SUCCEEDED, at=time.time()))
        assert await looking == {}


async def test_live_tasks_are_never_lost_however_they_move(scene: Scene) -> None:
    """They wait, run, retry, snooze and are given back, silent for longer than a lease."""
    rng, seeds = random.Random(5), itertools.count()

    async def moves(number: int, ctx: Context) -> object:
        step = rng.random()
        if step < 0.3:
            return Retry(LEASE + 1.2)
        if step < 0.6:
            return Snooze(LEASE + 1.2)
        await asyncio.sleep(LEASE + 1.2 if step < 0.8 else 0.0)
        return next(seeds)

    role = made(moves, "mover", listens="move.#", concurrency=4, attempts=99)
    done: asyncio.Event = asyncio.Event()
    wrong: list[dict[str, Verdict]] = []

    async def looks(history: History) -> None:
        while not done.is_set():
            wrong.append(await _found(scene, history))

    async with scene.recorder(), scene.history() as history:
        await until(lambda: _vouched(history))
        looking = asyncio.create_task(looks(history))
        await scene.fleet.client.bus.bind("mover", ["move.#"])
        payloads = [("move.x", number) for number in range(12)]
        await scene.fleet.client.publish_many(payloads, Options(reply=False))
        for _ in range(3):
            async with scene.fleet.running(role, drain=0.1):
                await asyncio.sleep(0.7)
        done.set()
        await looking
    assert {verdict for found in wrong for verdict in found.values()} <= {Verdict.LEFT}
    assert wrong
