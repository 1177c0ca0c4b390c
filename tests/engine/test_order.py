"""Promise 7 in a worker: what is read ahead does not turn the order of starts upside down."""

import pytest

from contracts.envelope import Priority
from contracts.outcomes import Retry
from tests.engine.fleets import ManualFleet, made
from workers.fleet.options import Options
from workers.sdk.context import Context

MANY = 3000
"""More than is read ahead, several times."""


@pytest.mark.promise(7)
async def test_what_comes_back_starts_while_new_tasks_are_read_ahead(fleet: ManualFleet) -> None:
    """7: it lies in a higher lane; that the worker is never without tasks does not starve it."""
    starts: list[str] = []

    async def handler(text: str, ctx: Context) -> Retry | None:
        starts.append(text)
        if text == "0" and ctx.attempt == 1:
            return Retry(after=0.0)
        return None

    await fleet.client.bus.bind("worker", ["work.#"])
    work: list[tuple[str, object]] = [("work.a", str(number)) for number in range(MANY)]
    await fleet.client.publish_many(work, Options(reply=False))
    await fleet.start(made(handler, concurrency=4))
    await fleet.until(lambda: len(starts) == MANY + 1)
    assert starts.count("0") == 2
    assert starts.index("0", starts.index("0") + 1) < MANY / 2


@pytest.mark.promise(7)
async def test_a_high_task_starts_before_the_low_ones_read_ahead(fleet: ManualFleet) -> None:
    """7: as soon as it is pulled, which is when fifty of them have started at the latest."""
    starts: list[str] = []
    at = 0

    async def handler(text: str, ctx: Context) -> None:
        nonlocal at
        starts.append(text)
        if text == "1000":
            at = len(starts)
            await fleet.client.publish("work.a", "high", priority=Priority.HIGH, reply=False)

    await fleet.client.bus.bind("worker", ["work.#"])
    work: list[tuple[str, object]] = [("work.a", str(number)) for number in range(MANY)]
    await fleet.client.publish_many(work, Options(priority=Priority.LOW, reply=False))
    await fleet.start(made(handler, concurrency=4))
    await fleet.until(lambda: len(starts) == MANY + 1)
    assert starts.index("high") - at < 100


@pytest.mark.promise(7)
async def test_one_start_in_ten_is_a_lower_lanes_in_a_worker(fleet: ManualFleet) -> None:
    """7: of the starts, however many tasks are read ahead."""
    starts: list[str] = []

    async def handler(text: str, ctx: Context) -> None:
        starts.append(text)

    await fleet.client.bus.bind("worker", ["work.#"])
    for priority, count in ((Priority.LOW, 1000), (Priority.HIGH, 2000)):
        work: list[tuple[str, object]] = [("work.a", priority.value)] * count
        await fleet.client.publish_many(work, Options(priority=priority, reply=False))
    await fleet.start(made(handler, concurrency=4))
    await fleet.until(lambda: len(starts) == 3000)
    tens = [starts[n : n + 10].count("low") for n in range(0, 2000, 10)]
    assert set(tens) == {1}
