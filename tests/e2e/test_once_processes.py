"""Promise 25 with real processes on a real broker: workers and the broker are killed with -9."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.outcomes import Reason
from contracts.results import Status
from tests.beside import beside
from tests.brokers import Broker
from tests.e2e.fleets import Trace, bound, fleet_and_events, traces
from tests.processes import worker_processes
from workers.fleet.options import Options

pytestmark = pytest.mark.slow

PAYER = '''\
"""A role whose tasks may be started once, and says so on disk."""

import asyncio
import os
from pathlib import Path

from workers import Context, role

TRACE = Path(__file__).with_name("trace.txt")


def trace(what: str, ctx: Context) -> None:
    with TRACE.open("a", encoding="utf-8") as file:
        file.write(f"{what} {ctx.id} {ctx.attempt} {ctx.fence} {os.getpid()}\\n")


@role("payer", listens="pay.#", concurrency=4, delivery="once")
async def payer(seconds: float, ctx: Context) -> str:
    trace("start", ctx)
    await asyncio.sleep(seconds)
    trace("end", ctx)
    return "paid"
'''

TASKS = 240
KILLS = 6


async def _started_since(folder: Path, known: int) -> list[Trace]:
    """The starts beyond those known, once there are some."""
    while True:
        starts = [trace for trace in traces(folder) if trace.what == "start"]
        if len(starts) > known:
            return starts
        await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
@pytest.mark.promise(25)
async def test_what_may_be_started_once_is_whoever_dies(
    own_broker: Callable[[], Broker], tmp_path: Path
) -> None:
    """Each task ends: with its result, or as a dead letter that says that nobody knows."""
    server = own_broker()
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "payer.py").write_text(PAYER, encoding="utf-8")
    name = f"once-{secrets.token_hex(4)}"
    with worker_processes(server.url, name, tmp_path) as workers:
        alive = workers.start("payer", 2)
        async with (
            fleet_and_events(server.url, name, tmp_path) as (fleet, _),
            beside(workers.keep("payer", alive)),
            asyncio.timeout(90),
        ):
            await bound(fleet, "payer", count=2)
            tasks = await fleet.publish_many([("pay.x", 0.1)] * TASKS, Options())
            seen = 0
            for number in range(KILLS):
                starts = await _started_since(folder, seen)
                running = [t.pid for t in starts[seen:] if t.pid in alive]
                if number == KILLS // 2:
                    await asyncio.to_thread(server.kill)
                    await asyncio.to_thread(server.start)
                elif running:
                    await asyncio.to_thread(workers.kill, running[-1])
                    alive.remove(running[-1])
                    alive += workers.start("payer", 1)
                seen = len(starts)
                assert seen < TASKS, "all was over too soon: this shows little"
            ends = await asyncio.gather(*(task.outcome(60.0) for task in tasks))
            letters = [letter async for letter in fleet.bus.dead.all("payer")]
    counts = Counter(trace.task for trace in traces(folder) if trace.what == "start")
    print(f"{TASKS} tasks: {len(counts)} started, {len(letters)} dead letters of a crash")
    assert set(counts.values()) == {1}
    assert {end.reason for end in ends if end.status is Status.FAILED} <= {Reason.CRASH}
    failed = {end.id for end in ends if end.status is Status.FAILED}
    assert {letter.id for letter in letters} == failed
    ended = {trace.task for trace in traces(folder) if trace.what == "end"}
    assert {end.id for end in ends if end.status is Status.SUCCEEDED} <= ended
    assert failed, "nobody was killed while it ran: this shows nothing"
