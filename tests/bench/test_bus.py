"""What `muster bench bus` measures is measured on each broker: a few of everything."""

import pytest

from tests import brokers
from tests.bench import bus
from tests.bench.servers import server

pytestmark = pytest.mark.slow

FEW = 1000


@pytest.mark.postgres
@pytest.mark.parametrize("name", brokers.ALONE)
def test_each_broker_is_measured_beside_its_bare_client(name: str) -> None:
    """Publish, consume, run and start, each with its ratio; nothing of a round is left over that
    the next could find."""
    with server(name) as bench:
        rows = bus.throughput(bus.RAW[name], bench, 2, FEW)
        rows += bus.latency(bus.RAW[name], bench, 30)
    assert [row.verdict != "" for row in rows].count(True) == 5
    assert all(0 < row.least <= row.median <= row.most for row in rows)
