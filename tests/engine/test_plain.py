"""Plain `def` handlers: in threads, with a context that blocks, and what happens to one that does
not stop."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from contracts.outcomes import Reason, Retry
from contracts.results import Status
from tests.engine.fleets import LiveFleet, made
from workers.engine import threads
from workers.engine.threads import Threads
from workers.sdk.blocking import SyncContext
from workers.sdk.errors import HandlerStuck, TaskFailed

SECONDS = 8.0


async def until(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return when something that a thread does has happened."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - threads set no event of the loop
            await asyncio.sleep(0.005)


async def outcome(fleet: LiveFleet, payload: object = None, topic: str = "work.a") -> Any:
    """How a task with this payload ends."""
    return await (await fleet.client.publish(topic, payload)).outcome(SECONDS)


async def test_a_plain_function_runs_in_a_thread_and_its_result_reaches_the_caller() -> None:
    def handler(payload: int, ctx: SyncContext) -> dict[str, object]:
        return {
            "twice": 2 * payload,
            "main": threading.current_thread() is threading.main_thread(),
            "attempt": ctx.attempt,
            "topic": ctx.topic,
        }

    fleet = LiveFleet(2.0)
    async with fleet.running(made(handler)):
        end = await outcome(fleet, 21)
    assert end.value == {"twice": 42, "main": False, "attempt": 1, "topic": "work.a"}


async def test_what_it_raises_and_returns_means_what_it_means_for_others() -> None:
    seen: list[int] = []

    def handler(payload: str, ctx: SyncContext) -> Any:
        seen.append(ctx.attempt)
        if payload == "stop":
            raise StopIteration("odd")
        if ctx.attempt == 1:
            raise ValueError("once")
        return Retry(after=0.0) if ctx.attempt == 2 else "third"

    fleet = LiveFleet(2.0)
    async with fleet.running(made(handler, attempts=3)):
        assert (await outcome(fleet, "go")).value == "third"
        assert seen == [1, 2, 3]
        end = await outcome(fleet, "stop")
        assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.EXHAUSTED, 3)
        assert "StopIteration" in end.error


async def test_everything_a_context_can_do_it_can_do_blocking() -> None:
    """By the same names; the child runs although its parent's thread waits."""

    def leaf(payload: int, ctx: SyncContext) -> int:
        return payload + 1

    def parent(payload: int, ctx: SyncContext) -> dict[str, Any]:
        ctx.progress(0.5, "half", pages=3)
        ctx.log.info("half way")
        ctx.stream({"part": 1})
        task = ctx.publish("leaf.x", payload)
        with pytest.raises(TaskFailed):
            ctx.call("leaf", "no number")
        return {"called": ctx.call("leaf", payload, returns=int), "published": task}

    fleet = LiveFleet(2.0)
    roles = (made(parent), made(leaf, "leaf", listens="leaf.#", attempts=1))
    async with fleet.running(*roles, drain=5.0):
        end = await outcome(fleet, 1)
    assert (end.value["called"], bool(end.value["published"])) == (2, True)


@pytest.mark.parametrize("depth", [5])
async def test_a_chain_of_calls_of_one_role_with_one_place_does_not_wait_for_itself(
    depth: int,
) -> None:
    def chain(payload: int, ctx: SyncContext) -> int:
        return 0 if payload == 0 else 1 + int(ctx.call("worker", payload - 1))

    fleet = LiveFleet(2.0)
    async with fleet.running(made(chain, concurrency=1)):
        assert (await outcome(fleet, depth)).value == depth


async def test_many_parents_of_one_place_each_get_their_children() -> None:
    def parent(payload: int, ctx: SyncContext) -> int:
        return sum(int(ctx.call("leaf", payload * 10 + n)) for n in range(3))

    def leaf(payload: int, ctx: SyncContext) -> int:
        return payload

    fleet = LiveFleet(2.0)
    roles = (made(parent, concurrency=1), made(leaf, "leaf", listens=(), concurrency=1))
    async with fleet.running(*roles):
        ends = await asyncio.gather(*(outcome(fleet, n) for n in range(20)))
    assert [end.value for end in ends] == [30 * n + 3 for n in range(20)]


