"""Events on their way: gathered for a moment, sent as one message, never in anybody's way."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bus.announcing import GATHER, LARGEST, MOST, Announcer
from bus.backend import MAX_BODY, Message
from bus.errors import Unreachable
from bus.unread import Unread
from contracts.clock import ManualClock
from contracts.envelope import decode
from contracts.events import CONTENT_TYPE, MARK, Event, Kind, decode_events
from contracts.topics import EVENTS
from tests.bus.rooms import delivery

EVENT = Event(
    kind=Kind.PROGRESS,
    at=1_700_000_000.0,
    task="t1",
    topic="work.a",
    role="g",
    copy=0,
    attempt=1,
    worker="w1",
    pid=17,
)


def numbered(count: int, **fields: Any) -> list[Event]:
    """So many events that differ."""
    return [replace(EVENT, number=number, **fields) for number in range(count)]


class Wire:
    """Takes messages; holds them while `gate` is closed; is away when told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.calls = 0
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, messages: Sequence[Message]) -> None:
        self.calls += 1
        await self.gate.wait()
        if self.away:
            raise Unreachable("away")
        self.messages += messages

    @property
    def told(self) -> list[int]:
        """The numbers of the events that got out, in order."""
        return [event.number for m in self.messages for event in decode_events(m.body)]


def announcer_to(wire: Wire, clock: ManualClock, *, waiting: int = 0) -> Announcer:
    """An announcer that sends to `wire`, while so many messages wait for history."""

    async def unread() -> int:
        return waiting

    return Announcer(wire.send, clock, "/test", Unread(unread, clock))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_events_of_a_moment_leave_as_one_message(clock: ManualClock) -> None:
    wire = Wire()
    announcer = announcer_to(wire, clock)
    for event in numbered(3):
        announcer.tell(event)
    await clock.advance(GATHER * 0.9)
    assert wire.messages == []
    await clock.advance(GATHER * 0.2)
    assert len(wire.messages) == 1
    assert wire.told == [0, 1, 2]


async def test_a_batch_is_a_task_on_the_topic_of_events(clock: ManualClock) -> None:
    """Anybody may bind to it."""
    (message,) = announcer_to(Wire(), clock).messages([EVENT])
    task = decode(message.headers, message.body)
    assert (message.topic, message.group, message.copy) == (EVENTS, None, 0)
    assert (task.topic, task.source, task.content_type) == (EVENTS, "/test", CONTENT_TYPE)


async def test_events_told_after_a_batch_leave_in_the_next_one(clock: ManualClock) -> None:
    """Also those told while the first one is on its way."""
    wire = Wire()
    announcer = announcer_to(wire, clock)
    first, second, third = numbered(3)
    announcer.tell(first)
    wire.gate.clear()
    await clock.advance(GATHER)
    announcer.tell(second)
    wire.gate.set()
    await clock.advance(GATHER)
    await clock.advance(GATHER)
    announcer.tell(third)
    await clock.advance(GATHER)
    assert [len(decode_events(m.body)) for m in wire.messages] == [1, 1, 1]
    assert wire.told == [0, 1, 2]


async def test_what_was_taken_leaves_with_another_message_only(clock: ManualClock) -> None:
    wire = Wire()
    announcer = announcer_to(wire, clock)
    announcer.tell(EVENT)
    assert announcer.take() == [EVENT]
    assert announcer.take() == []
    await clock.advance(1.0)
    assert wire.calls == 0


async def test_a_broker_that_is_away_costs_events_and_nothing_else(clock: ManualClock) -> None:
    """They are counted; later ones get out."""
    wire = Wire()
    announcer = announcer_to(wire, clock)
    wire.away = True
    for event in numbered(3):
        announcer.tell(event)
    await clock.advance(1.0)
    assert announcer.untold == 3
    wire.away = False
    announcer.tell(replace(EVENT, number=9))
    await clock.advance(1.0)
    assert wire.told == [9]


async def test_closing_sends_what_is_gathered_without_waiting(clock: ManualClock) -> None:
    wire = Wire()
    announcer = announcer_to(wire, clock)
    announcer.tell(EVENT)
    await clock.advance(0)
    await asyncio.wait_for(announcer.close(), 5.0)
    assert wire.told == [0]
    await announcer.close()


async def test_closing_while_a_batch_is_on_its_way_loses_none(clock: ManualClock) -> None:
    wire = Wire()
    announcer = announcer_to(wire, clock)
    first, second = numbered(2)
    announcer.tell(first)
    wire.gate.clear()
    await clock.advance(GATHER)
    assert wire.calls == 1
    announcer.tell(second)
    closing = asyncio.create_task(announcer.close())
    await clock.advance(0)
    wire.gate.set()
    await asyncio.wait_for(closing, 5.0)
    assert sorted(wire.told) == [0, 1]


@pytest.mark.parametrize("count", [1, MOST, MOST + 1, 5 * MOST])
async def test_many_events_are_few_messages_and_none_is_lost(
    clock: ManualClock, count: int
) -> None:
    messages = announcer_to(Wire(), clock).messages(numbered(count))
    told = [event for message in messages for event in decode_events(message.body)]
    assert told == numbered(count)
    assert len(messages) <= 2 * (count // MOST + 1)


async def test_large_events_do_not_make_a_message_that_is_too_large(clock: ManualClock) -> None:
    """One over the limit would be refused, and the settle it rides on with it."""
    events = numbered(MOST, data={"text": "x" * 4000})
    messages = announcer_to(Wire(), clock).messages(events)
    assert len(messages) > 1
    assert all(len(message.body) <= LARGEST < MAX_BODY for message in messages)
    assert sum(len(decode_events(message.body)) for message in messages) == MOST


async def test_no_events_are_no_message(clock: ManualClock) -> None:
    assert announcer_to(Wire(), clock).messages([]) == []


async def test_too_much_unread_leaves_progress_and_starts_untold_but_no_end(
    clock: ManualClock,
) -> None:
    wire = Wire()
    announcer = announcer_to(wire, clock, waiting=1 << 40)
    announcer.tell(EVENT)
    await clock.advance(1.0)
    sent = len(wire.messages)
    announcer.tell(replace(EVENT, kind=Kind.PROGRESS))
    announcer.tell_start(delivery(), lambda: replace(EVENT, kind=Kind.STARTED))
    announcer.tell(replace(EVENT, kind=Kind.RETRIED))
    await clock.advance(1.0)
    await announcer.close()
    told = [event for m in wire.messages[sent:] for event in decode_events(m.body)]
    assert [event.kind for event in told] == [Kind.RETRIED]


async def test_a_mark_is_an_empty_batch_with_a_name(clock: ManualClock) -> None:
    wire = Wire()
    await announcer_to(wire, clock).mark("recorder/7")
    (message,) = wire.messages
    assert (message.topic, decode_events(message.body)) == ("muster.events", [])
    assert decode(message.headers, message.body).extra[MARK] == "recorder/7"
