"""A fleet in memory: what a role's test may do to it."""

import asyncio

import pytest

from contracts.errors import InvalidValue
from contracts.events import Kind
from workers import Context, role
from workers.testing import MemoryFleet


@role("echo", listens="echo.#", attempts=3)
async def echo(task: dict[str, str], ctx: Context) -> dict[str, str]:
    """Answer what was asked."""
    await ctx.progress(0.5, "half")
    return task


async def test_a_task_settles_without_time_passing() -> None:
    async with MemoryFleet(echo) as fleet:
        start = fleet.clock.monotonic()
        task = await fleet.publish("echo.x", {"say": "hello"})
        await fleet.settle()
        assert await task.result() == {"say": "hello"}
        assert fleet.clock.monotonic() - start < 0.5
        assert Kind.SUCCEEDED in [event.kind for event in fleet.events]
        assert fleet.runs("echo") == 1


async def test_a_dropped_hand_over_comes_back_by_its_lease() -> None:
    async with MemoryFleet(echo, lease=8.0) as fleet:
        fleet.faults.drop()
        start = fleet.clock.monotonic()
        task = await fleet.publish("echo.x", {"n": "1"})
        assert await fleet.result(task) == {"n": "1"}
        assert 8.0 <= fleet.clock.monotonic() - start < 9.5


async def test_a_delayed_message_waits() -> None:
    async with MemoryFleet(echo) as fleet:
        fleet.faults.delay(30.0)
        start = fleet.clock.monotonic()
        task = await fleet.publish("echo.x", {"n": "1"})
        await fleet.result(task)
        assert 30.0 <= fleet.clock.monotonic() - start < 31.5


async def test_a_duplicate_runs_again() -> None:
    runs = []

    @role("counter", listens="count.#")
    async def counter(task: dict[str, str], ctx: Context) -> None:
        runs.append(task["n"])

    async with MemoryFleet(counter) as fleet:
        fleet.faults.duplicate()
        await fleet.publish("count.x", {"n": "1"}, reply=False)
        await fleet.settle()
        assert runs == ["1", "1"]


async def test_a_refused_publish_is_repeated_by_its_client() -> None:
    async with MemoryFleet(echo) as fleet:
        fleet.faults.full(2)
        fleet.faults.refuse_publish()
        task = await fleet.publish("echo.x", {"n": "1"})
        assert await fleet.result(task) == {"n": "1"}
        assert fleet.runs("echo") == 1


async def test_what_a_crashed_worker_held_runs_again_as_its_second_attempt() -> None:
    attempts: list[int] = []

    @role("slow", listens="slow.#")
    async def slow(task: dict[str, str], ctx: Context) -> None:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            await asyncio.Event().wait()

    async with MemoryFleet(slow) as fleet:
        task = await fleet.publish("slow.x", {})
        await fleet.settle()
        await fleet.crash_worker("slow")
        await fleet.result(task)
        assert attempts == [1, 2]


async def test_what_is_no_role_is_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidValue, match="is not a role"):
        MemoryFleet(print)
    with pytest.raises(InvalidValue, match="has no role"):
        MemoryFleet(echo).runs("nobody")
