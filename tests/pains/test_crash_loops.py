"""Pain 4: a crash loop never counts. Here a task that kills its process dies of it, alone."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bus.backend import Lag, Lane
from contracts.outcomes import Reason
from contracts.results import Status
from tests.brokers import Broker
from tests.e2e.fleets import supervised, traces
from workers.fleet.client import Task
from workers.fleet.options import Options

pytestmark = [pytest.mark.slow]

MORTAL = '''\
"""A role whose tasks may kill the process they run in."""

import asyncio
import os
import signal
from pathlib import Path

from pydantic import BaseModel

from workers import Context, role

TRACE = Path(__file__).with_name("trace.txt")


class Work(BaseModel):
    seconds: float = 0.0
    kills: bool = False


def trace(what: str, ctx: Context) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(f"{what} {ctx.id} {ctx.attempt} {ctx.fence} {os.getpid()}\\n")


@role("mortal", listens="mortal.#", concurrency=8, attempts=3, backoff=0.05)
async def mortal(work: Work, ctx: Context) -> int:
    trace("start", ctx)
    await asyncio.sleep(work.seconds)
    if work.kills:
        os.kill(os.getpid(), signal.SIGKILL)
    trace("end", ctx)
    return ctx.attempt


@role("once", listens="once.#", concurrency=8, attempts=1)
async def once(work: Work, ctx: Context) -> int:
    return await mortal(work, ctx)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the roles above."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "mortal.py").write_text(MORTAL, encoding="utf-8")
    return folder


def starts(folder: Path, task: Task) -> list[int]:
    """The attempts of the runs of `task` that began."""
    return [t.attempt for t in traces(folder) if t.task == task.id and t.what == "start"]


@pytest.mark.promise(14)
async def test_a_task_that_kills_its_process_is_started_as_often_as_it_has_attempts(
    broker: Broker, folder: Path
) -> None:
    """Three starts, then a dead letter that says why; a replay is as harmless."""
    async with supervised(broker, folder, "mortal") as fleet, asyncio.timeout(60):
        killer = await fleet.publish("mortal.x", {"kills": True})
        end = await killer.outcome(40)
        assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.CRASH, 3)
        assert starts(folder, killer) == [1, 2, 3]
        letter = await fleet.bus.dead.get("mortal", killer.id)
        assert (letter.reason, letter.attempts) == (Reason.CRASH, 3)
        assert letter.error.startswith("its process ended with signal 9")
        first, *others = (t.pid for t in traces(folder) if t.what == "start")
        assert len({first, *others}) == 3
        alive = await (await fleet.publish("mortal.x", {})).result(20)
        assert (alive, starts(folder, killer)) == (1, [1, 2, 3])


@pytest.mark.promise(14)
async def test_one_with_a_single_attempt_is_started_once(broker: Broker, folder: Path) -> None:
    """And again, in a process of its own, when somebody replays it."""
    async with supervised(broker, folder, "once") as fleet, asyncio.timeout(60):
        killer = await fleet.publish("once.x", {"kills": True})
        end = await killer.outcome(40)
        assert (end.reason, end.attempt) == (Reason.CRASH, 1)
        assert "its worker died" in end.error
        assert starts(folder, killer) == [1]
        running = await fleet.publish("once.x", {"seconds": 1.5})
        await fleet.bus.dead.replay("once", killer.id, now=0.0)
        async for _ in fleet.bus.store.watch("dead/once/"):
            letters = [letter async for letter in fleet.bus.dead.all("once")]
            if [letter.replays for letter in letters] == [1] and letters[0].state == "dead":
                break
        assert starts(folder, killer) == [1, 1]
        assert await running.result(20) == 1, "a replayed killer killed its worker"


@pytest.mark.promise(14)
async def test_one_killer_among_199_innocents(broker: Broker, folder: Path) -> None:
    """At concurrency 8, with short tasks read ahead: each innocent ends with a result and has
    lost one attempt at most; the killer is a dead letter after exactly its attempts."""
    async with supervised(broker, folder, "mortal") as fleet, asyncio.timeout(100):
        warm = await fleet.publish_many([("mortal.x", {"seconds": 0.001})] * 100)
        await asyncio.gather(*(task.result(20) for task in warm))
        work: list[tuple[str, object]] = [("mortal.x", {"seconds": 0.02})] * 199
        work.insert(20, ("mortal.x", {"seconds": 0.02, "kills": True}))
        tasks = await fleet.publish_many(work, Options())
        killer = tasks.pop(20)
        end = await killer.outcome(60)
        attempts = await asyncio.gather(*(task.result(60) for task in tasks))
        letters = [letter async for letter in fleet.bus.dead.all("mortal")]
    print(f"ended at attempt: {dict(Counter(attempts))}")
    assert set(attempts) <= {1, 2}, "an innocent lost more than one attempt"
    assert 2 in attempts, "nobody was beside the killer: this shows nothing"
    assert (end.reason, end.attempt) == (Reason.CRASH, 3)
    assert [(letter.id, letter.reason) for letter in letters] == [(killer.id, Reason.CRASH)]
    assert starts(folder, killer) == [1, 2, 3]
    assert all(len(starts(folder, task)) <= 2 for task in tasks)


@pytest.mark.promise(14)
async def test_a_broker_that_forgets_what_was_settled_makes_no_crash(
    own_broker: Callable[[], Broker], folder: Path
) -> None:
    """Killed with -9, it hands out again what had ended just before, also tasks of one attempt
    whose outcome nobody kept. They may run again; nobody dies of that."""
    server = own_broker()
    async with supervised(server, folder, "once") as fleet, asyncio.timeout(60):
        tasks = await fleet.publish_many([("once.x", {})] * 300, Options(reply=False))
        ended = 0
        while ended < len(tasks):
            ended = sum(t.what == "end" for t in traces(folder))
            await asyncio.sleep(0.001)
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        assert await (await fleet.publish("once.x", {})).result(20) == 1
        empty = False
        while not empty:
            empty = _empty(await fleet.bus.lag("once"))
            await asyncio.sleep(0.05)
        letters = [letter async for letter in fleet.bus.dead.all("once")]
    again = sum(t.what == "start" for t in traces(folder)) - len(tasks) - 1
    print(f"ended {len(tasks)}, run again after kill -9 of the broker {again}, dead 0")
    assert letters == []


def _empty(lags: Mapping[Lane, object]) -> bool:
    found = [lag for lag in lags.values() if isinstance(lag, Lag)]
    return not any(lag.waiting or lag.delayed or lag.leased for lag in found)
