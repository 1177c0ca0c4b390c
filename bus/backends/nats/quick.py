"""Reads entries of a fleet over a plain socket, at once or not at all.

For a shell that completes a word: a person waits for it after each key, which is no time to import
a client library. It speaks as much of the NATS protocol as two questions need: no TLS, no renewed
connection, no promise.
"""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from bus.backends.nats.names import names_of
from bus.backends.nats.wire import parse_headers, pub
from bus.keyvalue.nats_keys import filter_of, is_marker, key_of

_MOST = 500
"""Entries of one answer."""


class _Line:
    """A connection that asks one thing after the other until `end`, by the monotonic clock."""

    def __init__(self, connection: socket.socket, end: float) -> None:
        self._socket = connection
        self._stream: BinaryIO = connection.makefile("rb")
        self._end = end
        self._inbox = f"_INBOX.{os.urandom(8).hex()}"

    def greet(self, url: str) -> None:
        """Say who we are, as the client library does; listen to answers."""
        self._in_time()
        self._stream.readline()
        parts = urlsplit(url)
        told: dict[str, Any] = {"verbose": False, "headers": True, "no_responders": True}
        if parts.password is not None:
            told |= {"user": parts.username or "", "pass": parts.password}
        elif parts.username:
            told["auth_token"] = parts.username
        hello = f"CONNECT {json.dumps(told)}\r\nSUB {self._inbox} 1\r\n"
        self._socket.sendall(hello.encode())

    def ask(self, subject: str, question: object) -> Iterator[tuple[bytes, bytes | None]]:
        """The answers, each a body and a header block. Raises `OSError` when the time is up."""
        self._socket.sendall(pub(subject, self._inbox, json.dumps(question).encode()))
        while True:
            self._in_time()
            words = self._stream.readline().split()
            if not words:
                raise ConnectionError("the connection was closed")
            if words[0] == b"PING":
                self._socket.sendall(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise ConnectionError(b" ".join(words).decode("utf-8", "replace"))
            elif words[0] == b"MSG":
                yield self._exactly(int(words[-1])), None
            elif words[0] == b"HMSG":
                block = self._stream.read(int(words[-2]))
                yield self._exactly(int(words[-1]) - len(block)), block

    def _exactly(self, size: int) -> bytes:
        body = self._stream.read(size + 2)
        if len(body) < size + 2:
            raise ConnectionError("the connection was closed")
        return body[:size]

    def _in_time(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        self._socket.settimeout(left)


@contextmanager
def _line(url: str, within: float) -> Iterator[_Line]:
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 4222)
    end = time.monotonic() + within
    with socket.create_connection(address, timeout=within) as connection:
        line = _Line(connection, end)
        line.greet(url)
        yield line


def keys(url: str, fleet: str, prefix: str, *, within: float) -> list[str]:
    """The keys under `prefix`; one that went in the last seconds may be among them. Raises
    `OSError` where that takes longer than `within` seconds or cannot be asked, `ValueError` for an
    answer that cannot be read."""
    names, root = names_of(fleet), _root(fleet)
    question = {"subjects_filter": filter_of(root, prefix)}
    with _line(url, within) as line:
        body, _ = next(line.ask(f"$JS.API.STREAM.INFO.{names.bucket}", question))
    subjects = json.loads(body or b"{}").get("state", {}).get("subjects") or {}
    return sorted(key_of(root, subject) for subject in subjects)


def entries(url: str, fleet: str, prefix: str, *, within: float) -> dict[str, bytes]:
    """Up to 500 entries under `prefix`, and their keys. Raises as `keys`."""
    names, root = names_of(fleet), _root(fleet)
    question = {"multi_last": [filter_of(root, prefix)], "batch": _MOST}
    found: dict[str, bytes] = {}
    with _line(url, within) as line:
        for body, block in line.ask(f"$JS.API.DIRECT.GET.{names.bucket}", question):
            headers = parse_headers(block)
            if headers.status:
                break
            if not is_marker(headers):
                found[key_of(root, headers.server["Nats-Subject"])] = body
    return found


def _root(fleet: str) -> str:
    return f"$KV.{names_of(fleet).bucket.removeprefix('KV_')}"
