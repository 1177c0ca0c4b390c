"""Where a task's microseconds go is told of each broker."""

import pytest

from tests import brokers
from tests.bench.profile import profile
from tests.bench.servers import server

pytestmark = pytest.mark.slow

FEW = 500

BESIDE = {"rabbitmq", "kafka"}
"""Those with a database beside them."""


@pytest.mark.postgres
@pytest.mark.parametrize("name", brokers.ALONE)
def test_the_parts_of_a_task_are_told_for_each_broker(name: str) -> None:
    """They make up the whole, the broker's backend and the engine among them, and the bus database
    where there is one."""
    with server(name) as bench:
        rooms = profile(bench, 1, FEW)
    shares = {room.name: room.share for room in rooms}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(room.microseconds > 0 for room in rooms)
    assert shares["backend: wire, intake, settle"] > 0
    assert shares["engine: runs, steps, slots, limits"] > 0
    assert ("bus database" in shares) == (name in BESIDE)
