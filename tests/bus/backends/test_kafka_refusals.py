"""Credentials, TLS, and which of the two servers is away: each refusal is one clear error, soon."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus.backends.choice import open_parts
from bus.errors import AccessDenied, DatabaseUnreachable, Unreachable, Unsafe
from bus.opening import Terms
from contracts.clock import SystemClock
from contracts.errors import InvalidValue
from deploy import ports
from tests.bus.conformance.steps import ORDER, ids, task
from tests.certificates import issued
from tests.kafka_server import PASSWORD, USER, KafkaServer
from tests.servers import PostgresServer

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[tuple[KafkaServer, Path]]:
    """A server that also takes TLS, and the file of its authority."""
    folder = tmp_path_factory.mktemp("secured")
    files = issued(folder)
    with postgres_server.fresh_database() as database:
        server = KafkaServer(folder / "kafka", postgres_server, database, secure=folder)
        server.start()
        yield server, files.authority
        server.stop()


def terms(server: KafkaServer, url: str) -> Terms:
    """What a process brings that uses this url."""
    database = server.database
    return Terms(url=url, fleet="t", clock=SystemClock(), database=database, patience=2.0)


async def works(given: Terms) -> None:
    """The test fails unless a task goes through."""
    parts = await open_parts(given)
    await parts.backend.bind("g", ["work.#"])
    await parts.backend.publish([task("a")])
    found = await parts.backend.pull("g", ORDER, limit=1, wait=5.0)
    assert ids(found) == ["a"]
    await parts.backend.settle(found)
    await parts.backend.unbind("g", drop=True)
    await parts.backend.close()
    await parts.store.close()
    await parts.close()


async def test_a_trusted_server_carries_tasks(
    secured: tuple[KafkaServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    await works(terms(server, server.tls_url))


async def test_a_certificate_nobody_trusts_is_named_soon(
    secured: tuple[KafkaServer, Path],
) -> None:
    server, _ = secured
    with pytest.raises(Unreachable) as caught:
        await open_parts(terms(server, server.tls_url))
    assert "certificate" in caught.value.message
    assert "s3cret" not in str(caught.value)
    assert "SSL_CERT_FILE" in caught.value.actions[0]


async def test_a_name_and_a_password_are_enough_without_tls(
    secured: tuple[KafkaServer, Path],
) -> None:
    await works(terms(secured[0], secured[0].login_url))


async def test_a_password_that_is_no_secret_of_the_server_file_is_enough(
    secured: tuple[KafkaServer, Path],
) -> None:
    """SCRAM: an operator has set it while the server ran, and sets another."""
    server, _ = secured
    url = f"{server.login_url.replace(f'{USER}:{PASSWORD}', 'ada:r1ght')}?login=SCRAM-SHA-256"
    await asyncio.to_thread(server.scram, "ada", "r1ght")
    await works(terms(server, url))
    await asyncio.to_thread(server.scram, "ada", "an0ther")
    with pytest.raises(AccessDenied) as caught:
        await open_parts(terms(server, url))
    assert "r1ght" not in " ".join(caught.value.lines())
    await works(terms(server, url.replace("r1ght", "an0ther")))


async def test_a_wrong_password_is_refused_at_once(
    secured: tuple[KafkaServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With and without TLS; the password is not shown."""
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    for url in (server.login_url, server.tls_url):
        with pytest.raises(AccessDenied) as caught:
            await open_parts(terms(server, url.replace("s3cret", "wr0ng")))
        assert "wr0ng" not in str(caught.value)


async def test_it_is_said_which_of_the_two_servers_is_away(kafka_server: KafkaServer) -> None:
    nobody = f"127.0.0.1:{ports.free()}"
    with pytest.raises(Unreachable) as caught:
        await open_parts(terms(kafka_server, f"kafka://{nobody}"))
    assert f"the Kafka at kafka://{nobody}" in caught.value.details
    away = replace(terms(kafka_server, kafka_server.url), database=f"postgresql://{nobody}/x")
    with pytest.raises(DatabaseUnreachable) as caught:
        await open_parts(away)
    assert f"the PostgreSQL at {nobody}" in caught.value.details


async def test_a_fleet_without_a_bus_database_is_refused(kafka_server: KafkaServer) -> None:
    """With the setting that is missing."""
    with pytest.raises(Unsafe) as caught:
        await open_parts(replace(terms(kafka_server, kafka_server.url), database=None))
    assert "bus.database" in caught.value.actions[0]


@pytest.mark.parametrize("fleet", ["", "a.b", "ä", "x" * 40])
async def test_a_fleet_that_cannot_name_a_topic_is_refused(
    kafka_server: KafkaServer, fleet: str
) -> None:
    with pytest.raises(InvalidValue):
        await open_parts(replace(terms(kafka_server, kafka_server.url), fleet=fleet))
