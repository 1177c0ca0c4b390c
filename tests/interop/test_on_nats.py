"""Programs that know only the documented layout on NATS publish tasks and hear of their ends."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.bridge.bridging import bridged
from tests.bridge.outside import Outside, outside
from tests.cli.running import GREETER, Muster, worked
from tests.interop.running import ran
from tests.servers import NatsServer

pytestmark = [pytest.mark.nats, pytest.mark.slow]


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """A fleet of its own where one worker greets."""
    folder = tmp_path_factory.mktemp("interop")
    with worked(nats_server.url, folder, "greeter", GREETER) as muster:
        yield muster


@pytest.fixture
async def place(nats_server: NatsServer) -> AsyncIterator[Outside]:
    """A stream of somebody else's."""
    async with outside(nats_server.url) as made:
        yield made


async def test_a_plain_client_publishes_a_task_reads_its_outcome_and_hears_of_its_end(
    fleet: Muster, nats_server: NatsServer, place: Outside
) -> None:
    name = fleet.environment["MUSTER_FLEET_NAME"]
    own = (place.name, f"{place.name}.new")
    arguments = ("plain_nats.py", nats_server.url, name, "greeter.plain", *own)
    with bridged(fleet, "--from", "greeter.plain", "--to", place.place) as told:
        done, refused, unfit = [
            await ran(*arguments, payload)
            for payload in ('{"name": "Ada"}', '{"name": "nobody"}', '{"no": "name"}')
        ]
    assert (done["outcome"]["status"], done["outcome"]["value"]) == (
        "succeeded",
        {"text": "Hello, Ada"},
    )
    assert done["event"] == {"type": "muster.task.succeeded", "data": {"text": "Hello, Ada"}}
    for ended, reason in ((refused, "rejected"), (unfit, "invalid")):
        assert (ended["outcome"]["status"], ended["outcome"]["reason"]) == ("failed", reason)
        assert ended["event"]["type"] == "muster.task.failed"
        assert ended["event"]["data"]["reason"] == reason
    assert told[-1] == "3 sent, 0 dead letters"  # each ran once


async def test_a_faststream_application_publishes_tasks_and_hears_of_their_ends(
    fleet: Muster, nats_server: NatsServer, place: Outside
) -> None:
    name = fleet.environment["MUSTER_FLEET_NAME"]
    with bridged(fleet, "--from", "greeter.app", "--to", place.place) as told:
        own = (place.name, f"{place.name}.new")
        ended = await ran("faststream_nats.py", nats_server.url, name, "greeter.app", *own, "5")
    assert {each["type"] for each in ended} == {"muster.task.succeeded"}
    said = {f"Hello, number {number}" for number in range(5)}
    assert {each["data"]["text"] for each in ended} == said
    assert told[-1] == "5 sent, 0 dead letters"
