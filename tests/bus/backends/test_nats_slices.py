"""Slices on NATS: processes that disagree lose nothing, an idle worker pays nothing."""

import asyncio
import json
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, SLICES, Delivery, Lane, LaneName, Message
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from contracts.clock import SystemClock
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

Connect = Callable[[int], Awaitable[NatsBackend]]


@pytest.fixture
async def cut_into(nats_server: NatsServer) -> AsyncIterator[Connect]:
    """Connects a process that is configured to cut lanes into so many slices."""
    fleet = f"t{uuid.uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:

        async def make(slices: int) -> NatsBackend:
            return await stack.enter_async_context(_backend(nats_server, fleet, slices))

        yield make


@asynccontextmanager
async def _backend(server: NatsServer, fleet: str, slices: int) -> AsyncIterator[NatsBackend]:
    link = await connect(server.url, fleet=fleet, lease=2.0, slices=slices, clock=SystemClock())
    backend = NatsBackend(link)
    try:
        yield backend
    finally:
        await backend.close()
        await link.close()


def lanes(slices: int) -> list[Lane]:
    """What a member that is configured so asks for."""
    return [Lane(name, number) for name in LaneName for number in range(slices)]


def of_every_slice(prefix: str, now: float) -> list[Message]:
    """New, delayed, direct and returning messages of every tenants' slice."""
    found: list[Message] = []
    for number in range(SLICES):
        message = Message(f"{prefix}{number}", 0, "work.a", b"{}", lane=Lane(NORMAL.name, number))
        found += [
            replace(message, id=f"{message.id}-high", lane=Lane(HIGH.name, number)),
            replace(message, id=f"{message.id}-direct", group="g"),
            replace(message, id=f"{message.id}-due", due=now + 0.5),
            replace(message, id=f"{message.id}-copy", copy=1, group="g"),
            message,
        ]
    return found


async def drained(backend: NatsBackend, slices: int) -> Counter[str]:
    """Everything, settled, until nothing came for a while; how often each was handed out."""
    seen: Counter[str] = Counter()
    while found := await backend.pull("g", lanes(slices), limit=50, wait=1.2):
        seen.update(delivery.message.id for delivery in found)
        assert await backend.settle(found) == []
    return seen


@pytest.mark.promise(7)
@pytest.mark.parametrize("order", [(1, 4, 3), (16, 1, 5)], ids=str)
async def test_a_change_of_the_number_of_slices_strands_nothing(
    cut_into: Connect, order: tuple[int, ...]
) -> None:
    """7: what was accepted under an earlier number is still served, once each; what is published
    by processes that have another number, too. Then the consumers of before are gone."""
    members = {slices: await cut_into(slices) for slices in order}
    sent: list[Message] = []
    for number, slices in enumerate(order):
        await members[slices].bind("g", ["work.#"])
        for by, publisher in enumerate(members.values()):
            batch = of_every_slice(f"{number}.{by}.", time.time())
            await publisher.publish(batch)
            sent += batch
    last = order[-1]
    seen = await drained(members[last], last)
    assert seen == Counter(message.id for message in sent)

    async with asyncio.timeout(10):
        while sum([await _consumers(members[last], s) for s in ("TASKS", "LATER")]) != 4 * last:
            assert await members[last].pull("g", lanes(last), limit=5, wait=0.2) == []
    for stream in ("TASKS", "LATER"):
        await members[last]._sweeper.sweep(_stream(members[last], stream))
        assert await _left(members[last], stream) == 0


async def _consumers(backend: NatsBackend, stream: str) -> int:
    name = f"CONSUMER.LIST.{_stream(backend, stream)}"
    return int((await backend._link.api(name, doing="testing"))["total"])


async def _left(backend: NatsBackend, stream: str) -> int:
    name = f"STREAM.INFO.{_stream(backend, stream)}"
    return int((await backend._link.api(name, doing="testing"))["state"]["messages"])


def _stream(backend: NatsBackend, stream: str) -> str:
    return f"MUSTER_{backend._link.names.fleet}_{stream}"


