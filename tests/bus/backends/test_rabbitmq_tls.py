"""TLS on a real RabbitMQ; every refusal is one clear error, soon."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bus.backends.choice import open_parts
from bus.errors import AccessDenied, Unreachable
from bus.opening import Terms
from contracts.clock import SystemClock
from deploy import ports
from tests.bus.conformance.steps import ORDER, ids, task, total
from tests.certificates import issued
from tests.rabbitmq_server import PASSWORD, USER, RabbitServer, program, running
from tests.servers import PostgresServer

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def secured(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[tuple[RabbitServer, int, Path]]:
    """A server that speaks TLS, its port for that, and the file of its authority."""
    program()
    folder = tmp_path_factory.mktemp("rabbitmq-tls")
    files = issued(folder)
    port = ports.free()
    more = (
        f"listeners.ssl.1 = {ports.LOOPBACK}:{port}\n"
        f"ssl_options.cacertfile = {files.authority}\n"
        f"ssl_options.certfile = {files.chain}\n"
        f"ssl_options.keyfile = {files.key}\n"
    )
    with (
        postgres_server.fresh_database() as url,
        running(RabbitServer(folder / "server", postgres_server, url, more=more)) as server,
    ):
        yield server, port, files.authority


def terms(secured: tuple[RabbitServer, int, Path], password: str, query: str = "") -> Terms:
    """To its secured port."""
    url = f"amqps://{USER}:{password}@localhost:{secured[1]}/{query}"
    known = Terms(url=url, fleet="t", clock=SystemClock(), lease=2.0, patience=3.0)
    return replace(known, database=secured[0].database)


async def test_a_trusted_server_carries_tasks(secured: tuple[RabbitServer, int, Path]) -> None:
    """Its authority is named in the address."""
    parts = await open_parts(terms(secured, PASSWORD, f"?cafile={secured[2]}"))
    await parts.backend.bind("g", ["work.#"])
    await parts.backend.publish([task("a")])
    held = await parts.backend.pull("g", ORDER, limit=1, wait=5.0)
    assert ids(held) == ["a"]
    assert await parts.backend.settle(held) == []
    assert total(await parts.backend.lag("g"), "waiting") == 0
    await parts.backend.close()
    await parts.store.close()
    await parts.close()


async def test_or_its_authority_is_named_in_the_environment(
    secured: tuple[RabbitServer, int, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for NATS."""
    monkeypatch.setenv("SSL_CERT_FILE", str(secured[2]))
    with pytest.raises(AccessDenied):
        await open_parts(terms(secured, "wr0ng"))


async def test_a_certificate_nobody_trusts_is_named_soon(
    secured: tuple[RabbitServer, int, Path],
) -> None:
    """And the password is not."""
    with pytest.raises(Unreachable) as caught:
        await open_parts(terms(secured, PASSWORD + "x"))
    assert "certificate" in caught.value.message
    assert PASSWORD + "x" not in " ".join(caught.value.lines())
    assert "SSL_CERT_FILE" in caught.value.actions[0]
