"""One connection to a NATS server, shared by a backend and a key-value store.

Every request has an answer, an error or a time limit; nothing is kept for later while there is
no connection. Whoever made a link with `connect` closes it; a backend or a store that is closed
lets go only of what is its own, so they may share one.
"""

import asyncio
import itertools
import json
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import nats.errors

from bus.backends.nats import errors
from bus.backends.nats.client import Handler, NatsClient
from bus.backends.nats.keepalive import Keepalive
from bus.backends.nats.names import Names
from bus.backends.nats.pulse import Pulse
from bus.backends.nats.wire import hpub, pub, status
from bus.errors import BusError, Closed, Unreachable
from bus.lockout import Lockouts
from contracts.clock import Clock

PATIENCE = 5.0
"""Seconds a request waits for its answer, and any call for a connection that was lost."""

Receive = Callable[[bytes, bytes | None], bool]
"""Given body and header block of an answer; True when it was the last."""


class Answer:
    """The answers to one request that are still to come."""

    __slots__ = ("fail", "receive")

    def __init__(self, receive: Receive, fail: Callable[[Exception], None]) -> None:
        self.receive = receive
        self.fail = fail


class NatsLink:
    """The connection of one event loop. `lost` and `back` are called when it goes and comes;
    `since` is when it came last, by the monotonic clock. `max_bytes`: what the fleet may fill from
    now on; None leaves it as it is. `published` rises with whatever this process sends that it may
    pull."""

    def __init__(
        self,
        client: NatsClient,
        names: Names,
        *,
        url: str,
        lease: float,
        clock: Clock,
        lockouts: Lockouts | None = None,
    ) -> None:
        self.client = client
        self.names = names
        self.url = url
        self.lease = lease
        self.max_bytes: int | None = None
        self.slices = 1
        self.clock = clock
        self.pulse = Pulse(clock, max(0.05, lease / 10))
        self._keepalive = Keepalive(client, self._expecting)
        self.lost: list[Callable[[], None]] = []
        self.back: list[Callable[[], None]] = []
        self.published = 0
        self.since = clock.monotonic()
        self._answers: dict[str, Answer] = {}
        self._numbers = itertools.count()
        self._inbox = f"_INBOX.{secrets.token_hex(11)}"
        self._up = asyncio.Event()
        self._closed = False
        self._lockout = (lockouts or Lockouts()).of(f"NATS at {url}")
        self._refused = ""

    def start(self) -> None:
        """Begin to take answers; the connection stands."""
        self.client.listen(f"{self._inbox}.*", self._on_answer)
        self._up.set()
        self.pulse.start()
        self._keepalive.start()

    @property
    def connected(self) -> bool:
        """Whether the connection stands now."""
        return self._up.is_set() and self.client.is_connected

    def new_inbox(self) -> str:
        """A subject prefix nobody else listens to."""
        return f"{self._inbox}{next(self._numbers)}"

    async def ready(self, doing: str, within: float = PATIENCE) -> None:
        """Return when the connection stands; `Unreachable` after `within` seconds, `Closed`."""
        if self._closed:
            raise Closed("the connection to NATS is closed", details=doing)
        if self.connected:
            return
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError as error:
            if self._refused:
                raise self._lockout.begun(self._refused) from error
            raise errors.unreachable(doing, f"no connection to {self.url}") from error
        if self._closed:
            raise Closed("the connection to NATS is closed", details=doing)

    def send(self, data: bytes, doing: str = "sending") -> None:
        """Write protocol commands now."""
        try:
            self.client.send(data)
        except (OSError, nats.errors.Error, RuntimeError) as error:
            raise errors.of_client(error, doing) from error

    def listen(self, subject: str, handler: Handler) -> int:
        """Pass every message on `subject` to `handler`; see `NatsClient.listen`."""
        try:
            return self.client.listen(subject, handler)
        except (OSError, nats.errors.Error, RuntimeError) as error:
            raise errors.of_client(error, "subscribing") from error

    def deafen(self, sid: int, *more: bytes) -> None:
        """Ask the server to send no more to a listener, and send `more`; without a connection
        there is nothing to ask."""
        try:
            self.client.deafen(sid)
            for data in more:
                self.client.send(data)
        except (OSError, nats.errors.Error, RuntimeError):
            return

    async def drained(self) -> None:
        """Wait while too much is unsent."""
        try:
            await self.client.drained()
        except OSError as error:
            raise errors.of_client(error, "sending") from error

    def expect(self, receive: Receive, fail: Callable[[Exception], None]) -> str:
        """A reply subject; what comes there goes to `receive`, a lost connection to `fail`."""
        number = str(next(self._numbers))
        self._answers[number] = Answer(receive, fail)
        return f"{self._inbox}.{number}"

    def ignore(self, reply: str) -> None:
        """No longer expect anything at this reply subject."""
        self._answers.pop(reply.rpartition(".")[2], None)

    def reply_future(self) -> "tuple[str, asyncio.Future[tuple[bytes, bytes | None]]]":
        """A reply subject and the one answer to come there."""
        future: asyncio.Future[tuple[bytes, bytes | None]]
        future = asyncio.get_running_loop().create_future()

        def receive(body: bytes, headers: bytes | None) -> bool:
            if not future.done():
                future.set_result((body, headers))
            return True

        def fail(error: Exception) -> None:
            if not future.done():
                future.set_exception(error)
                future.exception()  # seen: nobody may be waiting any more

        return self.expect(receive, fail), future

    async def wait_for(
        self, reply: str, future: "asyncio.Future[tuple[bytes, bytes | None]]", doing: str
    ) -> tuple[bytes, bytes | None]:
        """The answer at `reply`; `Unreachable` without one in time, or when nobody listens."""
        try:
            async with asyncio.timeout(PATIENCE):
                body, headers = await future
        except TimeoutError as error:
            raise errors.unreachable(doing, f"no answer within {PATIENCE:g} s") from error
        finally:
            self.ignore(reply)
        if status(headers) == 503:
            raise errors.unreachable(doing, "nobody answers there: no such stream, or no JetStream")
        return body, headers

    async def request(
        self, subject: str, body: bytes = b"", *, headers: bytes = b"", doing: str
    ) -> tuple[bytes, bytes | None]:
        """One question, one answer: body and header block."""
        await self.ready(doing)
        reply, future = self.reply_future()
        command = hpub(subject, reply, headers, body) if headers else pub(subject, reply, body)
        try:
            self.send(command, doing)
        except BaseException:
            self.ignore(reply)
            raise
        return await self.wait_for(reply, future, doing)

    async def api(self, name: str, body: Any = None, *, doing: str) -> dict[str, Any]:
        """A JetStream API call; raises what `errors.refusal` makes of an error."""
        payload = b"" if body is None else json.dumps(body).encode()
        answer, _ = await self.request(f"$JS.API.{name}", payload, doing=doing)
        found: dict[str, Any] = json.loads(answer)
        if "error" in found:
            raise errors.refusal(found["error"], doing)
        return found

    async def ensure(self, config: Mapping[str, Any]) -> None:
        """Create a stream, or bring one of that name up to date; how many servers have it is the
        operator's to say."""
        name, doing = config["name"], f"changing the stream {config['name']}"
        try:
            await self.api(f"STREAM.CREATE.{name}", config, doing=f"making the stream {name}")
        except BusError as error:
            if errors.code_of(error) != errors.NAME_TAKEN:
                raise
            found = (await self.api(f"STREAM.INFO.{name}", doing=doing))["config"]
            kept = {"num_replicas": found["num_replicas"], "placement": found.get("placement")}
            await self.api(f"STREAM.UPDATE.{name}", {**config, **kept}, doing=doing)

    async def echo(self, doing: str = "waiting for the broker") -> None:
        """Return when all that was sent has reached the server and all it had sent before that
        has been received."""
        await self.ready(doing)
        reply, future = self.reply_future()
        self.send(pub(reply, "", b""), doing)
        await self.wait_for(reply, future, doing)

    async def close(self) -> None:
        """Close the connection; whatever still waits on it raises `Closed`."""
        if self._closed:
            return
        self._closed = True
        self._up.set()
        self.pulse.stop()
        self._keepalive.stop()
        self._fail(Closed("the connection to NATS was closed"))
        self._tell(self.lost)
        await self.client.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    async def on_lost(self) -> None:
        """The client says the connection is gone."""
        if self._closed:
            return
        self._up.clear()
        self._fail(errors.unreachable("waiting for an answer", "the connection was lost"))
        self._tell(self.lost)

    def on_refused(self, why: str) -> None:
        """The server says that it does not know us any more."""
        if self._closed:
            return
        self._refused = why
        self._lockout.begun(why)

    async def on_back(self) -> None:
        """The client says the connection stands again."""
        if self._closed:
            return
        self._refused = ""
        self._lockout.over()
        self.since = self.clock.monotonic()
        self._up.set()
        self._tell(self.back)

    def _expecting(self) -> bool:
        return bool(self._answers) or self.client.listening

    def _on_answer(self, subject: str, _reply: str, body: bytes, headers: bytes | None) -> None:
        number = subject.rpartition(".")[2]
        answer = self._answers.get(number)
        if answer is not None and answer.receive(body, headers):
            self._answers.pop(number, None)

    def _fail(self, error: Unreachable | Closed) -> None:
        waiting, self._answers = self._answers, {}
        for answer in waiting.values():
            answer.fail(error)

    @staticmethod
    def _tell(callbacks: list[Callable[[], None]]) -> None:
        for callback in list(callbacks):
            callback()
