"""The servers that other tests rely on do what their methods say."""

from collections.abc import Callable

import nats
import psutil
import pytest

from deploy import nats_server as program
from tests.servers import NatsServer, missing

pytestmark = pytest.mark.nats


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
