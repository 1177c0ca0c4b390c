"""Commands with a wrong password, on real servers that want one: three lines, once, soon."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.bus import Bus
from contracts.envelope import Envelope
from tests import brokers
from tests.cli.letters import on_bus, replayed
from tests.cli.running import GREETER, Ended, Muster
from tests.guarded import RIGHT, WRONG, guard, guarded
from tests.proxy import Proxy, proxied
from tests.servers import PostgresServer

COMMANDS = (
    (("work", "greeter"), 5),
    (("publish", "greeter.hello", '{"name": "Ada"}'), 5),
    (("doctor",), 1),
    (("up", "greeter"), 5),
    (("up", "greeter", "--detach"), 5),
)
"""Those that speak to the bus, and the exit codes that docs/operations.md promises."""


LEANING = [param for param in brokers.ALONE if param.id in {"rabbitmq", "kafka"}]
"""Those beside which the bus database lies."""


def with_one_task(folder: Path, url: str, database: str | None) -> Muster:
    """The command with the right password, on a fleet in which one task waits."""
    beside = {"MUSTER_BUS_DATABASE": database} if database else {}
    name = f"pw-{time.time_ns() % 10**9}"
    muster = Muster(folder, MUSTER_BUS_URL=url, MUSTER_FLEET_NAME=name, **beside)
    muster.write("agents/greeter.py", GREETER)

    async def publish(bus: Bus) -> None:
        await bus.bind("greeter", ["greeter.#"])
        task = Envelope(id="kept", topic="greeter.x", source="/t", time=time.time(), body=b"{}")
        await bus.publish([task])

    on_bus(muster, publish)
    return muster


async def refused(muster: Muster, proxy: Proxy, words: tuple[str, ...], code: int) -> Ended:
    """The command ends within five seconds of its one connection, with its code and three lines,
    and says no password. Starting Python, which `--detach` does, is not counted: that takes as long
    as the machine is busy."""
    made = proxy.made
    ended = await asyncio.to_thread(muster, *words)
    took = time.monotonic() - proxy.latest
    assert (ended.code, proxy.made - made) == (code, 1), (words, ended.err)
    assert took < 5.0, words
    what, _, do = ended.lines
    assert "refused" in what
    assert "password" in do
    said = [line for line in ended.err.splitlines() if "[info " not in line]
    assert len(said) == 3, ended.err  # what a worker tells of itself is no complaint
    assert secrets_in(muster, ended) == []
    return ended


def secrets_in(muster: Muster, ended: Ended) -> list[str]:
    """What of the passwords was said, or written into its folder."""
    logs = [file.read_text(errors="replace") for file in muster.folder.glob(".muster/*.log")]
    said = "".join([ended.out, ended.err, *logs])
    return [word for word in (RIGHT, WRONG) if word in said]


@pytest.mark.parametrize("name", brokers.ALONE)
async def test_a_wrong_password_is_refused_once_by_every_command(
    request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """One connection each, and nobody tries again; what waits is still there."""
    server = await asyncio.to_thread(guarded, request, name, tmp_path)
    muster = await asyncio.to_thread(with_one_task, tmp_path, server.url(), server.database)
    right = muster.environment["MUSTER_BUS_URL"]
    async with proxied(server.server) as proxy:
        muster.environment["MUSTER_BUS_URL"] = server.url(WRONG, proxy.url)
        for words, code in COMMANDS:
            await refused(muster, proxy, words, code)
    muster.environment["MUSTER_BUS_URL"] = right
    assert set(await asyncio.to_thread(replayed, muster, 1)) == {"kept"}


@pytest.mark.parametrize("name", LEANING)
async def test_and_so_is_a_wrong_password_of_the_bus_database(
    request: pytest.FixtureRequest,
    own_postgres: Callable[[], PostgresServer],
    tmp_path: Path,
    name: str,
) -> None:
    """Of brokers that lean on one: said of the database."""
    database = guard(await asyncio.to_thread(own_postgres))
    broker = await asyncio.to_thread(brokers.shared, request, name)
    muster = await asyncio.to_thread(with_one_task, tmp_path, broker.url, database.url())
    right = muster.environment["MUSTER_BUS_DATABASE"]
    async with proxied(database.url(WRONG)) as proxy:
        muster.environment["MUSTER_BUS_DATABASE"] = proxy.url
        for words, code in COMMANDS:
            ended = await refused(muster, proxy, words, code)
            assert "the bus database" in ended.lines[0]
    muster.environment["MUSTER_BUS_DATABASE"] = right
    assert set(await asyncio.to_thread(replayed, muster, 1)) == {"kept"}
