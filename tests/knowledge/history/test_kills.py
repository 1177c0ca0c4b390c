"""The server is killed under a writer: what `record` returned for is there afterwards."""

import asyncio
import random
from collections.abc import Callable

import pytest

from contracts.clock import SystemClock
from contracts.events import Event
from knowledge.database.errors import Busy, Unreachable
from knowledge.history.history import History
from knowledge.history.states import State
from tests.forms import form
from tests.knowledge.history.telling import story, task_id
from tests.servers import PostgresServer

KILLS = form(1, 20)


async def _again(history: History, batch: list[Event]) -> bool:
    """Record `batch`, whatever happens meanwhile; whether it was told more than once."""
    failed = False
    while True:
        try:
            await history.record(batch)
            return failed
        except (Unreachable, Busy):
            failed = True
            await asyncio.sleep(0.05)  # as the recorder does: it tries for as long as it takes


async def _states(history: History) -> dict[str, State]:
    """Of every task."""
    page = await history.tasks(limit=1000)
    found = {t.task: t.state for t in page.items}
    while page.after is not None:
        page = await history.tasks(after=page.after, limit=1000)
        found |= {t.task: t.state for t in page.items}
    return found


@pytest.mark.long(300)
async def test_what_was_recorded_survives_a_kill_of_the_server(
    own_postgres: Callable[[], PostgresServer], happened: Callable[[str], None]
) -> None:
    server = own_postgres()
    history = await History.open(server.url, SystemClock())
    safe: list[str] = []
    repeated = 0
    stop, grown = asyncio.Event(), asyncio.Event()

    async def write() -> None:
        nonlocal repeated
        while not stop.is_set():
            tasks = [task_id() for _ in range(20)]
            repeated += await _again(history, [e for task in tasks for e in story(task)])
            safe.extend(tasks)
            grown.set()

    writers = [asyncio.create_task(write()) for _ in range(2)]
    for _ in range(KILLS):
        enough = len(safe) + random.randint(50, 300)
        while len(safe) < enough:
            grown.clear()
            await grown.wait()
        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
    stop.set()
    await asyncio.gather(*writers)
    [used] = (await history.usage(by=[])).found
    states = await _states(history)
    await history.close()
    happened(f"{KILLS} kills, {len(safe)} tasks, {repeated} batches told again")
    assert states == dict.fromkeys(safe, State.SUCCEEDED)
    assert (used.published, used.succeeded, used.runs) == (len(safe), len(safe), 2 * len(safe))


async def test_a_server_that_hangs_is_not_waited_for_for_ever(
    own_postgres: Callable[[], PostgresServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knowledge.database.database._ANSWER", 0.5)
    server = own_postgres()
    history = await History.open(server.url, SystemClock())
    server.freeze()
    with pytest.raises(Unreachable):
        await history.record(story(task_id()))
    server.thaw()
    task = task_id()
    await _again(history, story(task))
    assert (await history.task(task)).found[0].state is State.SUCCEEDED
    await history.close()
