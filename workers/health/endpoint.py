"""A tiny HTTP server for probes: GET and HEAD of a few pages, everything else is refused.

It runs in a thread with an event loop of its own, so that it answers while a handler blocks the
loop of the worker. One request per connection (RFC 9112 allows that: `Connection: close`); a
client that hangs is cut off after `_PATIENCE` seconds, or sooner when `_MOST` are connected.
"""

import asyncio
import errno
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from deploy import ports
from deploy.errors import PortTaken
from workers.settings import SettingsError

_PATIENCE = 2.0
"""Seconds from connecting to the last byte."""

_MOST = 32
"""Connections at once; one more ends the oldest, which has had time enough."""

_LONGEST = 4096
"""Bytes of a request: line and headers."""

_TURNS = 5
"""Turns of the loop in which a connection that was being taken is one of ours."""

_UNREAD = 64 * 1024
"""Bytes read and thrown away after the answer: closing before that may cost the client the answer
(RFC 9112, 9.6)."""

_LINE = re.compile(rb"([!#$%&'*+.^_`|~\w-]+) (/[!-~]*) HTTP/1\.([01])", re.ASCII)
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~\w-]+:[\t\x20-\x7e\x80-\xff]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page:
    """What a path answers; `kind` is the type of its body."""

    status: HTTPStatus
    body: bytes
    kind: str = "application/json"


Answer = Callable[[], Page | Awaitable[Page]]
"""Makes a page."""


class Endpoint:
    """Serves `pages` by path from `start` until `close`. They are called in its thread; one that
    takes its time is awaited there, and keeps no other waiting."""

    def __init__(self, pages: Mapping[str, Answer]) -> None:
        self.url = ""
        self._pages = pages
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._running = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, host: str, port: int) -> None:
        """Listen at `host` and `port`, 0 for any free one; `url` says where. Raises `PortTaken`,
        or `SettingsError` when one cannot listen there."""
        listening = _listen(host, port)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listening.getsockname()[1]}"
        self._thread = threading.Thread(
            target=self._run, args=(listening,), name="health", daemon=True
        )
        self._thread.start()
        self._running.wait()

    def close(self) -> None:
        """Listen no longer; returns when the thread has ended."""
        if self._thread is None or self._loop is None or self._end is None:
            return
        with suppress(RuntimeError):  # its loop has ended by itself
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(_PATIENCE)

    def _run(self, listening: socket.socket) -> None:
        try:
            asyncio.run(self._serve(listening))
        finally:
            self._running.set()

    async def _serve(self, listening: socket.socket) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._talk, sock=listening, limit=_LONGEST)
        self._running.set()
        await self._end.wait()
        # Python 3.11 leaks a connection that is taken while its server is closed.
        self._loop.remove_reader(listening.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        server.close()
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)

    def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= _MOST:
            next(iter(self._open.values())).transport.abort()
        task = asyncio.create_task(self._talk_for_a_while(reader, writer))
        self._open[task] = writer
        task.add_done_callback(lambda _: self._open.pop(task))

    async def _talk_for_a_while(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._answer(reader, writer)
        except (OSError, TimeoutError):
            writer.transport.abort()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer = _refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return
            answer = _refusal(HTTPStatus.BAD_REQUEST)
        else:
            answer = await self._respond(request)
        writer.write(answer)
        writer.write_eof()
        await writer.drain()
        left = _UNREAD
        while left > 0 and (unread := await reader.read(_LONGEST)):
            left -= len(unread)

    async def _respond(self, request: bytes) -> bytes:
        """The answer to line and headers of a request."""
        first, *headers = request[:-4].split(b"\r\n")
        line = _LINE.fullmatch(first)
        if line is None or not all(map(_HEADER.fullmatch, headers)):
            return _refusal(HTTPStatus.BAD_REQUEST)
        method, path, minor = line.groups()
        hosts = sum(header.lower().startswith(b"host:") for header in headers)
        if hosts > 1 or (minor == b"1" and not hosts):
            return _refusal(HTTPStatus.BAD_REQUEST)
        if method not in {b"GET", b"HEAD"}:
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, "Allow: GET, HEAD\r\n")
        make = self._pages.get(path.partition(b"?")[0].decode())
        if make is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        page = make()
        if isinstance(page, Awaitable):
            page = await page
        return _written(page, "", with_body=method == b"GET")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(port, ports.owner(port)) from error
        raise SettingsError(
            f"nobody can listen at {host} port {port}",
            details=f"health.host and health.port say so: {error.strerror or error}",
            actions=("set them to an address of this machine and a port from 1024 on",),
        ) from error


def _refusal(status: HTTPStatus, more: str = "") -> bytes:
    body = b'{"error": "%b"}\n' % status.phrase.encode()
    return _written(Page(status, body), more, with_body=True)


def _written(page: Page, more: str, *, with_body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n"
        f"Content-Type: {page.kind}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        f"Cache-Control: no-store\r\n{more}Connection: close\r\n\r\n"
    )
    return head.encode() + (page.body if with_body else b"")
