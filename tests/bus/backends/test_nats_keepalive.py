"""A NATS connection on which nothing comes is noticed, dropped and made anew; no other is."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from bus.backend import HIGH, LOW, NORMAL, RETRY, Message
from bus.backends.nats import ear, keepalive
from bus.backends.nats import pull as pulling
from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.client import NatsClient
from bus.backends.nats.connect import connect
from bus.backends.nats.link import NatsLink
from bus.backends.nats.wire import pub
from bus.errors import Unreachable
from contracts.clock import SystemClock
from tests.proxy import proxied
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

LANES = (HIGH, RETRY, NORMAL, LOW)
MUCH = 32 * 1024 * 1024
"""Bytes that no socket takes at once."""


@asynccontextmanager
async def linked(url: str) -> AsyncIterator[NatsLink]:
    """A link of a fleet of its own."""
    fleet = f"t{uuid.uuid4().hex[:12]}"
    link = await connect(url, fleet=fleet, lease=2.0, clock=SystemClock())
    try:
        yield link
    finally:
        await link.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five looks in half a second instead of in two and a half."""
    monkeypatch.setattr(keepalive, "_BEAT", 0.1)


def event_of(callbacks: list[object]) -> asyncio.Event:
    """Set when these are called."""
    happened = asyncio.Event()
    callbacks.append(happened.set)
    return happened


@pytest.mark.promise(16)
async def test_a_network_that_swallows_everything_is_noticed_in_five_seconds(
    nats_server: NatsServer,
) -> None:
    """16: although much is unsent and TCP says nothing; and what waits on it hears of that."""
    async with proxied(nats_server.url) as proxy, linked(proxy.url) as link:
        await link.echo()
        lost, back = event_of(link.lost), event_of(link.back)  # type: ignore[arg-type]
        proxy.hang()
        started = time.monotonic()
        link.send(pub("nobody.listens", "", bytes(900_000)) * (MUCH // 900_000))
        asked = asyncio.create_task(link.echo())
        async with asyncio.timeout(6.5):
            await lost.wait()
        with pytest.raises(Unreachable):
            await asked
        assert time.monotonic() - started > 4.0, "a moment of silence is no lost connection"
        await proxy.mend()
        async with asyncio.timeout(5):
            await back.wait()
            await link.echo()


@pytest.mark.promise(16)
@pytest.mark.usefixtures("hasty")
async def test_a_reader_that_ended_unheard_is_replaced(nats_server: NatsServer) -> None:
    """16: the connection stands, the server answers, and nobody reads it."""
    async with linked(nats_server.url) as link:
        backend = NatsBackend(link)
        await backend.bind("g", ["work.#"])
        back = event_of(link.back)  # type: ignore[arg-type]
        waiting = asyncio.create_task(backend.pull("g", LANES, limit=1, wait=20))
        reader = link.client._reading_task
        assert reader is not None
        reader.cancel()
        async with asyncio.timeout(5):
            with pytest.raises(Unreachable):
                await waiting
            await back.wait()
            await backend.publish([Message("m", 0, "work.a", b"{}")])
            (found,) = await backend.pull("g", LANES, limit=1, wait=5)
        assert found.message.id == "m"
        await backend.close()


async def test_closing_does_not_wait_for_a_cut_network(nats_server: NatsServer) -> None:
    """It has two seconds to send what is unsent; before, it waited as long as TCP does."""
    async with proxied(nats_server.url) as proxy, linked(proxy.url) as link:
        proxy.hang()
        link.send(pub("nobody.listens", "", bytes(900_000)) * (MUCH // 900_000))
        async with asyncio.timeout(4):
            await link.close()


@pytest.mark.usefixtures("hasty")
async def test_a_process_that_stood_still_drops_no_connection(nats_server: NatsServer) -> None:
    """What came meanwhile is read first; the silence was our own."""
    async with linked(nats_server.url) as link:
        lost = event_of(link.lost)  # type: ignore[arg-type]
        for _ in range(3):
            await link.echo()
            time.sleep(1.5)  # noqa: ASYNC251 - this is what is tested
        await asyncio.sleep(0.5)
        assert not lost.is_set()


@pytest.mark.usefixtures("hasty")
async def test_a_silent_connection_is_asked_seldom(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """18: every twenty looks while nothing is to come, every six while something is."""
    asked: list[float] = []
    ping = NatsClient.ping

    def counted(client: NatsClient) -> None:
        asked.append(time.monotonic())
        ping(client)

    monkeypatch.setattr(NatsClient, "ping", counted)
    async with linked(nats_server.url) as link:
        lost = event_of(link.lost)  # type: ignore[arg-type]
        await link.echo()
        await asyncio.sleep(4.5)
        assert 1 <= len(asked) <= 2
        link.listen("something.else", lambda *_: None)
        await asyncio.sleep(2.0)
        assert 3 <= len(asked) <= 6
        assert not lost.is_set()


@pytest.mark.promise(16)
async def test_a_waiting_request_that_is_never_answered_is_made_anew(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16: the server has forgotten where our messages go, and says nothing of that."""
    monkeypatch.setattr(pulling, "BELL", 0.25)  # for each of four consumers
    monkeypatch.setattr(ear, "_OVERDUE", 0.5)
    async with linked(nats_server.url) as link:
        backend = NatsBackend(link)
        await backend.bind("g", ["work.#"])
        waiting = asyncio.create_task(backend.pull("g", LANES, limit=1, wait=20))
        await asyncio.sleep(0.3)
        (pulls,) = backend._pulls.values()
        (puller,) = pulls._busy
        assert puller._ear is not None
        link.send(f"UNSUB {puller._ear._sid}\r\n".encode())
        await link.echo()
        await backend.publish([Message("m", 0, "work.a", b"{}")])
        async with asyncio.timeout(4):
            (found,) = await waiting
        assert found.message.id == "m"
        await backend.close()


async def test_attempts_to_reconnect_that_fail_leave_nothing_open(nats_server: NatsServer) -> None:
    """However long the server hangs: each attempt ends its own socket."""
    async with proxied(nats_server.url) as proxy, linked(proxy.url) as link:
        link.client.options["connect_timeout"] = 0.1
        proxy.hang()
        await link.client.drop()
        async with asyncio.timeout(10):
            await proxy.until_connected(8)
        ours = psutil.Process().net_connections("tcp")
        assert sum(c.raddr[1:] == (proxy.port,) for c in ours) <= 2
        await proxy.mend()
        async with asyncio.timeout(5):
            await link.echo()
