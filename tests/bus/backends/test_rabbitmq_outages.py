"""RabbitMQ and its bus database under load, each killed or hanging alone: nothing is lost."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import count

import asyncpg
import pytest

from bus.backend import RETRY, Backend, Delivery, Message
from bus.backends.choice import open_parts
from bus.errors import Conflict, Unreachable
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.brokers import Server
from tests.bus.conformance.steps import ORDER, ids, task, tasks
from tests.forms import form
from tests.networks import Network, between
from tests.rabbitmq_server import RabbitServer

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

BACK = 5.0
"""Seconds from when a server is back until work goes on (promise 16)."""

LEASE = 2.5
Run = tuple[str, int]
CLOCK = SystemClock()


@asynccontextmanager
async def connected(
    server: RabbitServer,
    fleet: str = "t",
    network: Network | None = None,
    *,
    patience: float = 5.0,
) -> AsyncIterator[Parts]:
    """One process's connection."""
    url, database = server.url, server.database
    if network is not None:
        url, database = network.url, network.environment["MUSTER_BUS_DATABASE"]
    given = {"fleet": fleet, "clock": CLOCK, "lease": LEASE, "patience": patience}
    terms = Terms(url=url, database=database, **given)  # type: ignore[arg-type]
    parts = await open_parts(terms)
    try:
        yield parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


@dataclass(slots=True)
class Load:
    """What was accepted, and how often each run of it was settled; of those in doubt the servers
    were away before they had said whether they are."""

    accepted: set[str] = field(default_factory=set)
    settled: Counter[Run] = field(default_factory=Counter)
    doubted: set[Run] = field(default_factory=set)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def publish(self, backend: Backend, name: str) -> None:
        """Batches, each repeated until it is accepted; some are delayed."""
        for number in count():
            batch = [task(f"{name}-{number}-{k}") for k in range(10)]
            batch[0] = replace(batch[0], due=CLOCK.wall() + 0.5, lane=RETRY)
            await persist(backend, batch)
            self.accepted.update(message.id for message in batch)
            await CLOCK.sleep(0.05)

    async def work(self, backend: Backend) -> None:
        """Settle what comes; every fifth leaves another copy."""
        while True:
            found: list[Delivery] = []
            with suppress(Unreachable):
                found = await backend.pull("g", ORDER, limit=40, wait=1.0)
                again = [d for d in found if not d.message.copy and d.message.id.endswith("5")]
                then = [replace(d.message, copy=1, lane=RETRY, group="g") for d in again]
                lost = await backend.settle(found, then=then)
                async with self.news:
                    self.settled.update(run(d) for d in found if d not in lost)
                    self.news.notify_all()
                continue
            async with self.news:
                self.doubted.update(run(d) for d in found)
                self.news.notify_all()
            await CLOCK.sleep(0.05)

    async def done(self, names: set[str], seconds: float) -> None:
        """Return when all of these have run; `TimeoutError` if that takes longer."""
        first = {(name, 0) for name in names}
        async with asyncio.timeout(seconds), self.news:
            await self.news.wait_for(lambda: first <= self.settled.keys() | self.doubted)

    def owed(self) -> set[Run]:
        """Everything that has to run."""
        again = {(name, 1) for name in self.accepted if name.endswith("5")}
        return {(name, 0) for name in self.accepted} | again


def run(delivery: Delivery) -> Run:
    """What a delivery is of."""
    return delivery.message.id, delivery.message.copy


async def known(server: RabbitServer) -> set[Run]:
    """What is done, as the bus database has it."""
    link = await asyncpg.connect(server.database)
    rows = await link.fetch("SELECT key FROM muster_bus.tasks WHERE done IS NOT NULL")
    await link.close()
    keys = [str(row["key"]).split("/") for row in rows]
    return {(id_, int(copy)) for id_, _, copy in keys}


async def persist(backend: Backend, batch: list[Message]) -> None:
    """Publish under the same keys until it is accepted."""
    while True:
        with suppress(Unreachable):
            await backend.publish(batch)
            return
        await CLOCK.sleep(0.05)


