"""A full broker: publishing is refused, everything that drains it works."""

from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from bus.backend import Backend, Message
from bus.errors import Full
from bus.keyvalue import keys
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import (
    ORDER,
    SOON,
    bound,
    drain,
    eventually,
    ids,
    nothing,
    take,
    task,
)

T = TypeVar("T")

BODY = bytes(4000)
CALL = 5
"""Messages in one call, so that a call is refused as a whole."""


def large(name: str) -> list[Message]:
    """What one call publishes."""
    return [replace(task(f"{name}-{n}"), body=BODY) for n in range(CALL)]


async def fill(world: World, backend: Backend, name: str = "t") -> tuple[list[str], Full]:
    """Publish until it is refused: the ids that were accepted, and the refusal."""
    accepted: list[str] = []
    for call in range(1000):
        messages = large(f"{name}{call}")
        try:
            await world.within(SOON, backend.publish(messages))
        except Full as error:
            return sorted(accepted), error
        accepted += [message.id for message in messages]
    pytest.fail("nothing is ever refused")


async def ended(world: World, work: Coroutine[Any, Any, T]) -> T | Full:
    """What the call returned, or its refusal."""
    try:
        return await world.within(SOON, work)
    except Full as error:
        return error


@pytest.mark.promise(21)
async def test_what_is_full_refuses_to_publish_and_names_the_slowest_group(small: World) -> None:
    """21: the whole call is refused; the error is worth repeating and says for whom most waits."""
    backend = await bound(small, "g", "quick")
    accepted, error = await fill(small, backend)
    await drain(small, backend, len(accepted), group="quick")
    with pytest.raises(Full) as caught:
        await small.within(SOON, backend.publish([replace(task("x"), body=bytes(200_000))] * 2))
    assert f"most waits for g: {len(accepted)}" in caught.value.details
    assert error.retryable
    assert error.retry_after is not None
    found = await drain(small, backend, len(accepted))
    assert ids(found) == accepted
    await nothing(small, backend)


@pytest.mark.promise(21)
async def test_what_is_full_settles_extends_and_hands_back(small: World) -> None:
    """21: also what a settle leaves behind is kept, and so is what the store is asked to keep."""
    backend, store = await bound(small), await small.keyvalue()
    await fill(small, backend)
    first, second, third = await take(small, backend, 3)
    assert await backend.extend([first, second, third]) == []
    again = [
        Message(d.message.id, 1, "work.a", BODY, lane=ORDER[1], group="g") for d in (first, second)
    ]
    assert await ended(small, backend.settle([first], then=[again[0]])) == []
    follow_up = replace(task("follow-up"), body=BODY)
    assert await ended(small, backend.settle([second], then=[again[1], follow_up])) == []
    await store.put(keys.dead("g", third.message.id), BODY)
    assert await backend.settle([third]) == []
    found = await take(small, backend, 2, lanes=ORDER[1:2])
    assert ids(found) == sorted(message.id for message in again)
    with pytest.raises(Full):
        await small.within(SOON, backend.publish(large("x")))


@pytest.mark.promise(21)
async def test_runs_under_way_may_publish_a_little_longer(small: World) -> None:
    """21: else a broker full of tasks that publish others would wait for itself."""
    backend = await bound(small)
    await fill(small, backend)
    assert isinstance(await ended(small, backend.publish(large("x"))), Full)
    follow_ups = [replace(task(f"f{n}"), body=BODY) for n in range(100)]
    ends = [await ended(small, backend.publish([m], follow_up=True)) for m in follow_ups]
    assert ends[0] is None
    assert isinstance(ends[-1], Full)
    (held,) = await take(small, backend, 1)
    left_behind = replace(task("then"), body=BODY)
    assert await ended(small, backend.settle([held], then=[left_behind])) == []


@pytest.mark.promise(21)
async def test_what_was_full_drains_to_zero_and_accepts_again(small: World) -> None:
    """21: filled twice over; nothing is left, nothing is lost, and room is found without help."""
    backend, publisher = await bound(small), await small.backend()
    for turn in range(2):
        accepted, _ = await fill(small, publisher, f"turn{turn}-")
        assert len(accepted) > 5 * CALL
        assert ids(await drain(small, backend, len(accepted))) == accepted

        async def accepts(turn: int = turn) -> bool:
            try:
                await publisher.publish([replace(task(f"after{turn}"), body=bytes(150_000))])
            except Full:
                return False
            return True

        await eventually(small, 8.0, accepts)
        await drain(small, backend, 1)
