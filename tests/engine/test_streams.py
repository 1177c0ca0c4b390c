"""Parts of results on their way to a waiting caller: in order, each once, of the run that ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from bus.parts import Part
from contracts.errors import InvalidValue
from contracts.outcomes import Reason, Retry
from contracts.results import Status
from tests.engine.fleets import LEASE, ManualFleet, made
from workers.engine import streaming
from workers.fleet.client import Task
from workers.sdk.blocking import SyncContext
from workers.sdk.context import Context


class Word(BaseModel):
    text: str


class Reader:
    """Reads the parts of a task beside the test."""

    def __init__(self, fleet: ManualFleet, task: Task) -> None:
        self.parts: list[Part] = []
        self._fleet = fleet
        self._reading = asyncio.create_task(self._read(task.stream()))

    async def _read(self, parts: AsyncIterator[Part]) -> None:
        async for part in parts:
            self.parts.append(part)

    async def end(self) -> list[Any]:
        """What is left after the last restart, when the stream has ended."""
        await self._fleet.until(self._reading.done)
        self._reading.result()
        restarts = [n for n, part in enumerate(self.parts) if part.restarts]
        return [p.value for p in self.parts[restarts[-1] + 1 if restarts else 0 :]]

    async def until(self, holds: Callable[[list[Part]], object]) -> None:
        """Until what was read is so."""
        await self._fleet.until(lambda: bool(holds(self.parts)))


async def streamed(fleet: ManualFleet, payload: object = None, **options: Any) -> Task:
    """A task whose parts are wanted."""
    return await fleet.client.publish("work.a", payload, stream=True, **options)


async def test_parts_reach_the_caller_in_order_and_then_the_stream_ends(
    fleet: ManualFleet,
) -> None:
    async def handler(payload: int, ctx: Context) -> str:
        for n in range(payload):
            await ctx.stream({"n": n})
        await ctx.stream(Word(text="end"))
        return "done"

    await fleet.start(made(handler))
    task = await streamed(fleet, 500)
    reader = Reader(fleet, task)
    assert await reader.end() == [*({"n": n} for n in range(500)), {"text": "end"}]
    assert [part.number for part in reader.parts] == list(range(1, 502))
    assert {part.attempt for part in reader.parts} == {1}
    assert await fleet.within(task.result()) == "done"


async def test_a_part_is_there_long_before_the_end(fleet: ManualFleet) -> None:
    goes_on = asyncio.Event()

    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream("early")
        await goes_on.wait()
        await ctx.stream("late")

    await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    await reader.until(lambda parts: [part.value for part in parts] == ["early"])
    goes_on.set()
    assert await reader.end() == ["early", "late"]


async def test_a_retry_begins_anew_and_the_reader_is_told(fleet: ManualFleet) -> None:
    async def handler(payload: object, ctx: Context) -> Any:
        for n in range(3):
            await ctx.stream(f"{ctx.attempt}.{n}")
        if ctx.attempt == 1:
            await fleet.clock.sleep(1.0)
            return Retry(after=1.0)
        return None

    await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    assert await reader.end() == ["2.0", "2.1", "2.2"]
    (restart,) = (part for part in reader.parts if part.restarts)
    assert (restart.attempt, restart.value) == (2, None)
    assert reader.parts[0].value == "1.0"


async def test_a_run_without_parts_after_one_with_some_leaves_none(fleet: ManualFleet) -> None:
    """Exactly as of the run that succeeded."""

    async def handler(payload: object, ctx: Context) -> None:
        if ctx.attempt == 1:
            await ctx.stream("void")
            await fleet.clock.sleep(1.0)
            raise ValueError("no")

    await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    assert await reader.end() == []
    assert [part.number for part in reader.parts] == [1, 0]


async def test_who_comes_when_all_is_over_reads_the_same(fleet: ManualFleet) -> None:
    """And who reads twice, reads it twice."""

    async def handler(payload: object, ctx: Context) -> Any:
        await ctx.stream(ctx.attempt)
        return Retry(after=0.0) if ctx.attempt == 1 else None

    await fleet.start(made(handler))
    task = await streamed(fleet)
    await fleet.within(task.outcome())
    for _ in range(2):
        reader = Reader(fleet, task)
        assert await reader.end() == [2]


async def test_a_worker_that_dies_is_followed_by_another_that_begins_anew(
    fleet: ManualFleet,
) -> None:
    hangs = asyncio.Event()

    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream(f"of {ctx.attempt}")
        if ctx.attempt == 1:
            await hangs.wait()

    first = await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    await reader.until(len)
    await first.crash()
    await fleet.start(made(handler))
    await reader.until(lambda parts: len(parts) > 2)
    assert await reader.end() == ["of 2"]
    assert [part.value for part in reader.parts] == ["of 1", None, "of 2"]
    assert fleet.clock.wall() > LEASE


async def test_a_stream_of_a_task_that_fails_ends_and_the_result_says_why(
    fleet: ManualFleet,
) -> None:
    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream("so far")
        await fleet.clock.sleep(1.0)
        raise ValueError("no")

    await fleet.start(made(handler, attempts=1))
    task = await streamed(fleet)
    assert await Reader(fleet, task).end() == ["so far"]
    assert (await fleet.within(task.outcome())).reason is Reason.EXHAUSTED


async def test_where_nobody_asked_for_parts_nothing_is_sent(fleet: ManualFleet) -> None:
    """Not even looked at: what is no JSON is no error."""

    async def handler(payload: object, ctx: Context) -> str:
        await ctx.stream(object())
        return "done"

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    assert await fleet.within(task.result()) == "done"
    assert await fleet.bus.store.list("part/") == []
    with pytest.raises(InvalidValue, match="nobody sends parts"):
        task.stream()
    with pytest.raises(InvalidValue, match="cannot be streamed to nobody"):
        await streamed(fleet, reply=False)


async def test_what_a_task_calls_streams_nothing(fleet: ManualFleet) -> None:
    """Its caller is a handler that waits for the result."""

    async def leaf(payload: object, ctx: Context) -> None:
        await ctx.stream("lost")

    async def parent(payload: object, ctx: Context) -> None:
        await ctx.call("leaf", None)
        await ctx.stream("mine")

    await fleet.start(made(leaf, "leaf", listens=()))
    await fleet.start(made(parent))
    assert await Reader(fleet, await streamed(fleet)).end() == ["mine"]
    assert len(await fleet.bus.store.list("part/")) == 1


@pytest.mark.parametrize(
    ("part", "says"),
    [
        (object(), "a part of the result is not JSON"),
        ("x" * 300_000, "more than 262,144 of one part"),
    ],
)
async def test_a_part_that_cannot_be_sent_ends_its_task(
    fleet: ManualFleet, part: object, says: str
) -> None:
    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream(part)

    await fleet.start(made(handler))
    end = await fleet.within((await streamed(fleet)).outcome())
    assert (end.status, end.reason, end.attempt) == (Status.FAILED, Reason.REJECTED, 1)
    assert says in end.error


async def test_a_run_streams_so_much_and_no_more(
    fleet: ManualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "MOST", 1000)

    async def handler(payload: object, ctx: Context) -> None:
        while True:
            await ctx.stream("x" * 98)

    await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    await reader.end()
    assert "more than 1,000 of one run" in (await fleet.dead())[0].error


async def test_who_streams_faster_than_parts_leave_waits(
    fleet: ManualFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the store is away nothing piles up; afterwards all arrives."""
    monkeypatch.setattr(streaming, "MOST_HELD", 10)
    sent: list[int] = []

    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream(-1)
        await fleet.clock.sleep(1.0)
        fleet.broker.store.outage()
        for n in range(100):
            await ctx.stream(n)
            sent.append(n)

    await fleet.start(made(handler))
    reader = Reader(fleet, await streamed(fleet))
    await fleet.until(lambda: bool(sent))
    await fleet.clock.advance(5.0)
    assert 10 <= len(sent) <= 12
    fleet.broker.store.restore()
    assert await reader.end() == list(range(-1, 100))


