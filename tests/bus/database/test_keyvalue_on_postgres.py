"""The key-value suite, unchanged, on the bus database; and how little that is asked."""

import pytest

from bus.keyvalue.protocol import Wish, Written
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.conformance.test_keyvalue import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_follow import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_follow import EVERY, Follower
from tests.bus.conformance.test_keyvalue_trouble import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_watch import *  # noqa: F403

pytestmark = pytest.mark.postgres


async def test_a_follower_asks_the_database_only_while_somebody_needs_to_know(
    world: World,
) -> None:
    """18: else it is silent, and hears of changes all the same."""
    store = await world.keyvalue()
    follower = Follower(world, store, Wish())
    await follower.current_at(world.clock.monotonic() - SOON)
    told = len(follower.told)
    await world.pass_time(4 * EVERY)
    assert follower.told[told:] == []
    await store.put("a/1", b"x")
    await world.pass_time(2 * EVERY)
    assert [type(change) for change in follower.told[told:]] == [Written]
    await follower.end()
