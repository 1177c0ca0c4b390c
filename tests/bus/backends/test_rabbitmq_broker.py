"""What is peculiar to RabbitMQ: its clocks, its alarms, messages of strangers, and refusals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import aiormq
import pytest

from bus.backend import NORMAL, RETRY, Delivery
from bus.backends.choice import open_parts
from bus.errors import AccessDenied, Conflict, DatabaseUnreachable, Full, Unreachable, Unsafe
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from contracts.errors import InvalidValue
from deploy import ports
from tests.bus.conformance.steps import ORDER, ids, task, tasks, total
from tests.forms import form
from tests.rabbitmq_server import RabbitServer

pytestmark = pytest.mark.rabbitmq

TERMS = Terms(url="", fleet="t", clock=SystemClock(), lease=2.0)


@asynccontextmanager
async def opened(server: RabbitServer, fleet: str = "t", **more: object) -> AsyncIterator[Parts]:
    """A connection to a fleet."""
    terms = replace(TERMS, url=server.url, database=server.database, fleet=fleet)
    parts = await open_parts(replace(terms, **more))  # type: ignore[arg-type]
    try:
        yield parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


async def pulled(parts: Parts, count: int = 1, *, wait: float = 5.0) -> list[Delivery]:
    """So many deliveries, or fewer when `wait` is over."""
    found: list[Delivery] = []
    while len(found) < count:
        more = await parts.backend.pull("g", ORDER, limit=count - len(found), wait=wait)
        if not more:
            return found
        found += more
    return found


async def kept(parts: Parts, held: list[Delivery], seconds: float) -> None:
    """Extend them for so long; the test fails when one is lost."""
    clock = SystemClock()
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        await clock.sleep(0.5)
        assert await parts.backend.extend(held) == []


@pytest.mark.slow
@pytest.mark.long(120)
@pytest.mark.promise(13)
async def test_a_task_may_run_longer_than_the_broker_lets_a_consumer_wait(
    own_rabbitmq: Callable[..., RabbitServer],
) -> None:
    """`consumer_timeout` closes the channel of who does not acknowledge in time: what is held for
    long is not at the broker any more. Three times over, and nobody else is handed it."""
    timeout, seconds = form((3.0, 10.0), (10.0, 32.0))
    server = own_rabbitmq(consumer_timeout=timeout)
    async with opened(server) as parts, opened(server) as other:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(5))
        held = await pulled(parts, 5)
        rival = asyncio.create_task(other.backend.pull("g", ORDER, limit=5, wait=60.0))
        await kept(parts, held, seconds)
        assert not rival.done()
        assert await parts.backend.settle(held) == []
        await parts.backend.publish([task("next")])
        assert ids(await rival) == ["next"]


async def ready(server: RabbitServer, queue: str, count: int) -> None:
    """Return when so many lie in a queue that nobody was sent."""
    link = await aiormq.connect(server.url)
    channel = await link.channel()
    while (await channel.queue_declare(queue, passive=True)).message_count != count:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await link.close()


async def test_what_is_given_back_comes_before_what_waits(rabbitmq_server: RabbitServer) -> None:
    """Who stops pulling gives back what was sent to it beforehand: the oldest that waits."""
    made = partial(opened, rabbitmq_server, "back", lease=10.0)
    async with made() as parts, made() as other:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(200))
        held = await pulled(parts, 10)
        async with asyncio.timeout(20.0):
            await ready(rabbitmq_server, "muster.back.g.normal", 190)
        assert ids(await pulled(other, 40)) == [f"t{n}" for n in range(10, 50)]
        assert await parts.backend.settle(held) == []


async def refusal(parts: Parts) -> Full:
    """What publishing ends with, sooner or later."""
    while True:
        try:
            await parts.backend.publish([task("late")])
        except Full as error:
            return error


async def accepted(parts: Parts) -> bool:
    """Whether it takes a message."""
    try:
        await parts.backend.publish([task("fresh")])
    except (Full, Unreachable):
        return False
    return True


@pytest.mark.slow
async def test_a_broker_with_an_alarm_refuses_new_work_and_lets_the_old_end(
    own_rabbitmq: Callable[..., RabbitServer],
) -> None:
    """What waits is pulled, extended, settled and handed back; then publishing works again."""
    server = own_rabbitmq()
    async with opened(server, patience=2.0) as parts:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(4))
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.00001")
        refused = await refusal(parts)
        assert "alarm" in refused.message
        assert refused.retryable
        held = await pulled(parts, 4)
        assert await parts.backend.extend(held) == []
        again = replace(task("t0", copy=1, group="g"), lane=RETRY)
        assert await parts.backend.settle(held, then=[again]) == []
        assert "alarm" in [d.name for d in (await parts.examine()).dangers or ()]
        await asyncio.to_thread(server.control, "set_vm_memory_high_watermark", "0.5")
        async with asyncio.timeout(20.0):
            while not await accepted(parts):
                await TERMS.clock.sleep(0.2)
        found: list[str] = []
        async with asyncio.timeout(20.0):
            while "fresh" not in found:
                found += ids(await pulled(parts, wait=1.0))


async def test_what_a_stranger_publishes_is_handed_out(rabbitmq_server: RabbitServer) -> None:
    """To the exchange, with the routing key LANE.SLICE.TOPIC; each time he does, and he need not
    say who he is. His headers and his message id come along."""
    async with opened(rabbitmq_server, "stranger") as parts:
        await parts.backend.bind("g", ["work.#"])
        link = await aiormq.connect(rabbitmq_server.url)
        channel = await link.channel()
        for key, id_ in (("normal.0.work.a", "x1"), ("high.3.work.b", "x1")):
            properties = aiormq.spec.Basic.Properties(
                message_id=id_, headers={"ce-id": "1", "n": 2}
            )
            await channel.basic_publish(
                b"{}", exchange="muster.stranger", routing_key=key, properties=properties
            )
        await link.close()
        found = sorted(await pulled(parts, 2), key=lambda d: d.message.topic)
        assert [(d.message.topic, d.message.id) for d in found] == [
            ("work.a", "x1"),
            ("work.b", "x1"),
        ]
        assert [d.message.lane.name for d in found] == [NORMAL.name, "high"]
        assert dict(found[0].message.headers) == {"ce-id": "1", "n": "2"}
        assert await parts.backend.settle(found) == []
        assert await pulled(parts, 1, wait=0.3) == []


STRANGE = (
    {"message_id": "a\0b"},
    {"headers": {"muster.id": "a\0b", "muster.nonce": "7"}},
    {"headers": {"muster.id": "a", "muster.nonce": "\N{SUPERSCRIPT TWO}"}},
    {"headers": {"muster.id": "a", "muster.nonce": "7", "muster.sent": "nan"}},
)


@pytest.mark.parametrize("number", range(len(STRANGE)))
async def test_no_message_of_a_stranger_stops_a_group(
    rabbitmq_server: RabbitServer, number: int
) -> None:
    """An id or a header that the bus database has no type for: it runs, and what is behind it."""
    async with opened(rabbitmq_server, f"strange{number}") as parts:
        await parts.backend.bind("g", ["work.#"])
        link = await aiormq.connect(rabbitmq_server.url)
        channel = await link.channel()
        for given in (STRANGE[number], {"message_id": "behind"}):
            await channel.basic_publish(
                b"{}",
                exchange=f"muster.strange{number}",
                routing_key="normal.0.work.a",
                properties=aiormq.spec.Basic.Properties(**given),
            )
        await link.close()
        found = await pulled(parts, 2)
        assert [d.message.id for d in found][1:] == ["behind"]
        again = [replace(d.message, copy=1, group="g", lane=RETRY) for d in found]
        assert await parts.backend.settle(found, then=again) == []
        assert await parts.backend.settle(await pulled(parts, 2)) == []


async def test_lanes_that_are_cut_later_lose_nothing(rabbitmq_server: RabbitServer) -> None:
    """What lies in the queues of before is pulled by whoever pulls the first slice."""
    async with opened(rabbitmq_server, "cut") as whole:
        await whole.backend.bind("g", ["work.#"])
        await whole.backend.publish(tasks(6))
        async with opened(rabbitmq_server, "cut", slices=4) as cut:
            await cut.backend.bind("g", ["work.#"])
            sent = [replace(m, lane=replace(NORMAL, slice=n)) for n, m in enumerate(tasks(6, "u"))]
            await whole.backend.publish(sent)
            lanes = [replace(NORMAL, slice=number) for number in range(4)]
            found: list[Delivery] = []
            async with asyncio.timeout(10.0):
                while len(found) < 12:
                    found += await cut.backend.pull("g", lanes, limit=12, wait=1.0)
            assert ids(found) == ids_of("t") + ids_of("u")
            assert await cut.backend.settle(found) == []
            await cut.backend.publish(sent[:1])
            assert total(await whole.backend.lag("g"), "waiting") in {0, 1}
            assert await pulled(whole, 1, wait=0.3) == []


def ids_of(prefix: str) -> list[str]:
    """Of six tasks."""
    return [f"{prefix}{n}" for n in range(6)]


async def test_what_another_has_prefetched_is_counted(rabbitmq_server: RabbitServer) -> None:
    """It lies neither in the queue nor in anybody's hands: `lag` counts it, and a group of which
    only that is left is not unbound."""
    async with (
        opened(rabbitmq_server, "ahead") as parts,
        opened(rabbitmq_server, "ahead") as other,
    ):
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(3))
        held = await pulled(other)
        lag = await parts.backend.lag("g")
        assert (total(lag, "waiting"), total(lag, "leased")) == (2, 1)
        held += await pulled(other, 2)
        await parts.backend.publish(tasks(2, "u"))
        assert await other.backend.settle(held) == []
        (last,) = await pulled(other)
        assert await other.backend.settle([last]) == []
        with pytest.raises(Conflict, match="1 messages wait"):
            await parts.backend.unbind("g")
        assert await other.backend.settle(await pulled(other)) == []
        await parts.backend.unbind("g")


async def test_a_wrong_password_is_refused_at_once(rabbitmq_server: RabbitServer) -> None:
    """Of the broker, and nothing of it is repeated."""
    terms = replace(TERMS, database=rabbitmq_server.database)
    with pytest.raises(AccessDenied) as caught:
        async with asyncio.timeout(3.0):
            await open_parts(replace(terms, url=rabbitmq_server.address("wr0ng")))
    assert "wr0ng" not in " ".join(caught.value.lines())
    with pytest.raises(AccessDenied):
        async with asyncio.timeout(3.0):
            await open_parts(replace(terms, url=rabbitmq_server.url + "no-such-host"))


async def test_of_two_servers_the_one_that_is_away_is_named(rabbitmq_server: RabbitServer) -> None:
    """By its address, without its password."""
    nobody = ports.free()
    known = replace(TERMS, url=rabbitmq_server.url, database=rabbitmq_server.database)
    broker = f"amqp://ada:secret@127.0.0.1:{nobody}/"
    with pytest.raises(Unreachable, match=f"the RabbitMQ at 127.0.0.1:{nobody}") as caught:
        await open_parts(replace(known, url=broker))
    assert "secret" not in " ".join(caught.value.lines())
    database = f"postgresql://ada:secret@127.0.0.1:{nobody}/bus"
    with pytest.raises(
        DatabaseUnreachable, match=f"the PostgreSQL at 127.0.0.1:{nobody}/bus"
    ) as caught:
        await open_parts(replace(known, database=database))
    assert "secret" not in " ".join(caught.value.lines())


async def test_what_cannot_be_kept_is_refused(rabbitmq_server: RabbitServer) -> None:
    """A lease shorter than two heartbeats, and a fleet without a bus database."""
    known = replace(TERMS, url=rabbitmq_server.url, database=rabbitmq_server.database)
    with pytest.raises(InvalidValue, match="too short"):
        await open_parts(replace(known, lease=1.9))
    with pytest.raises(Unsafe) as caught:
        await open_parts(replace(known, database=None))
    assert "bus.database" in caught.value.actions[0]


async def test_it_says_what_it_is(rabbitmq_server: RabbitServer) -> None:
    """And how full the fleet's part of it is."""
    async with opened(rabbitmq_server, "examined", max_bytes=5_000_000) as parts:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish([replace(m, body=bytes(1000)) for m in tasks(10)])
        told = await parts.examine()
        assert (told.program, told.limit, told.dangers) == ("RabbitMQ", 5_000_000, [])
        assert told.version[0].isdigit()
        assert told.used is not None
        assert 9_000 <= told.used <= 12_000


@pytest.mark.slow
async def test_what_an_operator_made_that_breaks_a_promise_is_named(
    own_rabbitmq: Callable[..., RabbitServer],
) -> None:
    """A queue that is no quorum queue, and a policy by which messages are dropped."""
    server = own_rabbitmq(management=True)
    link = await aiormq.connect(server.url)
    channel = await link.channel()
    await channel.queue_declare("muster.t.g.high", durable=True)
    await link.close()
    url = f"{server.url}?management={server.management}"
    async with opened(server, url=url) as parts:
        await parts.backend.bind("g", ["work.#"])
        limit = ("set_policy", "mine", "^muster", '{"delivery-limit": 5}', "--apply-to", "queues")
        await asyncio.to_thread(server.control, *limit)
        async with asyncio.timeout(20.0):
            while len(found := (await parts.examine()).dangers or []) < 3:
                await TERMS.clock.sleep(0.2)
        assert {danger.name for danger in found} == {"queue", "policy"}
        assert "muster.t.g.high is no quorum queue" in [danger.said for danger in found]
        assert "the policy mine gives muster.t.g.normal delivery-limit 5" in [d.said for d in found]
