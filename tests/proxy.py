"""A network that can be cut: a TCP proxy between clients and a server on loopback."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from deploy import ports

_CHUNK = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes closing a socket send RST."""

_POSTGRES = ".s.PGSQL.5432"
"""What a PostgreSQL calls its socket in a folder."""


class Proxy:
    """Passes bytes between whoever connects to `port` and the server at `url`, on loopback, or a
    PostgreSQL whose socket lies in a folder.

    `hang`: nothing passes any more in either direction, and nobody hears of it; what is sent
    meanwhile passes when `mend` is called. New connections stand, and hear nothing. `cut`: every
    connection is reset and new ones are refused until `mend`. `slow`: what the server says comes
    late, piece by piece. `made`: connections there ever were; `latest`: when the last of them came,
    by the monotonic clock.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        (self._folder,) = parse_qs(parts.query).get("host", [""])
        assert parts.port is not None or self._folder
        self.port = ports.free()
        self.made = 0
        self.latest = 0.0
        self._parts = parts._replace(query="") if self._folder else parts
        self._target = parts.port
        self._passing = asyncio.Event()
        self._passing.set()
        self._late = 0.0
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.StreamWriter] = set()
        self._pairs: set[asyncio.Task[None]] = set()
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        """The server's address, with this port."""
        who, at, _ = self._parts.netloc.rpartition("@")
        return self._parts._replace(netloc=f"{who}{at}{ports.LOOPBACK}:{self.port}").geturl()

    @property
    def connections(self) -> int:
        """Connections that stand now."""
        return len(self._pairs)

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._connected, ports.LOOPBACK, self.port)

    def hang(self) -> None:
        """Swallow everything without a word."""
        self._passing.clear()

    def slow(self, seconds: float) -> None:
        """Let each piece of what the server says wait for so long, and what comes meanwhile for the
        one before it."""
        self._late = seconds

    async def cut(self) -> None:
        """Reset every connection and refuse new ones."""
        await self._refuse()
        for stream in self._streams:
            raw = stream.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            stream.transport.abort()

    async def mend(self) -> None:
        """Pass everything again."""
        self._passing.set()
        if self._server is None:
            await self.start()

    async def until_connected(self, count: int) -> None:
        """Return when at least so many connections stand."""
        async with self._news:
            await self._news.wait_for(lambda: self.connections >= count)

    async def close(self) -> None:
        """End every connection."""
        await self._refuse()
        for stream in self._streams:
            stream.transport.abort()
        for pair in self._pairs:
            pair.cancel()
        await asyncio.gather(*self._pairs, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted closes its socket in the next turn

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pair = asyncio.current_task()
        assert pair is not None
        self.made += 1
        self.latest = time.monotonic()
        self._pairs.add(pair)
        self._streams.add(writer)
        await self._tell()
        try:
            await self._passing.wait()
            await self._pass(reader, writer, *await self._connect())
        except OSError:
            writer.transport.abort()
        except asyncio.CancelledError:
            return  # only `close` does that; the server of asyncio would print it
        finally:
            writer.close()
            self._streams.discard(writer)
            self._pairs.discard(pair)
            await self._tell()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._folder:
            return await asyncio.open_unix_connection(f"{self._folder}/{_POSTGRES}")
        return await asyncio.open_connection(ports.LOOPBACK, self._target)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._streams.add(to_server)
        ways = [
            asyncio.create_task(self._one_way(reader, to_server)),
            asyncio.create_task(self._one_way(from_server, writer, said=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._streams.discard(to_server)
            to_server.close()  # first: `close` may cut off what is waited for
            await asyncio.gather(*ways, return_exceptions=True)

    async def _one_way(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, said: bool = False
    ) -> None:
        """`said`: by the server."""
        while data := await reader.read(_CHUNK):
            if said:
                await asyncio.sleep(self._late)
            await self._passing.wait()
            writer.write(data)
            await writer.drain()

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy before the server at `url`."""
    proxy = Proxy(url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
