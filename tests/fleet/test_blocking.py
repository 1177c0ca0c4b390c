"""The client that blocks: from many threads, over a fork, at the end of a process."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bus.backends.memory import MemoryBackend
from bus.bus import Bus
from bus.errors import Closed, Unreachable
from bus.keyvalue.memory import MemoryKeyValue
from contracts.results import Status
from tests.engine.fleets import LiveFleet, made
from tests.promises import ROOT
from workers.fleet.blocking import SyncFleet, SyncTask
from workers.fleet.client import FleetClient
from workers.fleet.loop import LoopThread
from workers.fleet.options import Options
from workers.sdk.context import Context
from workers.sdk.errors import NoResult, TaskCancelled, TaskFailed, UnknownRole

SECONDS = 8.0


async def handler(payload: Any, ctx: Context) -> Any:
    """Does as its payload says."""
    if payload == "fail":
        raise ValueError("no")
    if payload == "hang":
        await asyncio.sleep(60)
    for n in range(3 if payload == "stream" else 0):
        await ctx.stream(n)
    await ctx.progress(0.5, "half")
    return payload


def connected(fleet: LiveFleet) -> SyncFleet:
    """A blocking client of this fleet."""

    async def connect() -> FleetClient:
        store = MemoryKeyValue(fleet.broker.store)
        return FleetClient(Bus(MemoryBackend(fleet.broker), store, clock=fleet.clock), fleet.clock)

    return SyncFleet(connect)


@pytest.fixture
async def fleet() -> AsyncIterator[LiveFleet]:
    """A fleet whose worker runs in the event loop of the test."""
    made_ = LiveFleet(5.0)
    async with made_.running(made(handler, attempts=1), drain=0.1):
        yield made_


def beside(work: Callable[..., Any], *given: Any) -> Any:
    """Do blocking work while the loop of the test goes on."""
    return asyncio.wait_for(asyncio.to_thread(work, *given), SECONDS)


async def test_what_a_client_can_do_it_can_do_blocking(fleet: LiveFleet) -> None:
    def script() -> None:
        with connected(fleet) as client:
            task = client.publish("work.a", {"n": 1}, priority="high")
            assert task.result(SECONDS) == {"n": 1}
            assert task.outcome().status is Status.SUCCEEDED
            many = client.publish_many([("work.a", n) for n in range(5)], Options(tenant="t"))
            assert [each.result(SECONDS) for each in many] == list(range(5))
            assert client.wait_for(many[0].id, SECONDS).value == 0
            again = [client.publish("work.a", 1, key="k") for _ in range(2)]
            assert [each.repeated for each in again] == [False, True]
            with pytest.raises(TaskFailed, match="exhausted"):
                client.publish("work.a", "fail").result(SECONDS)
            client.pause("worker")
            assert client.resume("worker")
            assert client.waiting("worker") == 0
            assert client.purge("worker") == 0
            with pytest.raises(UnknownRole):
                client.pause("nobody")

    await beside(script)


async def test_a_failure_is_given_back_and_a_hanging_one_is_cancelled(fleet: LiveFleet) -> None:
    def script() -> None:
        with connected(fleet) as client:
            failed = client.publish("work.a", "fail")
            assert failed.outcome(SECONDS).status is Status.FAILED
            assert [letter.id for letter in client.retry(failed.id)] == [failed.id]
            hangs = client.publish("work.a", "hang")
            with pytest.raises(NoResult):
                hangs.result(timeout=0.05)
            hangs.cancel("enough")
            with pytest.raises(TaskCancelled):
                hangs.result(SECONDS)

    await beside(script)


async def test_parts_and_progress_are_iterated(fleet: LiveFleet) -> None:
    def script() -> None:
        with connected(fleet) as client:
            task = client.publish("work.a", "stream", stream=True)
            news = client.progress()
            assert next(news).note == "half"
            news.close()  # type: ignore[attr-defined]
            assert [part.value for part in task.stream()] == [0, 1, 2]
            for part in task.stream():
                assert part.value == 0
                break

    await beside(script)


async def test_many_threads_share_one_connection(fleet: LiveFleet) -> None:
    def script() -> None:
        with connected(fleet) as client, ThreadPoolExecutor(20) as pool:

            def publish(n: int) -> int:
                found: int = client.publish("work.a", n).result(SECONDS)
                return found

            assert list(pool.map(publish, range(100))) == list(range(100))

    await beside(script)


async def test_it_may_be_used_where_a_loop_runs_already(fleet: LiveFleet) -> None:
    """As in a notebook: the loop of the connection is another one."""
    with connected(fleet) as client:
        task = client.publish("work.a", 1)
        assert isinstance(task, SyncTask)
    assert task.id in repr(task)


async def test_after_its_close_it_says_so_and_no_thread_is_left(fleet: LiveFleet) -> None:
    def script() -> None:
        with connected(fleet) as client:
            task = client.publish("work.a", 1)
        client.close()
        with pytest.raises(Closed, match="connection to the fleet is closed"):
            client.publish("work.a", 1)
        with pytest.raises(Closed):
            task.result()

    await beside(script)
    assert not [thread for thread in threading.enumerate() if thread.name == "muster"]


async def test_a_call_that_waits_when_it_is_closed_ends() -> None:
    loop = LoopThread("closing")
    begun = threading.Event()

    async def waits() -> None:
        begun.set()
        await asyncio.sleep(60)

    async def nothing() -> None:
        return

    waiting = asyncio.create_task(asyncio.to_thread(loop.wait, waits()))
    await asyncio.to_thread(begun.wait, 5.0)
    start = time.monotonic()
    await asyncio.to_thread(loop.close, nothing())
    with pytest.raises(Closed):
        await waiting
    assert time.monotonic() - start < 2.0


async def test_a_connection_that_nobody_holds_any_more_is_closed(fleet: LiveFleet) -> None:
    def script() -> None:
        parts = connected(fleet).publish("work.a", "stream", stream=True).stream()
        gc.collect()
        assert [part.value for part in parts] == [0, 1, 2], "it is held by what is read"

    await beside(script)
    gc.collect()
    async with asyncio.timeout(5.0):
        while any(t.name == "muster" for t in threading.enumerate()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_is_collected_in_the_thread_of_the_loop_does_not_stop_it() -> None:
    loop = LoopThread("collecting")
    left: list[Any] = []

    async def items() -> AsyncGenerator[int]:
        try:
            yield 1
        finally:
            left.append("closed")

    async def collect() -> None:
        left.pop().close()

    async def nothing() -> None:
        return

    def script() -> None:
        left.append(loop.iterate(items()))
        assert next(left[0]) == 1
        loop.wait(collect())
        loop.close(nothing())
        assert left == ["closed"]

    await beside(script)


def test_a_connection_that_cannot_be_made_leaves_no_thread() -> None:
    async def connect() -> FleetClient:
        raise Unreachable("nobody answers")

    with pytest.raises(Unreachable):
        SyncFleet(connect)
    assert not [thread for thread in threading.enumerate() if thread.name == "muster"]


SCRIPT = """
import os, sys, threading
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import SystemClock
from workers.fleet.blocking import SyncFleet
from workers.fleet.client import FleetClient
from workers.fleet.errors import Forked

