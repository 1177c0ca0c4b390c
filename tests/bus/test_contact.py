"""Whether the broker answers, by the clock's hand."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.contact import BEAT, QUIET, Contact
from bus.errors import Unreachable
from contracts.clock import ManualClock


class Broker:
    """Counts questions; answers, refuses, or keeps silent."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = asyncio.Event()
        self.open.set()
        self.error: Exception | None = None

    async def ask(self) -> None:
        self.asked += 1
        await self.open.wait()
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def kept(broker: Broker, clock: ManualClock) -> AsyncIterator[Contact]:
    """A contact that is kept."""
    contact = Contact(broker.ask, clock)
    keeping = asyncio.create_task(contact.keep())
    try:
        yield contact
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])


async def test_one_that_answers_is_asked_every_three_seconds() -> None:
    clock, broker = ManualClock(), Broker()
    async with kept(broker, clock) as contact:
        for _ in range(120):
            await clock.advance(BEAT)
            assert contact.silence <= QUIET
    assert broker.asked == 60 / QUIET


async def test_one_that_is_heard_of_anyway_is_not_asked() -> None:
    clock, broker = ManualClock(), Broker()
    async with kept(broker, clock) as contact:
        for _ in range(30):
            await clock.advance(2.0)
            contact.heard()
    assert broker.asked == 0


async def test_a_question_that_hangs_does_not_stop_the_count() -> None:
    """And no other is asked beside it; its answer ends the silence."""
    clock, broker = ManualClock(), Broker()
    broker.open.clear()
    async with kept(broker, clock) as contact:
        await clock.advance(60.0)
        assert (broker.asked, contact.silence) == (1, 60.0)
        broker.open.set()
        await clock.advance(BEAT)
        assert contact.silence <= BEAT


@pytest.mark.parametrize("error", [Unreachable("away"), RuntimeError("a mistake of ours")])
async def test_one_in_doubt_is_asked_again_and_again(error: Exception) -> None:
    """Whatever went wrong; the first answer ends the silence."""
    clock, broker = ManualClock(), Broker()
    broker.error = error
    async with kept(broker, clock) as contact:
        await clock.advance(10.0)
        assert contact.silence == 10.0
        assert broker.asked > 10
        broker.error = None
        await clock.advance(2 * BEAT)
        assert contact.silence <= BEAT


async def test_time_in_which_this_process_stood_still_is_no_silence() -> None:
    """A machine that slept for an hour knows nothing of its broker."""
    clock, broker = ManualClock(), Broker()
    async with kept(broker, clock) as contact:
        await clock.advance(0.1)
        clock._now += 3600.0
        await clock.advance(0.0)
        assert contact.silence <= 2 * BEAT
