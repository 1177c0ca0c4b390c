"""Workers on a full broker: they drain it, and no task dies of it."""

from typing import Any

import pytest

from bus.errors import Full
from contracts.results import Status
from tests.engine.fleets import ManualFleet, made
from workers.sdk.context import Context

BODY = "x" * 4000


async def fill(fleet: ManualFleet, topic: str) -> int:
    """Publish until it is refused; how many were accepted."""
    for number in range(1000):
        try:
            await fleet.within(fleet.client.publish(topic, BODY, reply=False))
        except Full:
            return number
    pytest.fail("nothing is ever refused")


@pytest.mark.promise(21)
async def test_a_broker_full_of_tasks_that_publish_others_drains_to_zero(
    fleet: ManualFleet,
) -> None:
    """21: their follow-ups have room of their own, and those that find none are tried again."""
    fleet.broker.max_bytes = 200_000
    ran = {"parent": 0, "child": 0}

    async def parent(payload: str, ctx: Context) -> None:
        await ctx.publish("small.a", payload)
        await ctx.publish("small.b", payload)
        ran["parent"] += 1

    async def child(payload: str, ctx: Context) -> None:
        ran["child"] += 1

    await fleet.bus.bind("worker", ["work.#"])
    await fleet.bus.bind("child", ["small.#"])
    accepted = await fill(fleet, "work.a")
    assert accepted > 20
    await fleet.start(made(parent))
    await fleet.start(made(child, "child", listens="small.#"))
    await fleet.until(lambda: ran == {"parent": accepted, "child": 2 * accepted}, 3600.0)
    assert await fleet.dead() == []
    await fleet.client.publish("small.a", BODY)


async def test_a_run_that_finds_no_room_uses_no_attempt(fleet: ManualFleet) -> None:
    """However often it is tried, and though the role has one attempt."""
    runs = 0

    async def parent(payload: Any, ctx: Context) -> str:
        nonlocal runs
        runs += 1
        await ctx.publish("small.a", BODY)
        return "published"

    await fleet.bus.bind("child", ["small.#"])
    await fleet.start(made(parent, attempts=1, timeout=3600.0))
    fleet.broker.max_bytes = 1000
    task = await fleet.client.publish("work.a", None)
    await fleet.until(lambda: runs == 3)
    fleet.broker.max_bytes = 1_000_000
    end = await fleet.within(task.outcome())
    assert (end.status, end.value, end.attempt) == (Status.SUCCEEDED, "published", 1)
