"""What a handler sees of its task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from contracts.envelope import Envelope
from contracts.results import Result, Status
from workers.sdk.context import Context

TASK = Envelope(id="t1", topic="work.a", source="/s", time=0.0, body=b"{}", copy=4, attempt=2)


class Noting:
    """A runtime that notes what it is asked."""

    log = None
    cancelled = False

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    async def progress(self, share: float, note: str, data: Mapping[str, Any]) -> None:
        self.asked.append((share, note, dict(data)))

    async def publish(self, number: int, topic: str, *_: Any) -> str:
        self.asked.append((number, topic))
        return f"id-{number}"

    async def call(self, number: int, role: str, payload: Any, *_: Any) -> Result:
        self.asked.append((number, role))
        return Result(
            id="c",
            status=Status.SUCCEEDED,
            role=role,
            worker="w",
            fence=0,
            attempt=1,
            finished=0.0,
            value=payload,
        )


def context(task: Envelope = TASK) -> tuple[Context, Noting]:
    """A context and what it asks of its runtime."""
    runtime = Noting()
    return Context(task, runtime), runtime  # type: ignore[arg-type]


def test_a_handler_sees_whose_task_it_is_and_which_run() -> None:
    ctx, _ = context()
    assert (ctx.id, ctx.topic, ctx.tenant, ctx.deadline) == ("t1", "work.a", "default", None)
    assert (ctx.attempt, ctx.fence, ctx.correlation) == (3, 4, "t1")


def test_an_awarded_task_has_the_fence_it_was_given() -> None:
    assert context(replace(TASK, fence=99))[0].fence == 99
    assert context(replace(TASK, correlation="root"))[0].correlation == "root"


@pytest.mark.parametrize(
    ("share", "told"), [(-1.0, 0.0), (0.3, 0.3), (7.0, 1.0), (float("nan"), 0.0)]
)
async def test_progress_is_a_share_from_nothing_to_all(share: float, told: float) -> None:
    ctx, runtime = context()
    await ctx.progress(share, "note", pages=3)
    assert runtime.asked == [(told, "note", {"pages": 3})]


async def test_calls_and_publishes_are_numbered_each_in_their_order() -> None:
    """So that a run again gives them the same ids."""
    ctx, runtime = context()
    await ctx.publish("a.b", 1)
    await ctx.call("coder", 1)
    await ctx.publish("a.c", 1)
    await ctx.call("writer", 1)
    assert runtime.asked == [(1, "a.b"), (1, "coder"), (2, "a.c"), (2, "writer")]


class Sum(BaseModel):
    total: int


async def test_a_result_is_read_as_the_type_that_is_asked_for() -> None:
    ctx, _ = context()
    assert await ctx.call("adder", {"total": 7}) == {"total": 7}
    assert await ctx.call("adder", {"total": 7}, returns=Sum) == Sum(total=7)
    assert await ctx.call("adder", [1], returns=list[int]) == [1]
    with pytest.raises(ValidationError):
        await ctx.call("adder", {"total": "x"}, returns=Sum)
