"""A server in cluster mode: all keys of a fleet lie in one slot, so its scripts may run there."""

from collections.abc import Awaitable, Callable

import pytest

from tests.bus.backends.redis_fleet import linked, terms
from tests.bus.conformance import (
    test_backend_accepting,
    test_backend_due,
    test_backend_full,
    test_backend_keys,
    test_backend_lag,
    test_backend_lanes,
    test_backend_leases,
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


@pytest.fixture
async def clustered(own_redis: Callable[..., RedisServer]) -> RedisServer:
    """A cluster of one node that has all slots."""
    server = own_redis("cluster-enabled yes", "cluster-config-file nodes.conf")
    async with linked(terms(server.url)) as link:
        await link.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383, doing="making a cluster")
        while b"cluster_state:ok" not in await link.ask("CLUSTER", "INFO", doing="waiting for it"):
            pass
    return server


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
