"""Entries read over a plain socket: the same as by the client, or nothing in time."""

import socket
import time
from pathlib import Path
from threading import Thread

import pytest

from bus.backends.nats import quick
from bus.backends.nats.connect import connect
from bus.keyvalue.nats import NatsKeyValue
from contracts.clock import SystemClock
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

WITHIN = 5.0


async def fill(url: str, fleet: str, *keys: str) -> None:
    """Put these entries, and one that goes again."""
    link = await connect(url, fleet=fleet, clock=SystemClock())
    store = NatsKeyValue(link)
    for key in keys:
        await store.put(key, key.encode())
    await store.put("dead/g/gone", b"")
    await store.delete("dead/g/gone")
    await store.close()
    await link.close()


async def test_keys_and_values_are_those_the_client_has_put(nats_server: NatsServer) -> None:
    """Whatever characters they have; what was deleted has no value."""
    keys = ("dead/g/t 1.*>ä", "dead/h/t2", "other/x")
    await fill(nats_server.url, "quick", *keys)
    found = quick.keys(nats_server.url, "quick", "dead/", within=WITHIN)
    assert set(keys[:2]) <= set(found)
    entries = quick.entries(nats_server.url, "quick", "dead/", within=WITHIN)
    assert entries == {key: key.encode() for key in keys[:2]}


async def test_a_fleet_nobody_has_used_has_nothing(nats_server: NatsServer) -> None:
    assert quick.keys(nats_server.url, "quick-unused", "dead/", within=WITHIN) == []
    assert quick.entries(nats_server.url, "quick-unused", "dead/", within=WITHIN) == {}


async def test_a_password_is_given_and_a_wrong_one_is_an_error(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, more='authorization { user: me, password: "secret" }\n')
    server.start()
    try:
        url = server.url.replace("//", "//me:secret@")
        await fill(url, "quick", "dead/g/t1")
        assert "dead/g/t1" in quick.keys(url, "quick", "dead/", within=WITHIN)
        with pytest.raises(OSError, match=r"(?i)authorization|closed"):
            quick.keys(server.url, "quick", "dead/", within=WITHIN)
    finally:
        server.stop()


@pytest.mark.parametrize("answers", [b"", b"INFO {}\r\n", b"INFO {}\r\nMSG x 1 99\r\n{"])
def test_a_server_that_falls_silent_costs_no_more_time_than_given(answers: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"nats://127.0.0.1:{listening.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(OSError, match=r"took too long|timed out|closed"):
            _ask(listening, url, answers)
        assert time.monotonic() - began < 2.0


def _ask(listening: socket.socket, url: str, answers: bytes) -> None:
    """Ask a server that has said all it will say."""
    held: list[socket.socket] = []

    def answer() -> None:
        held.append(listening.accept()[0])
        held[0].sendall(answers)

    thread = Thread(target=answer)
    thread.start()
    try:
        quick.keys(url, "f", "dead/", within=0.3)
    finally:
        thread.join()
        held[0].close()