async def test_no_more_run_at_once_than_the_role_allows_and_threads_are_used_again() -> None:
    lock, running, most, names = threading.Lock(), 0, 0, set()

    def handler(payload: int, ctx: SyncContext) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            names.add(threading.get_ident())
        time.sleep(0.01)
        with lock:
            running -= 1

    fleet = LiveFleet(2.0)
    async with fleet.running(made(handler, concurrency=3)):
        await asyncio.gather(*(outcome(fleet, n) for n in range(30)))
    assert most <= 3
    assert len(names) <= 6


@pytest.mark.promise(13)
async def test_a_plain_handler_that_blocks_for_longer_than_its_lease_runs_once() -> None:
    """The event loop goes on beside it: others run, and the lease is renewed."""
    starts: list[int] = []

    def blocks(payload: object, ctx: SyncContext) -> str:
        starts.append(ctx.attempt)
        time.sleep(1.8)
        return "done"

    async def quick(payload: object, ctx: object) -> str:
        return "quick"

    fleet = LiveFleet(0.6)
    async with fleet.running(made(blocks), made(quick, "quick", listens="quick.#")):
        slow = asyncio.create_task(outcome(fleet))
        await until(lambda: starts)
        begun = time.monotonic()
        assert (await outcome(fleet, topic="quick.a")).value == "quick"
        assert time.monotonic() - begun < 0.5
        assert (await slow).value == "done"
    assert starts == [1]


@pytest.mark.promise(15)
async def test_a_plain_handler_whose_lease_is_lost_is_told_and_its_result_is_not_accepted() -> None:
    said: list[bool] = []

    def handler(payload: object, ctx: SyncContext) -> int:
        while not ctx.cancelled:
            time.sleep(0.01)
        said.append(ctx.cancelled)
        return ctx.attempt

    fleet = LiveFleet(0.6)
    async with fleet.running(made(handler)) as host:
        task = await fleet.client.publish("work.a", None)
        await until(lambda: host.worker("worker").running)
        worker = host.worker("worker")
        (run,) = worker._runs.values()
        host._keeper._lose(run.delivery)
        await until(lambda: worker.counts.lost)
        assert (said, worker.counts.succeeded) == ([True], 0)
        assert await fleet.client.bus.outcomes.get(task.reply or "", task.id) is None


async def test_one_that_takes_too_long_is_told_and_what_it_asks_raises() -> None:
    """Every method of the context ends the handler from then on, also one that waits."""
    ends: list[str] = []

    def handler(payload: str, ctx: SyncContext) -> None:
        try:
            if payload == "waits":
                ctx.call("leaf", None)
            while True:
                time.sleep(0.01)
                ctx.progress(0.1)
        except asyncio.CancelledError:
            ends.append(payload)
            raise

    async def leaf(payload: object, ctx: object) -> None:
        await asyncio.sleep(60)

    fleet = LiveFleet(2.0)
    roles = (made(handler, attempts=1, timeout=0.3), made(leaf, "leaf", listens=(), timeout=1.0))
    async with fleet.running(*roles, drain=0.1):
        for payload in ("waits", "asks"):
            end = await outcome(fleet, payload)
            assert (end.reason, "longer than the 0.3 s" in end.error) == (Reason.TIMEOUT, True)
    assert ends == ["waits", "asks"]


