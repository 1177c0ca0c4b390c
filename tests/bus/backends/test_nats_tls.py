"""TLS and credentials on a real server; every refusal is one clear error, soon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.errors import AccessDenied, Unreachable
from contracts.clock import SystemClock
from tests.bus.conformance.steps import ORDER, ids, task, total
from tests.certificates import issued
from tests.servers import NatsServer

pytestmark = pytest.mark.nats


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[NatsServer, Path]]:
    """A server that wants TLS and a password, and the file of its authority."""
    files = issued(tmp_path)
    more = (
        f'tls {{ cert_file: "{files.chain}", key_file: "{files.key}" }}\n'
        "authorization { user: ada, password: secret }\n"
    )
    server = NatsServer(tmp_path / "nats", more=more)
    server.start()
    yield server, files.authority
    server.stop()


def address(server: NatsServer, scheme: str, password: str) -> str:
    """The server's url with credentials."""
    return server.url.replace("nats://127.0.0.1", f"{scheme}://ada:{password}@localhost")


async def test_a_trusted_server_carries_tasks(
    secured: tuple[NatsServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    link = await connect(address(server, "tls", "secret"), fleet="t", clock=SystemClock())
    backend = NatsBackend(link)
    await backend.bind("g", ["work.#"])
    await backend.publish([task("a")])
    held = await backend.pull("g", ORDER, limit=1, wait=5.0)
    assert ids(held) == ["a"]
    assert await backend.settle(held) == []
    assert total(await backend.lag("g"), "waiting") == 0
    await backend.close()
    await link.close()


@pytest.mark.parametrize("scheme", ["tls", "nats"])
async def test_a_certificate_nobody_trusts_is_named_soon(
    secured: tuple[NatsServer, Path], scheme: str
) -> None:
    """Before, closing the socket of the failed handshake waited for ever."""
    url = address(secured[0], scheme, "secret")
    with pytest.raises(Unreachable) as caught:
        await connect(url, fleet="t", clock=SystemClock(), connect_timeout=3.0)
    assert "certificate" in caught.value.message
    assert "secret" not in str(caught.value)
    assert "SSL_CERT_FILE" in caught.value.actions[0]


async def test_a_wrong_password_over_tls_is_refused_at_once(
    secured: tuple[NatsServer, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, authority = secured
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with pytest.raises(AccessDenied):
        await connect(address(server, "tls", "wrong"), fleet="t", clock=SystemClock())
