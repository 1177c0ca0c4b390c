"""Pain 11: status lies. Here an unknown id is told as such, an accepted one never is, and nothing
is shown as running for longer than its worker's lease could bear."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from knowledge.history.history import History
from knowledge.history.judging import Seen, Verdict, judge
from knowledge.history.records import Answer, TaskRecord
from knowledge.history.states import FINISHED, State
from knowledge.history.waiting import NoSuchTask, NotRecorded
from tests.brokers import Broker
from tests.cli.running import Muster
from tests.forms import form
from tests.pains.journal import Runs, sleepers
from tests.pains.publisher import Publisher, publishing
from tests.pains.remembering import Remembering, remembering, until
from tests.pains.test_lost_tasks import kill_one_that_runs
from workers.fleet.options import Options

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

LEASE = 2.0
WORKERS = form(2, 4)

BUSY = form(5.0, 3.0)
"""Seconds that a busy machine may need beyond a lease and a second, until what was taken over is in
history as that."""

DEADLINE = 3600.0


@dataclass
class Answers:
    """What was answered while workers were killed. `stale`: since when each run is judged lost;
    which workers live is known for sure here."""

    unknown: int = 0
    unsure: int = 0
    found: int = 0
    unfinished: int = 0
    stale: dict[tuple[str, int], float] = field(default_factory=dict)
    longest: float = 0.0


class Inspector:
    """Asks history all the time, and notes what it answers; a lie fails the test."""

    def __init__(self, it: Remembering, history: History, publisher: Publisher) -> None:
        self.answers = Answers()
        self._it = it
        self._history = history
        self._publisher = publisher
        self._seen = 0

    async def ask_for_ever(self) -> None:
        """Until cancelled."""
        while True:
            await self._an_unknown()
            await self._what_was_just_accepted()
            await self.judge_all()

    async def _an_unknown(self) -> None:
        looked = await self._history.look(secrets.token_hex(8), patience=0.1)
        assert isinstance(looked, NoSuchTask | NotRecorded)
        self.answers.unsure += isinstance(looked, NotRecorded)
        self.answers.unknown += 1

    async def _what_was_just_accepted(self) -> None:
        self._publisher.look()
        new, self._seen = [*self._publisher.accepted][self._seen :], len(self._publisher.accepted)
        looks = (self._history.look(task, patience=BUSY) for task in new[-3:])
        for looked in await asyncio.gather(*looks):
            assert isinstance(looked, Answer), f"an accepted task is unknown: {looked}"
            self.answers.found += 1

    async def judge_all(self) -> dict[tuple[str, int], Verdict]:
        """What is wrong with what has not ended, and how long each has been so."""
        found = await self._history.unfinished(time.time())
        pids = self._it.workers.pids
        alive = {str(task.worker) for task in found.found if task.pid in pids}
        verdicts: dict[tuple[str, int], Verdict] = {}
        for task in found.found:
            told_of(task)
            verdict = judge(task, Seen(alive=alive), now=found.as_of, lease=LEASE)
            if verdict is not None:
                verdicts[task.task, task.copy] = verdict
        self.answers.unfinished += len(found.found)
        self._note(verdicts)
        return verdicts

    def _note(self, verdicts: Collection[tuple[str, int]]) -> None:
        now, before = time.monotonic(), self.answers.stale
        self.answers.stale = {run: before.get(run, now) for run in verdicts}
        ages = (now - since for since in self.answers.stale.values())
        self.answers.longest = max([self.answers.longest, *ages])


def told_of(task: TaskRecord) -> None:
    """What has not ended can be judged: who holds it since when, or what it waits for."""
    assert task.state not in FINISHED
    assert task.since > 0
    assert task.published > 0
    if task.state is State.RUNNING:
        assert task.worker
        assert task.pid
        assert task.attempt


@asynccontextmanager
async def inspecting(
    it: Remembering, history: History, publisher: Publisher
) -> AsyncIterator[Inspector]:
    """Somebody who asks for as long as the block lasts."""
    found = Inspector(it, history, publisher)
    asking = asyncio.create_task(found.ask_for_ever())
    try:
        yield found
    finally:
        asking.cancel()
        await asyncio.wait([asking])
    if not asking.cancelled():
        asking.result()


@pytest.mark.long(400)
async def test_no_answer_lies_while_workers_are_killed(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Workers are killed with -9 in the middle of tasks. Asked all the time: ids that do not exist,
    ids accepted a moment ago, and all that has not ended. In the end nothing is stale."""
    kills, name, roles = form(2, 60), f"status-{secrets.token_hex(4)}", sleepers(tmp_path)
    runs = Runs(roles)
    async with remembering(broker, history_url, name, tmp_path, roles=roles) as it:
        it.workers.start("recorder")
        alive = it.workers.start("sleeper", WORKERS)
        await it.seen("sleeper", WORKERS)
        async with it.history() as history, asyncio.timeout(form(90, 380)):
            with publishing(
                broker.url, name, tmp_path, "nap.x", rate=form(60.0, 100.0)
            ) as publisher:
                async with inspecting(it, history, publisher) as inspector:
                    for _ in range(kills):
                        await kill_one_that_runs(it.workers, alive, runs)
                        await asyncio.sleep(form(0.3, 1.5))  # between two kills tasks run
                    accepted = publisher.stop()
                    await runs.until(lambda: set(publisher.accepted) <= set(runs.ended))
                    await it.read()
                assert await inspector.judge_all() == {}
            await until(lambda: nothing_runs(history))
            states = [await history.task(task) for task in publisher.accepted]
            await until(lambda: told_unknown(it, secrets.token_hex(16)))
    told = inspector.answers
    happened(
        f"{kills} workers killed, {accepted} tasks accepted: asked for {told.unknown} ids that do "
        f"not exist (not sure yet of {told.unsure}, found 0) and {told.found} just accepted "
        f"(unknown 0); {told.unfinished} looks at tasks that had not ended, one was judged lost "
        f"for {told.longest:.2f} s at most; in the end 0"
    )
    assert {task.state for answer in states for task in answer.found} == {State.SUCCEEDED}
    assert told.longest <= BUSY