async def test_a_cancel_ends_one_that_looks_within_two_seconds() -> None:
    running = threading.Event()

    def handler(payload: object, ctx: SyncContext) -> str:
        running.set()
        while not ctx.cancelled:
            time.sleep(0.01)
        return "too late"

    fleet = LiveFleet(2.0)
    async with fleet.running(made(handler)) as host:
        task = await fleet.client.publish("work.a", None)
        await until(running.is_set)
        await task.cancel("enough")
        assert (await task.outcome(3.0)).status is Status.CANCELLED
        await until(lambda: not host.worker("worker").running)


@pytest.mark.parametrize("why", ["cancel", "timeout"])
async def test_one_that_does_not_stop_costs_its_worker_which_hands_back_the_rest(
    why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task itself ends as it has to; what ran beside it uses no attempt."""
    monkeypatch.setattr(threads, "GRACE", 0.3)
    release, running, beside = threading.Event(), threading.Event(), asyncio.Event()

    def deaf(payload: object, ctx: SyncContext) -> None:
        running.set()
        release.wait(20)

    async def innocent(payload: object, ctx: object) -> None:
        beside.set()
        await asyncio.sleep(60)

    fleet = LiveFleet(2.0)
    timeout = 0.4 if why == "timeout" else 60.0
    roles = (
        made(deaf, attempts=2, timeout=timeout, backoff=30.0),
        made(innocent, "innocent", listens="innocent.#"),
    )
    try:
        with pytest.raises(HandlerStuck, match="did not stop") as caught:  # noqa: PT012
            async with fleet.running(*roles) as host:
                other = await fleet.client.publish("innocent.a", None)
                await beside.wait()
                task = await fleet.client.publish("work.a", None)
                await until(running.is_set)
                if why == "cancel":
                    await task.cancel()
                    assert (await task.outcome(4.0)).status is Status.CANCELLED
                await until(lambda: host.stopping)
                await until(lambda: not host.worker("innocent").running)
                (again,) = await host.worker("innocent")._bus.pull("innocent", free=1, wait=1.0)
                assert (again.message.id, again.message.copy) == (other.id, 1)
                assert "muster-attempt" not in again.message.headers
                if why == "timeout":
                    await until(lambda: host.worker("worker").counts.again == 1)
    finally:
        release.set()
    assert "ctx.cancelled" in caught.value.actions[0]


async def test_a_stop_does_not_wait_longer_for_a_deaf_one_than_the_drain_and_its_grace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "GRACE", 0.2)
    release, running = threading.Event(), threading.Event()

    def deaf(payload: object, ctx: SyncContext) -> None:
        running.set()
        release.wait(20)

    fleet = LiveFleet(2.0)
    begun = time.monotonic()
    try:
        async with fleet.running(made(deaf), drain=0.1):
            await fleet.client.publish("work.a", None)
            await until(running.is_set)
            begun = time.monotonic()
        assert time.monotonic() - begun < 2.0
    finally:
        release.set()


async def test_a_plain_function_that_returns_a_coroutine_is_a_dead_letter_that_says_so() -> None:
    async def real() -> int:
        return 1

    def handler(payload, ctx):  # type: ignore[no-untyped-def]
        return real()

    fleet = LiveFleet(2.0)
    async with fleet.running(made(handler)):
        end = await outcome(fleet)
    assert (end.reason, "returned a coroutine" in end.error) == (Reason.REJECTED, True)


async def test_variables_of_the_context_reach_the_thread() -> None:
    """Such as the span of a trace, or what a log line is bound to."""
    name = contextvars.ContextVar("name", default="unset")
    pool = Threads("r", 1)
    name.set("here")
    assert await pool.run(lambda _: name.get(), lambda: None) == "here"
    pool.close()


async def test_threads_that_nobody_needs_end() -> None:
    pool = Threads("many", 2)
    barrier = threading.Barrier(5)
    await asyncio.gather(*(pool.run(lambda _: barrier.wait(5), lambda: None) for _ in range(5)))
    await until(lambda: len(_named("role many")) <= 2)
    assert pool.busy == 0
    pool.close()
    await until(lambda: not _named("role many"))


def _named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == name]
