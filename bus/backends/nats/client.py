"""The client library with two doors more: bytes out at once, messages in without a queue.

nats-py hands each message over through a queue and a task per subscription, and formats each
published one on its own; both cost more than the message itself. `NatsClient` keeps its
connection, its parser, its reconnecting, and passes messages of `listen` straight to a function.
It relies on these parts of nats-py (2.16), which a test holds it to: `_process_msg`, `_subs`,
`_sid`, `_transport` (and its `_io_writer`), `_ps`, `_pongs`, `_process_err`, `_process_pong`,
`_process_op_err`, `_process_connect_init`, `_attempt_reconnect`, `_server_info`.
"""

import asyncio
import logging
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.subscription import Subscription
from nats.protocol.parser import Parser

Handler = Callable[[str, str, bytes, bytes | None], None]
"""Called with subject, reply subject, body and header block; must return quickly."""

_CLOSING = 0.5
"""Seconds an attempt that failed has to close its socket."""

_LEAVING = 2.0
"""Seconds a connection that is closed has to send what is unsent and to say good-bye."""

_log = logging.getLogger(__name__)


class _Reading(Parser):
    """The library's parser, which also notes that something came."""

    nc: "NatsClient"

    async def parse(self, data: bytes = b"") -> None:
        self.nc.heard = True
        await super().parse(data)


class NatsClient(Client):
    """A connection that reconnects for ever once it was made. `heard` is set when bytes come."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = False
        self._handlers: dict[int, Handler] = {}
        self._ps = _Reading(self)

    @property
    def listening(self) -> bool:
        """Whether the server may send more than answers: somebody listens besides the inbox."""
        return len(self._subs) > 1

    @property
    def server_version(self) -> str:
        """The server's version, such as `2.15.1`."""
        return str(self._server_info.get("version", ""))

    @property
    def server_id(self) -> str:
        """What the server calls itself, and no other does."""
        return str(self._server_info.get("server_id", ""))

    @property
    def unsent(self) -> int:
        """Bytes that wait in this process to be sent."""
        transport = self._socket()
        return transport.get_write_buffer_size() if transport is not None else 0

    def ping(self) -> None:
        """Have the server answer; nobody waits for it."""
        answered: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        answered.set_result(True)
        self._pongs.append(answered)
        self.send(b"PING\r\n")

    async def drop(self) -> None:
        """Take the connection for lost, and connect again."""
        await self._process_op_err(nats.errors.StaleConnectionError())

    async def close(self) -> None:
        """As the library does, which would wait as long as a cut network takes what is unsent, and
        leave open what it was just connecting."""
        transport = self._socket()
        end = asyncio.get_running_loop().call_later(_LEAVING, _abort, transport)
        try:
            await super().close()
        except OSError:
            _log.debug("the connection ended before all was sent", exc_info=True)
        finally:
            end.cancel()
            await self._stop_reconnecting()

    async def _stop_reconnecting(self) -> None:
        """Python 3.11 may swallow the cancellation of an attempt that has just succeeded."""
        attempt = self._reconnection_task
        if attempt not in {None, asyncio.current_task()} and not attempt.done():
            attempt.cancel()
            await asyncio.wait([attempt], timeout=_CLOSING)
        _abort(self._socket())

    def listen(self, subject: str, handler: Handler) -> int:
        """Pass every message on `subject` to `handler`, also after a reconnect; return a number
        for `deafen` and `forget`. Sent at once, in order with `send`."""
        self._sid += 1
        sid = self._sid
        self.send(f"SUB {subject}  {sid}\r\n".encode())
        self._handlers[sid] = handler
        self._subs[sid] = Subscription(self, sid, subject)
        return sid

    def deafen(self, sid: int) -> None:
        """Ask the server to send no more; what is under way still comes until `forget`."""
        self._subs.pop(sid, None)
        if self.is_connected:
            self.send(f"UNSUB {sid}\r\n".encode())

    def forget(self, sid: int) -> None:
        """Drop whatever still comes."""
        self._handlers.pop(sid, None)

    def send(self, data: bytes) -> None:
        """Write protocol commands now; nothing is kept for later while there is no connection."""
        if not self.is_connected or self._transport is None:
            raise nats.errors.ConnectionReconnectingError
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait while the socket has more to send than it should."""
        if self._transport is not None:
            await self._transport.drain()  # type: ignore[no-untyped-call]

    async def abandon(self) -> None:
        """Close what an attempt to connect left open. A socket whose TLS handshake failed never
        says that it is closed."""
        transport = self._transport
        if transport is not None and transport:
            transport.close()  # type: ignore[no-untyped-call]
            try:
                async with asyncio.timeout(_CLOSING):
                    await transport.wait_closed()  # type: ignore[no-untyped-call]
            except (OSError, AttributeError):
                _log.debug("the socket was closed already", exc_info=True)

    async def _process_msg(
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes
    ) -> None:
        handler = self._handlers.get(sid)
        if handler is None:
            await super()._process_msg(sid, subject, reply, data, headers)
            return
        try:
            handler(subject.decode(), reply.decode(), data, headers)
        except Exception:  # noqa: BLE001 - would end the reading task: connected and deaf
            _log.exception("a message from the broker could not be handled")

    async def _process_pong(self) -> None:
        """As the library does, but an answer nobody waits for any more is no error (which would
        end the reading task)."""
        if self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
            self._pings_outstanding = 0
        else:
            await super()._process_pong()

    async def _process_err(self, err_msg: str) -> None:
        """A refused permission is for whoever asked; any other error is a lost connection. The
        library would close for good."""
        if "permissions violation" in err_msg.lower():
            await self._error_cb(nats.errors.Error(f"nats: {err_msg}"))
        else:
            await self._process_op_err(nats.errors.Error(f"nats: {err_msg}"))

    def _socket(self) -> asyncio.WriteTransport | None:
        writer = getattr(self._transport, "_io_writer", None)
        return None if writer is None else writer.transport

    async def _process_connect_init(self) -> None:
        """As the library does, which would leave the socket of an attempt that failed open."""
        try:
            await super()._process_connect_init()
        except BaseException:
            _abort(self._socket())
            raise

    async def _attempt_reconnect(self) -> None:
        """As the library does, and again should it give up by an error of its own. It would first
        wait as long as the lost connection takes what is unsent."""
        _abort(self._socket())
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
            except Exception:  # noqa: BLE001 - never connected and deaf
                _log.warning("reconnecting failed by an unexpected error", exc_info=True)
                await asyncio.sleep(0.5)
                continue
            break


def _abort(transport: asyncio.WriteTransport | None) -> None:
    if transport is not None:
        transport.abort()
