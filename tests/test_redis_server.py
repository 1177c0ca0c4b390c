"""The Redis server that other tests rely on does what its methods say."""

import socket
from collections.abc import Callable

import psutil
import pytest

from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


def said(server: RedisServer, command: bytes, *, timeout: float = 5.0) -> bytes | None:
    """The first bytes of its answer; None where none comes."""
    port = int(server.url.rpartition(":")[2])
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as raw:
            raw.sendall(command)
            return raw.recv(4096)
    except OSError:
        return None


def test_what_was_written_survives_a_kill(own_redis: Callable[..., RedisServer]) -> None:
    server = own_redis()
    first, url = server.pid, server.url
    assert said(server, b"SET kept here\r\n") == b"+OK\r\n"
    server.kill()
    assert not psutil.pid_exists(first)
    assert said(server, b"PING\r\n") is None
    server.restart()
    assert server.url == url
    assert said(server, b"GET kept\r\n") == b"$4\r\nhere\r\n"


def test_a_frozen_server_is_silent_until_it_is_thawed(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis()
    server.freeze()
    assert said(server, b"PING\r\n", timeout=0.3) is None
    server.thaw()
    assert said(server, b"PING\r\n") == b"+PONG\r\n"
    server.freeze()
    server.stop()


def test_every_write_is_synced_and_more_may_be_configured(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis("maxmemory 50mb")
    assert b"always" in (said(server, b"CONFIG GET appendfsync\r\n") or b"")
    assert b"52428800" in (said(server, b"CONFIG GET maxmemory\r\n") or b"")
