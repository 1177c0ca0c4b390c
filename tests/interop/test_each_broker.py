"""Programs that know only the documented layout of a broker publish tasks there and hear of their
ends: on Redis and Kafka through the ingress, on RabbitMQ directly. NATS has tests of its own."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests import brokers
from tests.bridge.bridging import bridged
from tests.bridge.outside import Outside, outside
from tests.brokers import Broker
from tests.cli.running import GREETER, Muster, worked
from tests.interop.running import ran

pytestmark = pytest.mark.slow

COUNT = 5

OTHERS = [param for param in brokers.ALONE if param.id != "nats"]


@pytest.fixture(params=OTHERS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Broker:
    """Each broker but NATS by turns."""
    return brokers.tell(brokers.shared(request, request.param), tmp_path)


@pytest.fixture
async def place(broker: Broker) -> AsyncIterator[Outside]:
    """A place of somebody else's, on the same broker."""
    async with outside(broker.url) as made:
        yield made


@pytest.mark.parametrize("kind", ["plain", "faststream"])
async def test_it_publishes_tasks_and_hears_of_their_ends(
    broker: Broker, place: Outside, tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    program = f"{kind}_{request.node.callspec.params['broker']}.py"
    place_name = urlsplit(place.place).path.rpartition("/")[2]
    with worked(broker.url, tmp_path, "greeter", GREETER) as fleet:
        name = fleet.environment["MUSTER_FLEET_NAME"]
        with bridged(fleet, "--from", "greeter.other", "--to", place.place) as told:
            arguments = (broker.url, name, "greeter.other", place_name, str(COUNT))
            more = (broker.database or "",) if program == "plain_kafka.py" else ()
            ended = await ran(program, *arguments, *more)
            again = await ran_out(fleet)
    assert {each["type"] for each in ended} == {"muster.task.succeeded"}
    said = sorted(each["data"]["text"] for each in ended)
    assert said == [f"Hello, number {number}" for number in range(COUNT)]
    assert again == []
    assert told[-1] == f"{COUNT} sent, 0 dead letters"  # each ran once


async def ran_out(fleet: Muster) -> list[str]:
    """What is a dead letter."""
    return [each["id"] for each in fleet("dlq", "ls", "--json").json]
