"""Programs that know only the documented layout on NATS publish tasks and get their ends."""

import ast
import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.bridge.bridging import bridged
from tests.cli.running import GREETER, Muster, worked
from tests.servers import NatsServer
from tests.test_architecture import PACKAGES

pytestmark = [pytest.mark.nats, pytest.mark.slow]

HERE = Path(__file__).parent
SECONDS = 30.0


@pytest.fixture(scope="module")
def fleet(nats_server: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Muster]:
    """A fleet of its own where one worker greets."""
    folder = tmp_path_factory.mktemp("interop")
    with worked(nats_server.url, folder, "greeter", GREETER) as muster:
        yield muster


async def ran(program: str, *arguments: str) -> Any:
    """What a program says, run where it finds nothing of ours."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        HERE / program,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        _, err = await process.communicate()
        pytest.fail(f"{program} did not end: {err.decode()}")
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@pytest.mark.parametrize("program", ["plain_client.py", "faststream_app.py"])
def test_the_programs_know_nothing_of_ours(program: str) -> None:
    tree = ast.parse((HERE / program).read_text())
    names = {n.name for node in ast.walk(tree) if isinstance(node, ast.Import) for n in node.names}
    names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert not {name.partition(".")[0] for name in names} & {*PACKAGES, "tests"}


async def test_a_plain_client_publishes_a_task_and_reads_its_outcome(
    fleet: Muster, nats_server: NatsServer
) -> None:
    name = fleet.environment["MUSTER_FLEET_NAME"]
    arguments = (nats_server.url, name, "greeter.plain")
    ended = await ran("plain_client.py", *arguments, '{"name": "Ada"}')
    assert (ended["status"], ended["value"]) == ("succeeded", {"text": "Hello, Ada"})
    ended = await ran("plain_client.py", *arguments, '{"name": "nobody"}')
    assert (ended["status"], ended["reason"]) == ("failed", "rejected")
    ended = await ran("plain_client.py", *arguments, '{"no": "name"}')
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
        ended = await ran("faststream_app.py", *arguments)
    assert {each["type"] for each in ended} == {"muster.task.succeeded"}
    said = {f"Hello, number {number}" for number in range(5)}
    assert {each["data"]["text"] for each in ended} == said
    await client.close()
