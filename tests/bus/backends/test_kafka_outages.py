"""The network to Kafka or to its bus database goes away under load; and members come and go."""

import asyncio
import time
from collections.abc import Callable

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from typing_extensions import override

from tests.bus.backends.kafka_fleet import LEASE, connected, gather
from tests.bus.conformance.broker_world import Addresses, BrokerWorld
from tests.bus.conformance.load import BACK, loaded
from tests.bus.conformance.steps import ORDER, task
from tests.kafka_server import KafkaServer
from tests.networks import Network, between

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

MUCH = 300
"""Tasks that are done before each trouble."""


class Beyond(BrokerWorld):
    """A fleet that reaches Kafka and its bus database by a network."""

    def __init__(self, server: KafkaServer, network: Network) -> None:
        super().__init__(server)
        self._network = network

    @override
    def addresses(self) -> Addresses:
        database = self._network.environment["MUSTER_BUS_DATABASE"]
        return {"url": self._network.url, "fallback": None, "database": database}


@pytest.mark.promise(16)
@pytest.mark.parametrize("number", [0, 1], ids=["kafka", "database"])
async def test_a_network_to_one_of_both_that_is_cut_or_silent_loses_nothing(
    kafka_server: KafkaServer, happened: Callable[[str], None], number: int
) -> None:
    """16: reset, and without a word for longer than an answer may take."""
    took: list[str] = []
    async with between(kafka_server) as network:
        world, proxy = Beyond(kafka_server, network), network.proxies[number]
        async with loaded(world) as load:
            for silently in (False, True):
                await world.within(30.0, load.goes_on(MUCH))
                if silently:
                    proxy.hang()
                else:
                    await proxy.cut()
                await asyncio.sleep(6.0 if silently else 1.0)
                await proxy.mend()
                began = time.monotonic()
                await world.within(BACK, load.goes_on())
                took.append(f"{time.monotonic() - began:.2f} s")
        await world.close()
    assert load.again == []
    twice = load.handed.total() - len(load.handed)
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
