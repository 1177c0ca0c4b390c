"""The supervisor with real processes: what dies comes back, what stops has ended."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bus.backoff import Backoff
from contracts.clock import SystemClock
from workers.fleet.errors import NotReady
from workers.fleet.supervisor import Spec, State, Supervisor

QUICK = Backoff(base=0.01, cap=0.05)

LIVING = "import os, signal; os.write(0, b'ready'); signal.pause()"
GENTLE = (
    "import os, signal, sys; signal.signal(15, lambda *_: sys.exit(7)); os.write(0, b'ready');"
    "signal.pause()"
)
STUBBORN = (
    "import os, signal; signal.signal(15, signal.SIG_IGN); os.write(0, b'ready');"
    "[signal.pause() for _ in iter(int, 1)]"
)
DYING = "raise SystemExit(3)"
WATCHING = (
    "import signal; from workers.fleet.supervised import end_with_supervisor, say_ready;"
    "end_with_supervisor(5.0); say_ready(); signal.pause()"
)


def _spec(code: str, role: str = "r") -> Spec:
    return Spec(role, command=[sys.executable, "-c", code])


class News:
    """Lets a test wait for a state instead of for time."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def __call__(self) -> None:
        self._changed.set()

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not what():
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def _running(
    *specs: Spec, grace: float = 10.0
) -> AsyncIterator[tuple[Supervisor, News, "asyncio.Task[None]"]]:
    news = News()
    supervisor = Supervisor(
        specs, SystemClock(), grace=grace, backoff=QUICK, rng=random.Random(1), changed=news
    )
    run = asyncio.create_task(supervisor.run())
    try:
        yield supervisor, news, run
    finally:
        supervisor.stop()
        supervisor.stop()
        await asyncio.gather(run, return_exceptions=True)


def _alive(pid: int | None) -> bool:
    try:
        return pid is not None and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_ready_returns_when_every_process_has_said_so() -> None:
    async with _running(_spec(LIVING, "a"), _spec(LIVING, "b")) as (supervisor, _, _run):
        await supervisor.ready(20)
        assert [info.role for info in supervisor.processes()] == ["a", "b"]
        assert {info.state for info in supervisor.processes()} == {State.READY}
        assert all(_alive(info.pid) for info in supervisor.processes())


async def test_a_process_that_dies_is_started_again() -> None:
    async with _running(_spec(LIVING)) as (supervisor, news, _):
        await supervisor.ready(20)
        first = supervisor.processes()[0].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await news.until(lambda: supervisor.processes()[0].restarts == 1)
        await news.until(lambda: supervisor.processes()[0].state is State.READY)
        again = supervisor.processes()[0]
        assert again.pid != first
        assert again.exit_code == -signal.SIGKILL


async def test_a_crash_loop_is_seen_and_named() -> None:
    async with _running(_spec(DYING, "sick"), _spec(LIVING)) as (supervisor, news, _):
        await news.until(lambda: supervisor.processes()[0].restarts >= 3)
        with pytest.raises(NotReady) as caught:
            await supervisor.ready(0.01)
        assert "sick died" in caught.value.details
        assert "exit code 3" in caught.value.details


async def test_a_command_that_cannot_be_started_is_tried_again() -> None:
    missing = Spec("r", command=["/no/such/program"])
    async with _running(missing) as (supervisor, news, _):
        await news.until(lambda: supervisor.processes()[0].restarts >= 2)


async def test_processes_start_by_turns() -> None:
    """One that is ready, and one that dies, lets the next one start."""
    news = News()
    supervisor = Supervisor(
        [_spec(LIVING), _spec(DYING), _spec(LIVING)], SystemClock(), starting=1, changed=news
    )
    most = 0

    def look() -> None:
        nonlocal most
        found = [info.state is State.STARTING for info in supervisor.processes()]
        most = max(most, sum(found))
        news()

    supervisor.changed = look
    run = asyncio.create_task(supervisor.run())
    await news.until(
        lambda: [i.state is State.READY for i in supervisor.processes()] == [True, False, True]
    )
    supervisor.stop()
    await run
    assert most == 1


async def test_a_process_that_waits_for_its_turn_is_ended_without_one() -> None:
    silent = Spec("r", command=[sys.executable, "-c", "import signal; signal.pause()"])
    news = News()
    supervisor = Supervisor([silent, silent], SystemClock(), starting=1, changed=news)
    run = asyncio.create_task(supervisor.run())
    await news.until(lambda: any(info.pid for info in supervisor.processes()))
    assert [info.pid is not None for info in supervisor.processes()] == [True, False]
    supervisor.stop()
    async with asyncio.timeout(20):
        await run


async def test_a_process_that_is_added_is_kept_and_one_that_is_let_go_is_forgotten() -> None:
    async with _running(_spec(GENTLE, "a")) as (supervisor, news, run):
        await supervisor.ready(20)
        keeper = supervisor.add(_spec(GENTLE, "b"))
        await news.until(lambda: keeper.info.state is State.READY)
        keeper.stop()
        await news.until(lambda: len(supervisor.processes()) == 1)
        assert (keeper.info.state, keeper.info.exit_code) == (State.ENDED, 7)
        assert not run.done()


async def test_stop_asks_and_waits() -> None:
    async with _running(_spec(GENTLE)) as (supervisor, _, run):
        await supervisor.ready(20)
        pid = supervisor.processes()[0].pid
        supervisor.stop()
        await asyncio.wait_for(run, 20)
        assert not _alive(pid)
        assert supervisor.processes()[0].state is State.ENDED
        assert supervisor.processes()[0].exit_code == 7


async def test_what_does_not_stop_in_time_is_killed() -> None:
    async with _running(_spec(STUBBORN), grace=0.2) as (supervisor, _, run):
        await supervisor.ready(20)
        supervisor.stop()
        await asyncio.wait_for(run, 20)
        assert supervisor.processes()[0].exit_code == -signal.SIGKILL


async def test_a_second_stop_does_not_wait() -> None:
    async with _running(_spec(STUBBORN), grace=600) as (supervisor, news, run):
        await supervisor.ready(20)
        supervisor.stop()
        await news.until(lambda: supervisor.processes()[0].state is State.STOPPING)
        supervisor.stop()
        await asyncio.wait_for(run, 20)
        assert supervisor.processes()[0].exit_code == -signal.SIGKILL


async def test_cancelling_leaves_no_process() -> None:
    async with _running(_spec(LIVING), _spec(STUBBORN)) as (supervisor, _, run):
        await supervisor.ready(20)
        pids = [info.pid for info in supervisor.processes()]
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        assert not any(map(_alive, pids))


def test_a_killed_supervisor_leaves_no_orphans(tmp_path: Path) -> None:
    """The processes read the end of their standard input, and end."""
    pids = tmp_path / "pids"
    code = f"""
import asyncio, sys
from pathlib import Path
from contracts.clock import SystemClock
from workers.fleet.supervisor import Spec, Supervisor

async def main():
    spec = Spec("r", command=[sys.executable, "-c", {WATCHING!r}])
    supervisor = Supervisor([spec] * 3, SystemClock())
    run = asyncio.create_task(supervisor.run())
    await supervisor.ready()
    text = " ".join(str(info.pid) for info in supervisor.processes())
    Path({str(pids)!r}).write_text(text)
    print("ready", flush=True)
    await run

asyncio.run(main())
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "ready\n"
    children = [psutil.Process(int(pid)) for pid in pids.read_text(encoding="utf-8").split()]
    assert len(children) == 3
    parent.kill()
    parent.wait(10)
    _, left = psutil.wait_procs(children, 10)
    assert left == []
