"""The servers that other tests rely on do what their methods say."""

import asyncio
from collections.abc import Callable

import asyncpg
import nats
import psutil
import pytest

from deploy import nats_server as program
from tests.servers import NatsServer, PostgresServer, missing

pytestmark = [pytest.mark.nats, pytest.mark.postgres]


def _port(server: NatsServer) -> int:
    return int(server.url.rpartition(":")[2])


async def test_the_shared_server_has_jetstream(nats_server: NatsServer) -> None:
    connection = await nats.connect(nats_server.url)
    try:
        account = await connection.jetstream().account_info()
        assert account.streams >= 0
    finally:
        await connection.close()


async def test_what_was_acknowledged_survives_a_kill(own_nats: Callable[[], NatsServer]) -> None:
    server = own_nats()
    first_pid = server.pid
    connection = await nats.connect(server.url)
    await connection.jetstream().add_stream(name="kept", subjects=["kept"])
    await connection.jetstream().publish("kept", b"here")
    await connection.close()

    server.kill()
    assert not psutil.pid_exists(first_pid)
    assert program.greeting(_port(server)) is None
    server.restart()

    connection = await nats.connect(server.url)
    message = await connection.jetstream().get_msg("kept", seq=1)
    await connection.close()
    assert message.data == b"here"
    assert server.pid != first_pid


def test_a_frozen_server_is_silent_until_it_is_thawed(own_nats: Callable[[], NatsServer]) -> None:
    server = own_nats()
    server.freeze()
    assert program.greeting(_port(server), timeout=0.3) is None
    server.thaw()
    assert program.greeting(_port(server), timeout=5.0) is not None


def test_a_frozen_server_can_be_stopped(own_nats: Callable[[], NatsServer]) -> None:
    server = own_nats()
    pid = server.pid
    server.freeze()
    server.stop()
    assert not psutil.pid_exists(pid)


def test_two_servers_share_nothing(own_nats: Callable[[], NatsServer]) -> None:
    one, other = own_nats(), own_nats()
    assert one.url != other.url
    assert one.folder != other.folder


async def test_every_test_has_an_empty_database_of_its_own(
    postgres_server: PostgresServer, history_url: str
) -> None:
    connection = await asyncpg.connect(history_url)
    await connection.execute("CREATE TABLE mine()")
    with postgres_server.fresh_database() as other:
        elsewhere = await asyncpg.connect(other)
        assert await elsewhere.fetchval("SELECT to_regclass('mine')") is None
        await elsewhere.close()
    await connection.close()


async def test_what_was_committed_survives_a_kill_of_postgres(
    own_postgres: Callable[[], PostgresServer],
) -> None:
    server = own_postgres()
    first_pid, url = server.pid, server.url
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.kill()
    connection.terminate()
    server.restart()
    assert (server.pid != first_pid, server.url) == (True, url)
    assert server.run("SELECT one FROM kept") == "1"


async def test_a_frozen_postgres_is_silent_until_it_is_thawed(
    own_postgres: Callable[[], PostgresServer],
) -> None:
    server = own_postgres()
    connection = await asyncpg.connect(server.url)
    server.freeze()
    asking = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait({asking}, timeout=0.3)
    assert not done
    server.thaw()
    assert await asking == 1
    await connection.close()


@pytest.mark.parametrize("value", ["nats", "redis, nats", "all"])
def test_a_missing_server_that_is_required_fails(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_REQUIRE", value)
    with pytest.raises(pytest.fail.Exception, match="required by MUSTER_REQUIRE"):
        missing("nats", "not installed")


@pytest.mark.parametrize("value", ["", "redis"])
def test_a_missing_server_that_is_not_required_skips(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_REQUIRE", value)
    with pytest.raises(pytest.skip.Exception, match="not installed"):
        missing("nats", "not installed")
