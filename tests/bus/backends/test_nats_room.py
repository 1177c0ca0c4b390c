"""The limit of a fleet's bytes on NATS: one for all its processes."""

import uuid

import pytest

from bus.backend import Message
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.errors import Full
from bus.fullness import MAX_BYTES
from contracts.clock import SystemClock
from tests.servers import NatsServer

pytestmark = pytest.mark.nats


async def said(server: NatsServer, fleet: str, max_bytes: int | None) -> str:
    """What a process with this setting is told when it publishes more than fits anywhere."""
    link = await connect(
        server.url, fleet=fleet, lease=2.0, clock=SystemClock(), max_bytes=max_bytes
    )
    backend = NatsBackend(link)
    await backend.bind("g", ["work.#"])
    body = bytes(900_000)
    messages = [Message(f"m{n}", 0, "work.a", body) for n in range(12_000)]
    with pytest.raises(Full) as caught:
        await backend.publish(messages)
    await backend.close()
    await link.close()
    return caught.value.message


@pytest.mark.promise(21)
async def test_the_limit_is_the_fleets_and_the_last_one_set_holds(nats_server: NatsServer) -> None:
    fleet = f"t{uuid.uuid4().hex[:12]}"
    assert f"of {MAX_BYTES:,} bytes" in await said(nats_server, fleet, None)
    assert "of 5,000,000 bytes" in await said(nats_server, fleet, 5_000_000)
    assert "of 5,000,000 bytes" in await said(nats_server, fleet, None)
    assert "of 7,000,000 bytes" in await said(nats_server, fleet, 7_000_000)
    assert "of 7,000,000 bytes" in await said(nats_server, fleet, None)