@pytest.mark.promise(7)
@pytest.mark.parametrize(("bound", "pulled"), [(4, 1), (1, 4), (3, 16), (16, 3)])
async def test_members_that_disagree_get_everything(
    cut_into: Connect, bound: int, pulled: int
) -> None:
    """7: whoever bound last decided; another that pulls by its own number misses nothing."""
    await (await cut_into(bound)).bind("g", ["work.#"])
    member = await cut_into(pulled)
    batch = of_every_slice("m", time.time())
    await member.publish(batch)
    assert await drained(member, pulled) == Counter(message.id for message in batch)


@pytest.mark.promise(7)
async def test_work_goes_on_while_the_number_changes(cut_into: Connect) -> None:
    """7: members, publishers and retries under way; every message ends, none is left."""
    old, new, publisher = await cut_into(2), await cut_into(8), await cut_into(1)
    await old.bind("g", ["work.#"])
    ended: set[str] = set()
    sent: set[str] = set()
    over = asyncio.Event()

    async def work(member: NatsBackend, slices: int) -> None:
        while not (over.is_set() and ended == sent):
            for delivery in await member.pull("g", lanes(slices), limit=20, wait=0.2):
                message = delivery.message
                again = [replace(message, copy=1, group="g")] if message.copy == 0 else []
                if not await member.settle([delivery], then=again) and message.copy:
                    ended.add(message.id)

    async def publish() -> None:
        for number in range(60):
            batch = [
                Message(f"{number}.{k}", 0, "work.a", b"{}", lane=Lane(LOW.name, k))
                for k in range(SLICES)
            ]
            await publisher.publish(batch)
            sent.update(message.id for message in batch)
            if number == 20:
                await new.bind("g", ["work.#"])
        over.set()

    async with asyncio.timeout(30):
        await asyncio.gather(publish(), work(old, 2), work(new, 8))
    assert len(ended) == 60 * SLICES


@pytest.mark.promise(7, 18)
async def test_many_slices_cost_an_idle_group_next_to_nothing(
    nats_server: NatsServer, cut_into: Connect
) -> None:
    """18: 64 consumers, and fewer than one operation in a second."""
    backend = await cut_into(16)
    await backend.bind("g", ["work.#"])

    async def idle(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert await backend.pull("g", lanes(16), limit=8, wait=0.5) == []

    await idle(0.6)
    before = _operations(nats_server)
    await idle(4.0)
    assert _operations(nats_server) - before <= 4


def _operations(server: NatsServer) -> int:
    url = f"{server.monitor_url}/varz"
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - our own server
        return int(json.load(answer)["in_msgs"])


@pytest.mark.promise(6, 7)
async def test_a_message_of_any_slice_wakes_a_pull(cut_into: Connect) -> None:
    """6: whatever its lane. How soon is shown beside the raw driver (`test_nats_waking.py`)."""
    backend, publisher = await cut_into(16), await cut_into(1)
    await backend.bind("g", ["work.#"])
    for lane in [Lane(name, number) for name in LaneName for number in range(16)]:
        waiting = asyncio.create_task(_one(backend))
        await asyncio.sleep(0.02)
        copy = int(lane.name is RETRY.name)
        message = Message(f"{lane}", copy, "work.a", b"{}", lane=lane, group="g" if copy else None)
        await publisher.publish([message])
        assert (await waiting).message.id == message.id


async def _one(backend: NatsBackend) -> Delivery:
    async with asyncio.timeout(5):
        (found,) = await backend.pull("g", lanes(16), limit=1, wait=10.0)
    await backend.settle([found])
    return found


async def test_what_an_earlier_consumer_hands_out_too_is_not_put_back(cut_into: Connect) -> None:
    """It came for a pull already over, and is not the group's: put back it would run twice."""
    member, other = await cut_into(1), await cut_into(2)
    await member.bind("g", ["work.#"])
    await other.bind("g", ["work.#"])
    seen: list[str] = []
    for number in range(5):
        await asyncio.sleep(0.6)  # consumers of before are asked again after half a second
        waiting = asyncio.create_task(member.pull("g", lanes(1), limit=1, wait=5.0))
        await asyncio.sleep(0.1)
        await other.publish([Message(f"m{number}", 0, "work.a", b"{}", lane=Lane(NORMAL.name, 1))])
        found = await waiting
        await member.settle(found)
        seen += [delivery.message.id for delivery in found]
    rest = await drained(member, 1)
    assert Counter(seen) + rest == Counter(f"m{number}" for number in range(5))