async def nothing_runs(history: History) -> bool:
    """Whether all has ended. The last ends may still be with workers, who tell of many at once."""
    return (await history.unfinished(time.time())).found == []


async def told_unknown(it: Remembering, task: str) -> bool:
    """Whether the command says that there is no such task. While history is behind it says that
    instead, and never anything else."""
    code = await asyncio.to_thread(shown, it, task)
    assert code in {3, 4}
    return code == 4


def shown(it: Remembering, task: str) -> int:
    """The exit code of the command that shows a task."""
    environment = it.workers.environment
    known = {key: environment[key] for key in environment if key.startswith("MUSTER_")}
    return Muster(it.loaded.folder, **known)("task", "show", task).code


async def test_what_nobody_will_finish_is_found(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """The holder is killed and nobody takes over: judged lost once its lease is over, and not
    before; what nobody has begun is overdue once its deadline is. When somebody comes, no more."""
    name, roles = f"stale-{secrets.token_hex(4)}", sleepers(tmp_path)
    async with remembering(broker, history_url, name, tmp_path, roles=roles) as it:
        it.workers.start("recorder")
        (pid,) = it.workers.start("sleeper")
        await it.seen("sleeper")
        async with it.history() as history, asyncio.timeout(90):
            held = await it.fleet.publish("nap.x", {"seconds": 0.3}, deadline=DEADLINE)
            long = await it.fleet.publish("nap.x", {"seconds": 600.0}, deadline=DEADLINE)
            await held.result(20)
            await until(lambda: running(history, long.id))
            (task,) = (await history.task(long.id)).found
            assert task.deadline is not None
            assert abs(task.deadline - time.time() - DEADLINE) < 60
            it.workers.kill(pid)
            killed = time.time()
            late = Options(deadline=1.0, reply=False)
            (waiting,) = await it.fleet.publish_many([("nap.x", {"seconds": 0.0})], late)
            lost = await judged(history, long.id, Verdict.LEFT)
            overdue = await judged(history, waiting.id, Verdict.OVERDUE)
            await it.fleet.cancel(long.id)
            it.workers.start("sleeper")
            await until(lambda: ended(history, long.id, waiting.id))
            states = {task: await state(history, task) for task in (long.id, waiting.id)}
    happened(
        f"the holder killed, its lease {LEASE:g} s: judged lost {lost - killed:.2f} s after the "
        f"kill; a task nobody began, its deadline 1 s: overdue {overdue - killed:.2f} s after"
    )
    assert lost - killed <= LEASE + 1.0 + BUSY
    assert states == {long.id: State.CANCELLED, waiting.id: State.FAILED}


async def running(history: History, task: str) -> bool:
    """Whether history knows that it runs."""
    return await state(history, task) is State.RUNNING


async def state(history: History, task: str) -> State | None:
    """Of a task that one role takes."""
    found = (await history.task(task)).found
    return found[0].state if len(found) == 1 else None


async def ended(history: History, *tasks: str) -> bool:
    """Whether all of them have."""
    return all([await state(history, task) in FINISHED for task in tasks])


async def judged(history: History, task: str, wanted: Verdict) -> float:
    """When (epoch seconds) it was judged so for the first time. Its worker is known to be gone."""
    while True:
        now = (await history.watermark()).now
        for record in (await history.unfinished(time.time())).found:
            verdict = judge(record, Seen(), now=now, lease=LEASE)
            if record.task == task and verdict is not None:
                assert verdict is wanted
                since = record.since if wanted is Verdict.LEFT else record.deadline
                assert since is not None
                assert now > since + LEASE
                return time.time()
        await asyncio.sleep(0.05)