async def killed(server: Server) -> None:
    """SIGKILL, and started again."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def hanging(server: Server) -> None:
    """SIGSTOP for ten seconds."""
    await asyncio.to_thread(server.freeze)
    await CLOCK.sleep(10.0)
    server.thaw()


@pytest.mark.timeout(120)
@pytest.mark.promise(1, 9, 10, 16)
@pytest.mark.parametrize("trouble", [killed, hanging])
@pytest.mark.parametrize("database", [False, True], ids=["broker", "database"])
async def test_under_load_nothing_is_lost_and_work_goes_on(
    own_rabbitmq: Callable[..., RabbitServer],
    database: bool,
    trouble: Callable[[Server], Coroutine[None, None, None]],
    happened: Callable[[str], None],
) -> None:
    """Two publishers, three workers, new tasks, delayed ones and copies, twice: what is published
    after the return is done within five seconds, and in the end all that was ever accepted.
    Nothing is left: the group can be unbound when nobody can hold anything any more."""
    server = own_rabbitmq()
    victim = server.store if database else server
    load = Load()
    async with (
        connected(server) as one,
        connected(server) as two,
        connected(server) as three,
        connected(server) as sender,
    ):
        await one.backend.bind("g", ["work.#"])
        workers = [load.work(parts.backend) for parts in (one, two, three)]
        publishers = [load.publish(sender.backend, name) for name in "ab"]
        at_work = [asyncio.create_task(each) for each in workers]
        sending = [asyncio.create_task(each) for each in publishers]
        for number in range(2):
            await load.done({f"{name}-{50 * number + 10}-9" for name in "ab"}, 30.0)
            await trouble(victim)
            fresh = tasks(20, f"fresh{number}-")
            async with asyncio.timeout(BACK):
                await persist(sender.backend, fresh)
            await load.done({message.id for message in fresh}, BACK)
        for each in sending:
            each.cancel()
        await asyncio.wait(sending)
        load.accepted.update(f"fresh{number}-{k}" for number in range(2) for k in range(20))
        await load.done(load.accepted, 30.0)
        while load.owed() - load.settled.keys() - load.doubted:
            await CLOCK.sleep(0.05)
        done = await known(server)
        async with asyncio.timeout(30.0):
            await unbound(one.backend)
        for each in at_work:
            each.cancel()
        await asyncio.wait(at_work)
    assert load.owed() - load.settled.keys() - done == set()
    doubles = load.settled.total() - len(load.settled)
    happened(
        f"accepted {len(load.accepted)}, in doubt {len(load.doubted)}, settled again {doubles}"
    )


@pytest.mark.timeout(90)
@pytest.mark.promise(12, 15, 16)
@pytest.mark.parametrize("silently", [True, False], ids=["hangs", "breaks"])
async def test_a_worker_that_is_cut_off_from_both_loses_nothing(
    rabbitmq_server: RabbitServer, silently: bool
) -> None:
    """What it held runs elsewhere within lease + 1 s of the cut; it works again within five seconds
    of the return, alone, and none of what it held then is settled by it."""
    load, alone = Load(), Load()
    fleet = f"cut-{silently}"
    async with (
        between(rabbitmq_server) as network,
        connected(rabbitmq_server, fleet) as near,
        connected(rabbitmq_server, fleet, network) as far,
    ):
        await near.backend.bind("g", ["work.#"])
        await near.backend.publish(tasks(20))
        held = await far.backend.pull("g", ORDER, limit=20, wait=5.0)
        assert held
        if silently:
            for proxy in network.proxies:
                proxy.hang()
        else:
            await network.cut()
        working = asyncio.create_task(load.work(near.backend))
        await load.done({f"t{n}" for n in range(20)}, LEASE + 1.0)
        await CLOCK.sleep(5.0)
        await network.mend()
        working.cancel()
        await asyncio.wait([working])
        working = asyncio.create_task(alone.work(far.backend))
        fresh = tasks(20, "fresh")
        await near.backend.publish(fresh)
        await alone.done({message.id for message in fresh}, BACK)
        assert await far.backend.settle(held) == held
        working.cancel()
        await asyncio.wait([working])
    assert load.settled.total() == len(load.settled) == 22  # two leave a copy


async def unbound(backend: Backend) -> None:
    """Refused while anything is owed; accepted when all is done."""
    while True:
        with suppress(Conflict):
            await backend.unbind("g")
            return
        await CLOCK.sleep(0.2)


@pytest.mark.promise(14)
@pytest.mark.parametrize("pause", [0.05, 1.0], ids=["at-once", "later"])
async def test_what_a_database_that_hung_counted_was_no_hand_over(
    own_rabbitmq: Callable[..., RabbitServer], pause: float
) -> None:
    """It answers too late, and does what it was asked when it goes on: nobody was handed anything,
    so nothing comes as what a crash left behind, also to another process."""
    server = own_rabbitmq()
    async with connected(server, patience=1.5) as parts:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(3, "u"))
        left = 3
        while left:
            first = await parts.backend.pull("g", ORDER, limit=10, wait=1.0)
            assert await parts.backend.settle(first) == []
            left -= len(first)
        assert await parts.backend.pull("g", ORDER, limit=10, wait=0.0) == []
        await parts.backend.publish(tasks(10))
        await asyncio.to_thread(server.store.freeze)
        with pytest.raises(Unreachable):
            await parts.backend.pull("g", ORDER, limit=10, wait=5.0)
        server.store.thaw()
        found: list[Delivery] = []
        async with asyncio.timeout(20.0), connected(server) as other:
            while len(found) < 10:
                for backend in (parts.backend, other.backend):
                    await CLOCK.sleep(pause)
                    with suppress(Unreachable):
                        found += await backend.pull("g", ORDER, limit=5, wait=0.5)
        assert [d.earlier for d in found] == [0] * 10


@pytest.mark.promise(13)
@pytest.mark.timeout(90)
async def test_what_is_held_for_long_outlives_a_broker_that_hangs(
    own_rabbitmq: Callable[..., RabbitServer],
) -> None:
    """Longer than its lease, several times: it is a row, and rows do not need the broker. Nobody
    else is handed it, and it is settled."""
    server = own_rabbitmq()
    async with connected(server) as parts, connected(server) as other:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(3))
        held = await parts.backend.pull("g", ORDER, limit=3, wait=5.0)
        while len(held) < 3:
            held += await parts.backend.pull("g", ORDER, limit=3 - len(held), wait=5.0)
        for _ in range(4):
            await CLOCK.sleep(0.5)
            assert await parts.backend.extend(held) == []
        await asyncio.to_thread(server.freeze)
        for _ in range(form(12, 24)):
            await CLOCK.sleep(0.5)
            assert await parts.backend.extend(held) == []
        assert await parts.backend.settle(held) == []
        server.thaw()
        found = await persisted_pull(other.backend)
        assert found == []


async def persisted_pull(backend: Backend) -> list[str]:
    """What comes within two leases."""
    found: list[str] = []
    end = CLOCK.monotonic() + 2 * LEASE
    while CLOCK.monotonic() < end:
        with suppress(Unreachable):
            found += ids(await backend.pull("g", ORDER, limit=9, wait=1.0))
            continue
        await CLOCK.sleep(0.1)
    return found
