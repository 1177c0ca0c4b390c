"""Programs that know only the documented layout on NATS publish tasks and get their ends."""

from collections.abc import Iterator

import nats
import pytest

from tests.bridge.bridging import bridged
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


async def test_a_plain_client_publishes_a_task_and_reads_its_outcome(
    fleet: Muster, nats_server: NatsServer
) -> None:
    name = fleet.environment["MUSTER_FLEET_NAME"]
    arguments = (nats_server.url, name, "greeter.plain")
    ended = await ran("plain_nats.py", *arguments, '{"name": "Ada"}')
    assert (ended["status"], ended["value"]) == ("succeeded", {"text": "Hello, Ada"})
    ended = await ran("plain_nats.py", *arguments, '{"name": "nobody"}')
    assert (ended["status"], ended["reason"]) == ("failed", "rejected")
    ended = await ran("plain_nats.py", *arguments, '{"no": "name"}')
    assert (ended["status"], ended["reason"]) == ("failed", "invalid")


async def test_a_faststream_application_publishes_tasks_and_hears_of_their_ends(
    fleet: Muster, nats_server: NatsServer
) -> None:
    client = await nats.connect(nats_server.url)
    name = fleet.environment["MUSTER_FLEET_NAME"]
    stream = f"SHOP-{name}"
    await client.jetstream().add_stream(name=stream, subjects=[f"{stream}.>"])
    target = f"{nats_server.url}/{stream}.ended?stream={stream}"
    with bridged(fleet, "--from", "greeter.app", "--to", target):
        arguments = (nats_server.url, name, "greeter.app", stream, f"{stream}.ended", "5")
        ended = await ran("faststream_nats.py", *arguments)
    assert {each["type"] for each in ended} == {"muster.task.succeeded"}
    said = {f"Hello, number {number}" for number in range(5)}
    assert {each["data"]["text"] for each in ended} == said
    await client.close()
