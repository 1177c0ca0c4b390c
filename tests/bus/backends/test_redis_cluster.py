"""Servers in cluster mode: all keys of a fleet lie in one slot, so its scripts may run there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest

from bus.backends.redis.dial import Address, address_of, dial
from bus.backends.redis.link import SILENCE, RedisLink
from bus.errors import Unreachable
from contracts.clock import SystemClock
from deploy import ports
from tests.bus.backends.redis_fleet import LANES, messages, opened, terms
from tests.bus.conformance import (
    test_backend_accepting,
    test_backend_due,
    test_backend_full,
    test_backend_keys,
    test_backend_lag,
    test_backend_lanes,
    test_backend_leases,
    test_backend_outages,
    test_backend_pulling,
    test_backend_routing,
    test_backend_settling,
    test_backend_stress,
    test_keyvalue,
    test_keyvalue_follow,
    test_keyvalue_watch,
)
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.harness import World
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


def clustering(port: int) -> tuple[str, ...]:
    """Lines of configuration; `port` is for the nodes among themselves. By default that is one from
    the range of outgoing connections, which may be taken."""
    return ("cluster-enabled yes", "cluster-config-file nodes.conf", f"cluster-port {port}")


Scene = Callable[[World], Awaitable[None]]

SCENES: tuple[Scene, ...] = (
    test_backend_accepting.test_a_returned_bind_is_seen_by_every_later_publish,
    test_backend_due.test_then_may_be_delayed,
    test_backend_keys.test_the_same_key_twice_is_one_message,
    test_backend_lag.test_lag_follows_a_message_through_its_life,
    test_backend_lanes.test_the_lanes_of_a_turn_share_it_evenly,
    test_backend_leases.test_what_a_killed_holder_held_goes_to_another_within_the_lease,
    test_backend_pulling.test_a_waiting_pull_wakes_when_a_message_arrives,
    test_backend_routing.test_unbind_is_refused_while_anything_waits_unless_dropped,
    test_backend_settling.test_then_already_out_does_not_keep_the_input,
    test_backend_stress.test_random_calls_side_by_side_lose_and_double_nothing,
    test_keyvalue.test_an_entry_expires_at_its_time,
    test_keyvalue.test_list_is_in_order_and_in_pages,
    test_keyvalue_follow.test_what_was_put_before_a_moment_was_told_before_it,
    test_keyvalue_watch.test_nothing_is_missed_between_snapshot_and_changes,
)


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A cluster of one node that has all slots."""
    server = RedisServer(tmp_path_factory.mktemp("cluster"), more=clustering(ports.free()))
    server.start()
    asyncio.run(form_cluster(server))
    yield server
    server.stop()


async def form_cluster(server: RedisServer) -> None:
    """Give it all slots."""
    async with bare(address_of(server.url, "t")) as link:
        await link.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383, doing="making a cluster")
        await until_whole(link)


@pytest.mark.promise(1, 2, 4, 5, 6, 8, 10, 12, 18)
@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
async def test_a_cluster_of_one_node_keeps(clustered: RedisServer, scene: Scene) -> None:
    """What the suite shows of a single server."""
    world = BrokerWorld(clustered)
    await scene(world)
    await world.close()


@pytest.mark.promise(21)
async def test_a_cluster_of_one_node_drains_when_it_is_full(clustered: RedisServer) -> None:
    world = BrokerWorld(clustered, max_bytes=400_000)
    await test_backend_full.test_what_was_full_drains_to_zero_and_accepts_again(world)
    await world.close()


@pytest.mark.slow
@pytest.mark.promise(1, 9, 10, 16)
async def test_a_cluster_of_one_node_that_is_killed_under_load_loses_nothing(
    own_redis: Callable[..., RedisServer], happened: Callable[[str], None]
) -> None:
    """After its start it refuses everything for two seconds more."""
    server = own_redis(*clustering(ports.free()))
    await form_cluster(server)
    world = BrokerWorld(server)
    await test_backend_outages.outlives(world, happened, "kill")
    await world.close()


@pytest.mark.promise(16)
async def test_in_a_cluster_of_many_nodes_the_one_with_the_fleet_is_found_and_followed(
    own_redis: Callable[..., RedisServer],
) -> None:
    """Whichever node the address names; also when the slot moves while a pull waits."""
    buses = [ports.free(), ports.free()]
    one, two = (own_redis(*clustering(port)) for port in buses)
    mine = terms(one.url, lease=10.0)
    key = f"{{muster:{mine.fleet}}}:version"
    async with (
        nodes(one, two, key, buses[1]) as (link, away, slot, ids),
        opened(mine) as (_, backend),
    ):
        await backend.bind("g", ["work.#"])
        assert await away.ask("GET", key, doing="looking")
        waiting = asyncio.create_task(backend.pull("g", LANES, limit=1, wait=30))
        await asyncio.sleep(0.2)
        await away.ask("FLUSHALL", doing="emptying")
        for node in (link, away):
            await node.ask("CLUSTER", "SETSLOT", slot, "NODE", ids[0], doing="moving")
        async with asyncio.timeout(5):
            await insist(lambda: backend.bind("g", ["work.#"]))
            await insist(lambda: backend.publish(messages(1)))
            with pytest.raises(Unreachable):
                await waiting
            assert len(await backend.pull("g", LANES, limit=1, wait=1)) == 1


async def insist(call: Callable[[], Awaitable[None]]) -> None:
    """As `Bus` does while a broker is away."""
    while True:
        try:
            return await call()
        except Unreachable:
            await SystemClock().sleep(0.05)


@asynccontextmanager
async def nodes(
    one: RedisServer, two: RedisServer, key: str, bus: int
) -> AsyncIterator[tuple[RedisLink, RedisLink, int, list[str]]]:
    """A cluster of two, of which the second has the slot of `key` and the first all others; links
    to both, the slot, and what the nodes are called."""
    first, second = (address_of(server.url, "t") for server in (one, two))
    doing = "making a cluster"
    async with bare(first) as link, bare(second) as away:
        slot = await link.ask("CLUSTER", "KEYSLOT", key, doing=doing)
        ranges = [
            bound
            for low, high in ((0, slot - 1), (slot + 1, 16383))
            if low <= high
            for bound in (low, high)
        ]
        await link.ask("CLUSTER", "ADDSLOTSRANGE", *ranges, doing=doing)
        await away.ask("CLUSTER", "ADDSLOTS", slot, doing=doing)
        await away.ask("CLUSTER", "SET-CONFIG-EPOCH", 2, doing=doing)
        await link.ask("CLUSTER", "MEET", second.host, second.port, bus, doing=doing)
        await until_whole(link, nodes=2)
        await until_whole(away, nodes=2)
        ids = [(await node.ask("CLUSTER", "MYID", doing=doing)).decode() for node in (link, away)]
        yield link, away, slot, ids


async def until_whole(node: RedisLink, *, nodes: int = 1) -> None:
    """Return when it knows who has each slot; servers tell each other in about two seconds."""
    clock = SystemClock()
    async with asyncio.timeout(20):
        while True:
            said = await node.ask("CLUSTER", "INFO", doing="waiting for it")
            if b"cluster_state:ok" in said and b"cluster_known_nodes:%d" % nodes in said:
                return
            await clock.sleep(0.05)


@asynccontextmanager
async def bare(address: Address) -> AsyncIterator[RedisLink]:
    """A link that does not look for the fleet."""
    link = RedisLink(address, "t", url="", lease=1.0, slices=1, clock=SystemClock())
    link.start(await dial(address, link.gone, silence=SILENCE))
    try:
        yield link
    finally:
        await link.close()
