"""Probes over HTTP: what is answered, what is refused, and what a bad client costs."""

import asyncio
import json
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest

from deploy.errors import PortTaken
from workers.health import endpoint
from workers.health.endpoint import Endpoint, Page
from workers.settings import SettingsError

GOOD = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


def _up() -> Page:
    return Page(HTTPStatus.OK, b'{"alive": true}\n')


def _down() -> Page:
    return Page(HTTPStatus.SERVICE_UNAVAILABLE, b'{"ready": false}\n')


@pytest.fixture
def served() -> Iterator[Endpoint]:
    """An endpoint with one page that is well and one that is not."""
    made = Endpoint({"/livez": _up, "/readyz": _down})
    made.start("127.0.0.1", 0)
    yield made
    made.close()


def connected(served: Endpoint) -> socket.socket:
    """A connection to it."""
    parts = urlsplit(served.url)
    assert parts.hostname is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=5)


def said(served: Endpoint, request: bytes) -> bytes:
    """All it answers to these bytes until it closes the connection."""
    with connected(served) as client:
        client.sendall(request)
        return everything(client)


def everything(client: socket.socket) -> bytes:
    """What comes until the end."""
    parts: list[bytes] = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_a_page_is_answered_as_kubernetes_and_browsers_ask(served: Endpoint) -> None:
    with urllib.request.urlopen(f"{served.url}/livez?verbose", timeout=5) as answer:  # noqa: S310
        assert (answer.status, json.load(answer)) == (200, {"alive": True})
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
    probe = b"GET /readyz HTTP/1.1\r\nHost: 10.0.0.1:80\r\nUser-Agent: kube-probe/1.33\r\n"
    head, _, body = said(served, probe + b"Accept: */*\r\nConnection: close\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert json.loads(body) == {"ready": False}


def test_head_is_answered_without_a_body(served: Endpoint) -> None:
    answer = said(served, b"HEAD /livez HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Content-Length: 16\r\nCache-Control: no-store\r\n"
                           b"Connection: close\r\n\r\n")  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /livez/ HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"POST /livez HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}", 405),
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /livez HTTP/2.0\r\nHost: h\r\n\r\n", 400),
        (b"GET  /livez HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET livez HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: h\x00\r\n\r\n", 400),
        (b"GET /li\nvez HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: h\r\n\r\n", 431),
        (b"GET /livez HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 60_000, 431),
    ],
)
def test_what_is_wrong_or_too_long_is_refused(
    served: Endpoint, request_: bytes, status: int
) -> None:
    """The client gets its answer, also when it sends more than is read, and then the end."""
    answer = said(served, request_)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer
    assert said(served, GOOD).startswith(b"HTTP/1.1 200 ")


def test_half_a_request_is_refused_and_none_is_not(served: Endpoint) -> None:
    for sent, answer in ((b"GET /livez", b"HTTP/1.1 400 "), (b"", b"")):
        with connected(served) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            assert everything(client)[: len(answer) or None] == answer


def test_a_client_that_hangs_is_cut_off(served: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it never speaks, never ends, or never goes away."""
    monkeypatch.setattr(endpoint, "_PATIENCE", 0.5)
    for sent in (b"", b"GET /livez HTTP/1.1\r\n", GOOD):
        with connected(served) as client:
            client.sendall(sent)
            started = time.monotonic()
            try:
                everything(client)
                if sent == GOOD:
                    client.sendall(b"x")
                    time.sleep(1.0)
                    client.sendall(b"x")
                    client.sendall(b"x")
                    pytest.fail("it may still send")
            except OSError:
                pass
            assert time.monotonic() - started < 2.5


def test_many_that_hang_keep_nobody_out(served: Endpoint) -> None:
    """The oldest go first."""
    hanging = [connected(served) for _ in range(100)]
    try:
        for _ in range(5):
            assert said(served, GOOD).startswith(b"HTTP/1.1 200 ")
    finally:
        for client in hanging:
            client.close()


def test_a_taken_port_and_a_foreign_address_are_clear_errors(served: Endpoint) -> None:
    port = urlsplit(served.url).port
    assert port is not None
    with pytest.raises(PortTaken) as taken:
        Endpoint({}).start("127.0.0.1", port)
    assert str(port) in taken.value.message
    for host in ("192.0.2.1", "no such host"):
        with pytest.raises(SettingsError) as wrong:
            Endpoint({}).start(host, 0)
        assert host in wrong.value.message
        assert wrong.value.actions


def test_one_that_is_closed_listens_no_longer() -> None:
    made = Endpoint({"/livez": _up})
    made.start("127.0.0.1", 0)
    with connected(made) as client:
        made.close()
        with pytest.raises(ConnectionRefusedError):
            connected(made)
        client.close()
    Endpoint({}).close()


def test_a_page_that_takes_its_time_keeps_no_other_waiting() -> None:
    """And has a type of its own."""
    asked, told = threading.Event(), asyncio.Event()

    async def slow() -> Page:
        asked.set()
        await told.wait()
        return Page(HTTPStatus.OK, b"figures 1\n", "text/plain")

    async def go_on() -> Page:
        told.set()
        return _up()

    served = Endpoint({"/metrics": slow, "/livez": _up, "/go": go_on})
    served.start("127.0.0.1", 0)
    try:
        with connected(served) as client:
            client.sendall(GOOD.replace(b"livez", b"metrics"))
            assert asked.wait(2.0)
            assert said(served, GOOD).endswith(b'{"alive": true}\n')
            said(served, GOOD.replace(b"livez", b"go"))
            answer = everything(client)
    finally:
        served.close()
    assert b"\r\nContent-Type: text/plain\r\n" in answer
    assert answer.endswith(b"figures 1\n")
