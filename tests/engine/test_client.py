"""Publishing tasks, waiting for them, and what is refused before anything is sent."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from bus.backends.memory import MemoryBackend
from bus.errors import Closed, Unroutable
from contracts.envelope import Envelope, Priority, decode
from contracts.errors import InvalidTopic, InvalidValue, MusterError
from contracts.ids import key_id
from contracts.outcomes import Reject
from tests.engine.fleets import ManualFleet, made
from workers.fleet.client import FleetClient
from workers.fleet.options import Options
from workers.sdk.context import Context
from workers.sdk.errors import InvalidPayload, NoResult, TaskFailed


class Ticket(BaseModel):
    text: str


async def published(fleet: ManualFleet, payload: Any = None, **options: Any) -> Envelope:
    """What is on the bus after publishing this."""
    await fleet.bus.bind("worker", ["work.#"])
    task = await fleet.client.publish("work.a", payload, **options)
    (found,) = await fleet.deliveries()
    envelope = decode(found.message.headers, found.message.body)
    assert envelope.id == task.id
    return envelope


async def test_a_task_travels_with_everything_its_publisher_said(fleet: ManualFleet) -> None:
    now = fleet.clock.wall()
    found = await published(
        fleet,
        Ticket(text="ä"),
        priority="high",
        deadline=60.0,
        budget=5,
        tenant="acme",
        subjects=("customer:7",),
        correlation="root",
    )
    assert (found.body, found.priority) == ('{"text":"ä"}'.encode(), Priority.HIGH)
    assert (found.deadline, found.budget, found.tenant) == (now + 60.0, 5, "acme")
    assert (found.subjects, found.correlation, found.time) == (("customer:7",), "root", now)


async def test_without_reply_nobody_keeps_the_result(fleet: ManualFleet) -> None:
    await fleet.bus.bind("worker", ["work.#"])
    task = await fleet.client.publish("work.a", 1, reply=False)
    (found,) = await fleet.deliveries()
    assert decode(found.message.headers, b"").reply is None
    with pytest.raises(InvalidValue, match="nobody keeps the result"):
        await task.outcome()


async def test_priorities_start_high_before_normal_before_low(fleet: ManualFleet) -> None:
    order: list[str] = []

    async def handler(payload: str, ctx: Context) -> None:
        order.append(payload)

    await fleet.bus.bind("worker", ["work.#"])
    for priority in ("low", "normal", "high"):
        for number in range(3):
            payload = f"{priority}-{number}"
            await fleet.client.publish("work.a", payload, priority=priority)
    await fleet.start(made(handler, concurrency=1))
    await fleet.until(lambda: len(order) == 9)
    assert order == [f"{p}-{n}" for p in ("high", "normal", "low") for n in range(3)]


async def test_a_delay_puts_off_the_start(fleet: ManualFleet) -> None:
    times: list[float] = []

    async def handler(payload: Any, ctx: Context) -> None:
        times.append(fleet.clock.wall())

    await fleet.start(made(handler))
    begun = fleet.clock.wall()
    await fleet.client.publish("work.a", None, delay=30.0)
    await fleet.client.publish("work.a", None, at=begun + 60.0)
    await fleet.until(lambda: len(times) == 2)
    assert 30.0 <= times[0] - begun <= 31.0
    assert 60.0 <= times[1] - begun <= 61.0


async def test_a_key_names_one_task(fleet: ManualFleet) -> None:
    """Published again within two minutes it adds nothing, and its result is the same."""
    runs = 0

    async def handler(payload: Any, ctx: Context) -> int:
        nonlocal runs
        runs += 1
        return runs

    await fleet.start(made(handler))
    first = await fleet.client.publish("work.a", None, key="order-7")
    assert first.id == key_id("default", "work.a", "order-7")
    assert await fleet.within(first.result()) == 1
    again = await fleet.client.publish("work.a", None, key="order-7")
    assert await fleet.within(again.result()) == 1
    assert (again.id, runs) == (first.id, 1)


def another(fleet: ManualFleet) -> FleetClient:
    """A client of another process."""
    return FleetClient(fleet.bus_on(MemoryBackend(fleet.broker)), fleet.clock)


@pytest.mark.promise(4)
async def test_a_key_names_one_task_for_as_long_as_it_holds(fleet: ManualFleet) -> None:
    """Whoever publishes it: each gets the first task, and its outcome."""
    runs: list[int] = []

    async def handler(payload: int, ctx: Context) -> int:
        runs.append(payload)
        return payload

    await fleet.start(made(handler))
    other = another(fleet)
    first = await fleet.client.publish("work.a", 1, key="order-7", key_for=3600.0)
    await fleet.clock.advance(600.0)
    again = await fleet.within(other.publish("work.a", 2, key="order-7", key_for=3600.0))
    assert (first.repeated, again.repeated) == (False, True)
    assert [await fleet.within(task.result()) for task in (first, again)] == [1, 1]
    await fleet.clock.advance(3100.0)
    late = await fleet.within(other.publish("work.a", 3, key="order-7"))
    await fleet.until(lambda: runs == [1, 3])
    assert (late.id, late.repeated) == (first.id, False)
    await other.close()


async def test_two_that_publish_one_key_at_once_both_get_its_outcome(fleet: ManualFleet) -> None:
    """The broker takes one of them: both wait where its outcome will be."""
    runs = 0

    async def handler(payload: Any, ctx: Context) -> int:
        nonlocal runs
        runs += 1
        return runs

    await fleet.start(made(handler))
    other = another(fleet)
    both = await asyncio.gather(
        *(c.publish("work.a", None, key="k") for c in (fleet.client, other))
    )
    assert [await fleet.within(task.result()) for task in both] == [1, 1]
    await other.close()


async def test_one_key_for_several_tasks_of_a_topic_is_refused(fleet: ManualFleet) -> None:
    """All but the first would be lost without a word."""
    await fleet.bus.bind("worker", ["work.#"])
    with pytest.raises(InvalidValue, match="cannot have the key 'k'"):
        await fleet.client.publish_many([("work.a", 1), ("work.a", 2)], Options(key="k"))
    assert await fleet.deliveries() == []
    await fleet.client.publish_many([("work.a", 1), ("work.b", 2)], Options(key="k"))
    assert len(await fleet.deliveries()) == 2


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"priority": "hihg"}, "did you mean high"),
        ({"delay": -1.0}, "no time to wait for"),
        ({"delay": float("nan")}, "no time to wait for"),
        ({"delay": float("inf")}, "no time to wait for"),
        ({"at": float("inf")}, "no time to wait for"),
        ({"at": float("nan")}, "no time to wait for"),
        ({"deadline": 0.0}, "no time in the future"),
        ({"deadline": -5.0}, "no time in the future"),
        ({"deadline": float("nan")}, "no time in the future"),
        ({"deadline": float("inf")}, "no time in the future"),
        ({"tenant": ""}, "is not a tenant"),
        ({"tenant": "a\nb"}, "is not a tenant"),
        ({"subjects": ("a", "")}, "is not a subject"),
        ({"correlation": "a\tb"}, "is not a correlation"),
        ({"budget": -1}, "cannot be spent"),
        ({"budget": 10**18}, "cannot be spent"),
    ],
)
async def test_what_no_worker_could_read_is_refused_by_the_publisher(
    fleet: ManualFleet, options: dict[str, Any], error: str
) -> None:
    """It would be a dead letter otherwise."""
    await fleet.bus.bind("worker", ["work.#"])
    with pytest.raises(InvalidValue) as caught:
        await fleet.client.publish("work.a", None, **options)
    assert error in " ".join(caught.value.lines())
    assert await fleet.deliveries() == []


@pytest.mark.parametrize("topic", ["", "a b", "work.*", "muster.events"])
async def test_a_topic_that_is_none_is_refused(fleet: ManualFleet, topic: str) -> None:
    with pytest.raises(InvalidTopic):
        await fleet.client.publish(topic, None)


@pytest.mark.parametrize("payload", [object(), {"a": {1: object()}}, "\udcff"])
async def test_a_payload_that_is_no_json_is_refused(fleet: ManualFleet, payload: object) -> None:
    with pytest.raises(InvalidPayload, match="not JSON"):
        await fleet.client.publish("work.a", payload)


async def test_a_topic_nobody_listens_to_is_refused_with_those_like_it(
    fleet: ManualFleet,
) -> None:
    await fleet.bus.bind("worker", ["work.a"])
    with pytest.raises(Unroutable) as caught:
        await fleet.client.publish("work.b", None)
    assert "work.a" in caught.value.details


async def test_a_result_that_does_not_come_in_time_can_be_asked_for_again(
    fleet: ManualFleet,
) -> None:
    go_on = asyncio.Event()

    async def handler(payload: Any, ctx: Context) -> str:
        await go_on.wait()
        return "late"

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    with pytest.raises(NoResult, match=r"not ended within 0\.02 s") as caught:
        await fleet.within(task.result(0.02))
    assert caught.value.retryable
    assert isinstance(caught.value, TimeoutError)
    go_on.set()
    assert await fleet.within(task.result(30.0)) == "late"
    assert await fleet.within(task.result(30.0)) == "late"


async def test_a_failed_task_is_an_error_that_says_how_it_ended(fleet: ManualFleet) -> None:
    async def handler(payload: Any, ctx: Context) -> Any:
        return Reject("no")

    await fleet.start(made(handler))
    task = await fleet.client.publish("work.a", None)
    with pytest.raises(TaskFailed) as caught:
        await fleet.within(task.result())
    assert f"muster dlq show {task.id}" in caught.value.lines()[2]


async def test_many_tasks_at_once_each_get_their_own_result(fleet: ManualFleet) -> None:
    async def handler(payload: int, ctx: Context) -> int:
        return payload * payload

    await fleet.start(made(handler, concurrency=20))
    tasks = await fleet.client.publish_many([("work.a", n) for n in range(300)])

    async def results() -> list[Any]:
        return await asyncio.gather(*(task.result() for task in tasks))

    assert await fleet.within(results()) == [n * n for n in range(300)]


async def test_closing_tells_whoever_waits(fleet: ManualFleet) -> None:
    await fleet.bus.bind("worker", ["work.#"])
    task = await fleet.client.publish("work.a", None)
    waiting = asyncio.create_task(task.result())
    await fleet.clock.advance(0.1)
    await fleet.client.close()
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(MusterError):
        await fleet.client.publish("work.a", None)
