"""Kafka and its bus database go away under load, each in every way: nothing accepted is lost."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bus.backend import Backend, Lag
from bus.errors import Unreachable
from tests.beside import beside
from tests.brokers import Server
from tests.bus.backends.kafka_fleet import LEASE, connected, gather
from tests.bus.conformance.steps import ORDER, task
from tests.kafka_server import KafkaServer
from tests.networks import Network, between

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

BACK = 5.0
"""Seconds from the return of a server until work goes on (promise 16)."""

NOTHING = Lag(waiting=0, delayed=0, leased=0)

MUCH = 300
"""Tasks that are handed out before each trouble."""

_CALL = 20
_EACH = 0.02


@dataclass
class Load:
    """A publisher and two consumers, on connections of their own, that try again and again."""

    accepted: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    publishing: bool = True

    async def publish(self, backend: Backend) -> None:
        """Tasks in calls of some, the same call again after an error."""
        number = 0
        while self.publishing:
            names = [f"t{number + n}" for n in range(_CALL)]
            try:
                await backend.publish([task(name) for name in names])
            except Unreachable:
                await asyncio.sleep(0.1)
                continue
            self.accepted.update(names)
            number += _CALL
            await asyncio.sleep(_EACH)

    async def consume(self, backend: Backend) -> None:
        """Pull and settle."""
        while True:
            try:
                found = await backend.pull("g", ORDER, limit=50, wait=5.0)
                self.seen.update(d.message.id for d in found)
                await backend.settle(found)
            except Unreachable:
                await asyncio.sleep(0.1)

    async def goes_on(self, count: int = 1) -> None:
        """Return when so many more than now are accepted and handed out."""
        before = set(self.accepted)
        await until(lambda: len((self.accepted - before) & self.seen.keys()) >= count)

    async def ended(self) -> None:
        """Publish no more; return when everything was handed out."""
        self.publishing = False
        await until(lambda: self.accepted <= self.seen.keys())


async def until(holds: Callable[[], bool]) -> None:
    """Return when it holds."""
    while not holds():  # noqa: ASYNC110 - it changes in other tasks
        await asyncio.sleep(0.01)


@asynccontextmanager
async def loaded(server: KafkaServer, network: Network | None = None) -> AsyncIterator[Load]:
    """A load on this Kafka, over this network; when the block ends nothing may be left."""
    load, fleet = Load(), f"load-{secrets.token_hex(4)}"
    given = (
        {}
        if network is None
        else {"url": network.url, "database": network.environment["MUSTER_BUS_DATABASE"]}
    )
    async with (
        connected(server, fleet, **given) as (publisher, _),
        connected(server, fleet, **given) as (one, _),
        connected(server, fleet, **given) as (other, _),
        beside(load.publish(publisher), load.consume(one), load.consume(other)),
    ):
        yield load
        async with asyncio.timeout(10.0):
            await load.ended()
        async with asyncio.timeout(LEASE + 5.0):
            while any(lag != NOTHING for lag in (await one.lag("g")).values()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def back(load: Load) -> float:
    """Seconds until work goes on; the test fails if that takes too long."""
    began = time.monotonic()
    async with asyncio.timeout(BACK):
        await load.goes_on()
    return time.monotonic() - began


async def kill(server: Server) -> None:
    """SIGKILL, then a new start."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)


async def restart(server: Server) -> None:
    """End it in good order, then start it."""
    await asyncio.to_thread(server.stop)
    await asyncio.to_thread(server.start)


async def freeze(server: Server) -> None:
    """SIGSTOP for ten seconds."""
    await asyncio.to_thread(server.freeze)
    await asyncio.sleep(10.0)  # the time it stands still is the experiment
    server.thaw()


Trouble = Callable[[Server], Awaitable[None]]


@pytest.mark.promise(1, 9, 16)
@pytest.mark.parametrize("which", ["kafka", "database"])
async def test_a_server_that_goes_away_under_load_loses_nothing(
    own_kafka: Callable[[], KafkaServer], happened: Callable[[str], None], which: str
) -> None:
    """1, 16: killed, restarted, and frozen for ten seconds."""
    server = own_kafka()
    victim: Server = server if which == "kafka" else server.store
    troubles: tuple[Trouble, ...] = (kill, restart, freeze)
    took: list[str] = []
    async with loaded(server) as load:
        for trouble in troubles:
            await load.goes_on(MUCH)
            await trouble(victim)
            took.append(f"{trouble.__name__} {await back(load):.2f} s")
    twice = sum(count > 1 for count in load.seen.values())
    happened(f"{which}: work after {', '.join(took)}; {len(load.accepted)} accepted, {twice} twice")


@pytest.mark.promise(16)
@pytest.mark.parametrize("number", [0, 1], ids=["kafka", "database"])
async def test_a_network_to_one_of_both_that_is_cut_or_silent_loses_nothing(
    kafka_server: KafkaServer, happened: Callable[[str], None], number: int
) -> None:
    """16: reset, and without a word for longer than an answer may take."""
    took: list[str] = []
    async with between(kafka_server) as network, loaded(kafka_server, network) as load:
        proxy = network.proxies[number]
        for silently in (False, True):
            await load.goes_on(MUCH)
            if silently:
                proxy.hang()
            else:
                await proxy.cut()
            await asyncio.sleep(6.0 if silently else 1.0)
            await proxy.mend()
            took.append(f"{await back(load):.2f} s")
    twice = sum(count > 1 for count in load.seen.values())
    happened(f"work after {', '.join(took)}; {len(load.accepted)} accepted, {twice} twice")


@pytest.mark.promise(12, 13)
async def test_members_that_come_and_go_disturb_no_task_that_runs_for_long(
    kafka_server: KafkaServer,
) -> None:
    """13: what would be a rebalance elsewhere, and polls that are missed: a holder asks for nothing
    while its task runs for many leases. Kafka knows of no group at all."""
    async with connected(kafka_server, "long") as (holder, _):
        await holder.publish([task("long")])
        held = await gather(holder, 1)
        ends = time.monotonic() + 4 * LEASE
        while time.monotonic() < ends:
            async with connected(kafka_server, "long") as (other, _):
                assert await other.pull("g", ORDER, limit=1, wait=LEASE / 3) == []
            assert await holder.extend(held) == []
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.url.removeprefix("kafka://"))
        await admin.start()
        groups = await admin.list_consumer_groups()
        await admin.close()
        assert [name for name, *_ in groups if "long" in name] == []
        assert await holder.settle(held) == []