async def connect():
    broker = MemoryBroker(SystemClock(), lease=5.0)
    bus = Bus(MemoryBackend(broker), MemoryKeyValue(broker.store), clock=broker.clock)
    await bus.bind("g", ["work.#"])
    return FleetClient(bus, broker.clock)

fleet = SyncFleet(connect)
task = fleet.publish("work.a", 1)
print("published", flush=True)
"""


def ran(script: str) -> "subprocess.CompletedProcess[str]":
    """A script in a process of its own, over in good time."""
    return subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_process_that_ends_without_closing_ends_in_good_order() -> None:
    found = ran(SCRIPT)
    assert (found.returncode, found.stdout, found.stderr) == (0, "published\n", "")


def test_a_forked_process_is_told_to_connect_itself() -> None:
    """Also a task of the parent; closing what is not its own does nothing to it."""
    found = ran(
        SCRIPT
        + """
if os.fork() == 0:
    for call in (lambda: fleet.publish("work.a", 2), task.result, lambda: fleet.waiting("g")):
        try:
            call()
        except Forked as error:
            print(*error.lines(), sep=" | ", flush=True)
    fleet.close()
    mine = SyncFleet(connect)
    print("mine", mine.publish("work.a", 3).topic, flush=True)
    sys.exit(0)
pid, status = os.wait()
fleet.publish("work.a", 4)
print("parent", status, flush=True)
"""
    )
    lines = found.stdout.splitlines()
    assert (found.returncode, found.stderr, len(lines)) == (0, "", 6), found
    assert len({line for line in lines if "belongs to another process" in line}) == 1
    assert "connect after the fork" in lines[1]
    assert lines[-2:] == ["mine work.a", "parent 0"]