async def test_a_store_that_stays_away_costs_an_attempt_and_no_part(fleet: ManualFleet) -> None:
    """A success whose parts are not safe would not be exactly what was streamed."""

    async def handler(payload: object, ctx: Context) -> int:
        if ctx.attempt == 1:
            fleet.broker.store.outage()
        await ctx.stream(ctx.attempt)
        return ctx.attempt

    member = await fleet.start(made(handler, timeout=300.0))
    task = await streamed(fleet)
    await fleet.clock.advance(45.0)
    fleet.broker.store.restore()
    await fleet.until(lambda: member.worker.counts.succeeded == 1)
    assert await Reader(fleet, task).end() == [2]


async def test_a_reader_may_leave_early(fleet: ManualFleet) -> None:
    async def handler(payload: object, ctx: Context) -> str:
        await ctx.stream("first")
        await fleet.clock.sleep(5.0)
        await ctx.stream("second")
        return "done"

    async def first_of(task: Task) -> Any:
        parts = task.stream()
        part = await anext(parts)
        await parts.aclose()
        return part.value

    await fleet.start(made(handler))
    task = await streamed(fleet)
    assert await fleet.within(first_of(task)) == "first"
    assert await fleet.within(task.result()) == "done"


async def test_a_task_with_a_key_is_read_by_whoever_publishes_it_again(fleet: ManualFleet) -> None:
    async def handler(payload: object, ctx: Context) -> None:
        await ctx.stream("part")

    await fleet.start(made(handler))
    await streamed(fleet, key="k")
    again = await streamed(fleet, key="k")
    assert await Reader(fleet, again).end() == ["part"]


async def test_a_plain_handler_streams_too(fleet: ManualFleet) -> None:
    def handler(payload: int, ctx: SyncContext) -> None:
        for n in range(payload):
            ctx.stream(n)

    member = await fleet.start(made(handler))
    task = await streamed(fleet, 20)
    reader = Reader(fleet, task)
    async with asyncio.timeout(5.0):
        while not member.worker.counts.succeeded:
            await fleet.clock.advance(0.0)
            await asyncio.sleep(0.001)
    assert await reader.end() == list(range(20))
