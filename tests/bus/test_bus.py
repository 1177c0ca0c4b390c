"""The rooms together: publish, pull, settle, give back."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bus.backend import MAX_BODY, MAX_HEADERS, Delivery, Message
from bus.bus import Bus
from bus.errors import Closed, Full, NotDead, TooLarge, Unreachable, Unroutable
from bus.patience import PATIENCE
from contracts.clock import ManualClock
from contracts.envelope import Priority, decode
from contracts.events import TOLD_BY_PUBLISHERS, Event, Kind, decode_events
from contracts.ids import new_id
from contracts.outcomes import Done, Reason, Reject, Retry, Snooze
from contracts.topics import EVENTS
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import bus_of, envelope, finished, memory_bus, result
from tests.bus.test_announcing import EVENT


async def pulled(world: World, bus: Bus, count: int = 1, *, group: str = "g") -> list[Delivery]:
    """So many deliveries; the test fails if they do not come in time."""

    async def gather() -> list[Delivery]:
        found: list[Delivery] = []
        while len(found) < count:
            found += await bus.pull(group, free=count - len(found), wait=SOON)
        return found

    return await world.within(SOON, gather())


async def none_left(world: World, bus: Bus) -> None:
    """The test fails if something can be had now."""
    assert await world.within(SOON, bus.pull("g", free=10, wait=0.3)) == []


def ran(delivery: Delivery, outcome: object) -> object:
    """The end of a run of this delivery."""
    task = decode(delivery.message.headers, delivery.message.body)
    return finished(outcome, task=task, of=delivery)  # type: ignore[arg-type]


async def settled(world: World, bus: Bus, delivery: Delivery, outcome: object) -> object:
    """What the settle of this run came to."""
    return await world.within(SOON, bus.settle(ran(delivery, outcome)))  # type: ignore[arg-type]


async def test_tasks_are_pulled_high_before_normal_before_low(world: World) -> None:
    bus = await bus_of(world)
    for priority in (Priority.LOW, Priority.NORMAL, Priority.HIGH):
        await bus.publish([envelope(priority.value, priority=priority)])
    order = [(await pulled(world, bus))[0].message.id for _ in range(3)]
    assert order == ["high", "normal", "low"]


async def test_read_ahead_are_only_first_copies(world: World) -> None:
    """What comes back, such as a suspect, is pulled for a free place only."""
    bus = await bus_of(world)
    await bus.publish([envelope("again", copy=1)], group="g")
    await bus.publish([envelope("first")])
    (ahead,) = await world.within(SOON, bus.pull("g", free=0, ahead=5, wait=SOON))
    assert ahead.message.id == "first"
    (free,) = await pulled(world, bus)
    assert free.message.id == "again"


async def test_a_task_for_later_comes_later(world: World) -> None:
    bus = await bus_of(world)
    await bus.publish([envelope()], due=world.clock.wall() + 0.8)
    await none_left(world, bus)
    assert (await pulled(world, bus))[0].message.id == "t1"


async def test_a_time_that_has_passed_is_now(world: World) -> None:
    bus = await bus_of(world)
    await bus.publish([envelope()], due=world.clock.wall() - 60.0)
    assert (await pulled(world, bus))[0].message.id == "t1"


@pytest.mark.promise(3, 4)
async def test_a_task_for_later_that_is_published_again_when_its_time_has_come_is_the_same(
    world: World,
) -> None:
    bus = await bus_of(world)
    due = world.clock.wall() + 0.3
    await bus.publish([envelope()], due=due)
    assert await settled(world, bus, (await pulled(world, bus))[0], Done()) is not None
    await bus.publish([envelope()], due=due)
    await none_left(world, bus)


async def test_a_topic_nobody_listens_to_fails_its_own_publish_only(world: World) -> None:
    bus = await bus_of(world)
    good = [bus.publish([envelope(f"t{n}")]) for n in range(5)]
    bad = bus.publish([envelope("x", topic="nobody.listens")])
    ends = await world.within(SOON, together(bad, *good))
    assert isinstance(ends[0], Unroutable)
    assert ends[1:] == [frozenset()] * 5
    assert len(await pulled(world, bus, 5)) == 5


async def together(*calls: object) -> list[object]:
    """What the calls, made at once, come to; errors too."""
    return list(await asyncio.gather(*calls, return_exceptions=True))  # type: ignore[call-overload]


async def test_what_is_too_large_is_refused_before_anything_is_sent(world: World) -> None:
    bus = await bus_of(world)
    body = envelope(body=b"x" * (MAX_BODY + 1))
    headers = envelope(subjects=tuple("x" * 90 + str(n) for n in range(MAX_HEADERS // 90)))
    for task in (body, headers):
        with pytest.raises(TooLarge):
            await bus.publish([envelope("fine"), task])
    await none_left(world, bus)


async def test_the_largest_task_can_be_given_back_retried_and_replayed(world: World) -> None:
    """Its headers leave room for what later copies add."""
    bus = await bus_of(world)
    task = envelope(body=b"x" * MAX_BODY, reply="caller", subjects=("s" * 400,) * 38)
    while True:
        larger = replace(task, subjects=(*task.subjects, "s" * 50))
        try:
            await bus.publish([replace(larger, id=new_id(0.0))])
        except TooLarge:
            break
        (found,) = await pulled(world, bus)
        await settled(world, bus, found, Done())
        task = larger
    await bus.publish([task])
    (first,) = await pulled(world, bus)
    assert await world.within(SOON, bus.hand_back(first, decode(first.message.headers, b"")))
    (second,) = await pulled(world, bus)
    assert await settled(world, bus, second, Retry(after=0.0)) is not None
    (third,) = await pulled(world, bus)
    assert await settled(world, bus, third, Reject("no")) is not None
    await world.within(SOON, bus.dead.replay("g", "t1", now=0.0))
    assert (await pulled(world, bus))[0].message.copy == 3


async def test_a_next_copy_that_cannot_be_sent_is_a_dead_letter() -> None:
    """From a foreign publisher: without room for more headers it would come back for ever."""
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    task = envelope(extra={"x-a": "x" * (MAX_HEADERS - 150)})
    await backend.publish([Message("t1", 0, "work.a", b"{}", {**_headers(task)})])
    (found,) = await bus.pull("g", free=1)
    assert await bus.settle(ran(found, Retry(after=0.0))) is not None  # type: ignore[arg-type]
    letter = await bus.dead.get("g", "t1")
    assert (letter.reason, letter.headers["x-a"]) == (Reason.REJECTED, task.extra["x-a"])
    assert "next copy cannot be sent" in letter.error
    assert await bus.pull("g", free=1, wait=0.0) == []


def _headers(task: object) -> dict[str, str]:
    from contracts.envelope import Envelope, encode

    assert isinstance(task, Envelope)
    return encode(task)


@pytest.mark.parametrize("error", [Full("full"), Unreachable("away")])
async def test_publishing_waits_out_a_broker_that_is_full_or_away(error: Exception) -> None:
    """With the same keys, as often as needed."""
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    backend.failures += [error] * 8
    publish = asyncio.create_task(bus.publish([envelope()]))
    await clock.advance(PATIENCE - 1.0)
    await asyncio.wait_for(publish, 5.0)
    assert [message.id for message in backend.published] == ["t1"]


@pytest.mark.parametrize("error", [Full("full"), Unreachable("away")])
async def test_publishing_gives_up_after_thirty_seconds_with_an_error_worth_repeating(
    error: Unreachable,
) -> None:
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    backend.failures += [error] * 10_000
    publish = asyncio.create_task(bus.publish([envelope()]))
    await clock.advance(PATIENCE - 2.0)
    assert not publish.done()
    await clock.advance(2.0)
    with pytest.raises(type(error)) as caught:
        await asyncio.wait_for(publish, 5.0)
    assert caught.value.retryable


async def test_other_errors_are_not_waited_out() -> None:
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    backend.failures.append(Closed("closed"))
    with pytest.raises(Closed):
        await bus.publish([envelope()])


async def test_a_retry_is_the_next_copy_and_the_input_is_forgotten(world: World) -> None:
    bus = await bus_of(world)
    await bus.publish([envelope()])
    (first,) = await pulled(world, bus)
    assert await settled(world, bus, first, Retry(after=0.0)) is not None
    (second,) = await pulled(world, bus)
    task = decode(second.message.headers, second.message.body)
    assert (second.message.copy, task.copy, task.attempt) == (1, 1, 1)
    assert await settled(world, bus, second, Done()) is not None
    await none_left(world, bus)


async def test_an_end_somebody_asked_for_is_there_when_the_settle_returns(world: World) -> None:
    bus = await bus_of(world)
    await bus.publish([envelope("good", reply="me"), envelope("bad", reply="me")])
    found = {d.message.id: d for d in await pulled(world, bus, 2)}
    await settled(world, bus, found["good"], Done(b'{"x":1}'))
    await settled(world, bus, found["bad"], Reject("no", error="because"))
    good, bad = await bus.outcomes.get("me", "good"), await bus.outcomes.get("me", "bad")
    assert good is not None
    assert bad is not None
    assert (good.value, bad.reason, bad.error) == ({"x": 1}, Reason.REJECTED, "no\nbecause")
    assert (await bus.dead.get("g", "bad")).error == "no\nbecause"


@pytest.mark.promise(15)
async def test_a_settle_of_what_was_lost_sends_nothing(world: World) -> None:
    """15: the next copy of a stale receipt is never published, whatever the outcome."""
    bus = await bus_of(world)
    outcomes = [Retry(after=0.0), Snooze(0.0), Done()]
    tasks = [envelope(f"t{n}") for n in range(len(outcomes))]
    await bus.publish(tasks)
    stale = await pulled(world, bus, 3)
    other = await bus_of(world)
    await world.pass_time(world.lease + 0.2)
    fresh = await pulled(world, other, 3)
    ends = await world.within(
        SOON,
        together(*(bus.settle(ran(d, o)) for d, o in zip(stale, outcomes, strict=True))),  # type: ignore[arg-type]
    )
    assert ends == [None, None, None]
    assert not await world.within(SOON, bus.hand_back(stale[0], tasks[0]))
    await none_left(world, other)
    for delivery in fresh:
        assert await settled(world, other, delivery, Done()) is not None
    await none_left(world, other)


@pytest.mark.promise(15)
async def test_a_stale_holder_leaves_no_dead_letter_of_a_task_that_goes_on(world: World) -> None:
    """One that stood still for longer than its lease rejects what another has taken over."""
    bus, other = await bus_of(world), await bus_of(world)
    await bus.publish([envelope()])
    (stale,) = await pulled(world, bus)
    await world.pass_time(world.lease + 0.1)
    (new,) = await pulled(world, other)
    assert await settled(world, bus, stale, Reject("no")) is None
    assert await settled(world, other, new, Done()) is not None
    assert [letter.id async for letter in bus.dead.all()] == []


@pytest.mark.promise(15)
async def test_an_outage_longer_than_the_lease_leaves_no_dead_letter_of_a_task_that_goes_on() -> (
    None
):
    clock = ManualClock()
    bus, _, broker = memory_bus(clock, lease=2.0)
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope()])
    (delivery,) = await bus.pull("g", free=1)
    broker.outage()
    rejecting = asyncio.create_task(bus.settle(ran(delivery, Reject("no"))))  # type: ignore[arg-type]
    await clock.advance(3.0)
    broker.restore()
    await clock.advance(2.0)
    assert await rejecting is None
    assert [letter.id async for letter in bus.dead.all()] == []
    assert [d.message.id for d in await bus.pull("g", free=1)] == ["t1"]


@pytest.mark.promise(24)
async def test_many_settles_at_once_are_one_call_and_one_message_of_events() -> None:
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    await bus.publish([envelope(f"t{n}") for n in range(50)])
    found = await bus.pull("g", free=50)
    for _ in range(2):
        bus.tell(EVENT)
    ends = await asyncio.gather(*(bus.settle(ran(d, Done())) for d in found))  # type: ignore[arg-type]
    assert None not in ends
    assert len(backend.settled) <= 3
    assert sum(len(inputs) for inputs, _ in backend.settled) == 50
    kinds = [event.kind for event in await heard(bus)]
    assert kinds.count(Kind.SUCCEEDED) == 50
    assert kinds.count(Kind.PROGRESS) == 2


async def heard(bus: Bus) -> list[Event]:
    """All events that lie in the group `ear` now, but for what publishers tell."""
    events: list[Event] = []
    while found := await bus.pull("ear", free=100, wait=0.0):
        for delivery in found:
            events += decode_events(delivery.message.body)
            await bus.forget(delivery)
    return [event for event in events if event.kind not in TOLD_BY_PUBLISHERS]


async def test_one_settle_that_fails_leaves_those_beside_it_alone() -> None:
    """They are settled once, and nobody is told that they were lost."""
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope(f"t{n}") for n in range(6)])
    found = await bus.pull("g", free=6)
    cut: list[str] = ["t3"]

    async def settle(deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()) -> object:
        if cut and any(d.message.id == cut[0] for d in deliveries):
            cut.clear()
            raise Unreachable("cut")
        return await backend._backend.settle(deliveries, then=then)

    backend.settle = settle  # type: ignore[method-assign, assignment]
    settles = [asyncio.create_task(bus.settle(ran(d, Retry(after=0.0)))) for d in found]  # type: ignore[arg-type]
    await clock.advance(5.0)
    ends = [await asyncio.wait_for(task, 5.0) for task in settles]
    assert None not in ends
    again = await bus.pull("g", free=20, wait=0.0)
    assert sorted(d.message.id for d in again) == [f"t{n}" for n in range(6)]


async def test_events_gathered_beside_a_settle_that_was_lost_are_told_all_the_same() -> None:
    clock = ManualClock()
    bus, _, _ = memory_bus(clock, lease=2.0)
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    await bus.publish([envelope()])
    (found,) = await bus.pull("g", free=1)
    await clock.advance(3.0)
    bus.tell(EVENT)
    assert await bus.settle(ran(found, Done())) is None  # type: ignore[arg-type]
    await clock.advance(1.0)
    assert [event.kind for event in await heard(bus)] == [Kind.PROGRESS]


@pytest.mark.parametrize(
    ("seconds", "kinds"),
    [(0.01, [Kind.SUCCEEDED]), (0.5, [Kind.STARTED, Kind.SUCCEEDED])],
    ids=["at once", "later"],
)
async def test_a_run_that_ends_at_once_is_told_by_its_end_only(
    seconds: float, kinds: list[Kind]
) -> None:
    """The end tells how long it took, so nothing is missing."""
    clock = ManualClock()
    bus, _, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    await bus.publish([envelope()])
    (found,) = await bus.pull("g", free=1)
    bus.tell_start(found, lambda: replace(EVENT, kind=Kind.STARTED))
    await clock.advance(seconds)
    assert await bus.settle(ran(found, Done())) is not None  # type: ignore[arg-type]
    await clock.advance(1.0)
    assert [event.kind for event in await heard(bus)] == kinds


async def test_the_start_of_a_run_whose_end_is_not_accepted_is_told() -> None:
    clock = ManualClock()
    bus, _, _ = memory_bus(clock, lease=2.0)
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    await bus.publish([envelope()])
    (found,) = await bus.pull("g", free=1)
    bus.tell_start(found, lambda: replace(EVENT, kind=Kind.STARTED))
    found.receipt.until = -1.0  # type: ignore[attr-defined]  # the broker has given it to another
    assert await bus.settle(ran(found, Done())) is None  # type: ignore[arg-type]
    await clock.advance(1.0)
    assert [event.kind for event in await heard(bus)] == [Kind.STARTED]


async def test_a_settle_waits_for_a_broker_that_is_away() -> None:
    clock = ManualClock()
    bus, _, broker = memory_bus(clock, lease=20.0)
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope(reply="me")])
    (found,) = await bus.pull("g", free=1)
    broker.outage()
    settle = asyncio.create_task(bus.settle(ran(found, Reject("no"))))  # type: ignore[arg-type]
    await clock.advance(10.0)
    assert not settle.done()
    broker.restore()
    await clock.advance(2.0)
    assert (await asyncio.wait_for(settle, 5.0)) is not None
    assert (await bus.dead.get("g", "t1")).error == "no"


@pytest.mark.promise(11)
async def test_thirty_hand_backs_use_no_attempt(world: World) -> None:
    """11: available at once, each time; the copy rises."""
    bus = await bus_of(world)
    await bus.publish([envelope()])
    for copy in range(30):
        (delivery,) = await pulled(world, bus)
        task = decode(delivery.message.headers, delivery.message.body)
        assert (task.copy, task.attempt) == (copy, 0)
        assert await world.within(SOON, bus.hand_back(delivery, task))
    assert len(await pulled(world, bus)) == 1


async def test_an_outcome_that_is_there_is_known_to_a_later_run_only(world: World) -> None:
    """A first run does not ask the store."""
    bus = await bus_of(world)
    await bus.publish([envelope(reply="me"), envelope("t2", copy=1, reply="me")], group="g")
    found = {d.message.id: d for d in await pulled(world, bus, 2)}
    for id_ in ("t1", "t2"):
        await bus.outcomes.put("me", result(id_, fence=0))
    first, later = envelope(reply="me"), envelope("t2", copy=1, reply="me")
    assert await bus.known(found["t1"], first) is None
    assert await bus.known(found["t2"], later) == result("t2", fence=0)
    assert await bus.known(found["t2"], replace(later, reply=None)) is None


@pytest.mark.promise(5)
async def test_the_outcome_of_another_group_is_not_taken_for_ones_own(world: World) -> None:
    """5: every group does the task; what one has done says nothing about another."""
    bus = await bus_of(world)
    await bus.publish([envelope(copy=1, reply="me")], group="g")
    (found,) = await pulled(world, bus)
    await bus.outcomes.put("me", result(role="other"))
    assert await bus.known(found, envelope(copy=1, reply="me")) is None


async def test_purged_means_gone(world: World) -> None:
    bus = await bus_of(world)
    await bus.publish([envelope()])
    (found,) = await pulled(world, bus)
    await settled(world, bus, found, Reject("no"))
    await bus.dead.purge("g", "t1")
    with pytest.raises(NotDead):
        await bus.dead.get("g", "t1")
    await none_left(world, bus)


async def test_closing_finishes_what_was_asked_and_tells_what_was_gathered() -> None:
    clock = ManualClock()
    bus, backend, broker = memory_bus(clock)
    listener, _, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    publish = asyncio.create_task(bus.publish([envelope()]))
    await asyncio.sleep(0)
    bus.tell(EVENT)
    await asyncio.wait_for(bus.close(), 5.0)
    await asyncio.wait_for(publish, 5.0)
    assert [message.id for message in backend.published] == ["t1"]
    assert [[m.topic for m in then] for _, then in backend.settled] == [[EVENTS]]
    with pytest.raises(Closed):
        await bus.publish([envelope("late")])
    assert broker is not None
    await listener.close()


async def test_closing_lets_go_of_the_connection_the_parts_share() -> None:
    clock = ManualClock()
    inner, _, _ = memory_bus(clock)
    released: list[bool] = []

    async def release() -> None:
        released.append(True)

    bus = Bus(inner._backend, inner.store, clock=clock, release=release)
    await bus.close()
    assert released == [True]
