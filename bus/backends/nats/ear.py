"""One inbox for pull requests and what comes there. Counts answers; keeps no messages.

Messages carry no mark of the request they answer, so they are told apart by their consumer: the
server serves requests at one consumer in their order, a bell that waits there before what is
asked later.
"""

import asyncio
import json
from dataclasses import dataclass
from itertools import count
from math import inf

from bus.backends.nats import errors
from bus.backends.nats.intake import Intake, Raw, Source
from bus.backends.nats.link import PATIENCE, NatsLink
from bus.backends.nats.wire import parse_headers, pub
from bus.errors import BusError, Closed

BELL = 30.0
"""Seconds a bell waits at the server."""

_OVERDUE = 2.0
"""Seconds after its end in which the server says that a bell has run out."""

_DOING = "pulling"


@dataclass(frozen=True, slots=True)
class _Bell:
    """A request that waits at `consumer`; by `end` (monotonic) it has rung or run out."""

    consumer: str
    end: float


class Ear:
    """Asks consumers and waits at them. `gone` is one that is not there."""

    def __init__(self, link: NatsLink, intake: Intake) -> None:
        self.gone = ""
        self._link = link
        self._intake = intake
        self._numbers = count()
        self._bells: dict[str, _Bell] = {}
        self._asked = ""
        self._ask = ""
        self._want = 0
        self._waiting: asyncio.Future[None] | None = None
        self._inbox = link.new_inbox()
        self._sid = link.listen(f"{self._inbox}.*", self._on_message)
        link.lost.append(self._on_lost)

    @property
    def has_bells(self) -> bool:
        """Whether a request waits at the server."""
        return bool(self._bells)

    def patience(self) -> float:
        """Seconds until the first bell should have rung or run out; from 0 on, whatever became of
        it, we may be deaf to it."""
        ends = [bell.end for bell in self._bells.values()]
        return min(ends) - self._link.clock.monotonic() if ends else inf

    async def ask(self, source: Source, limit: int) -> None:
        """Take up to `limit` that lie in a consumer now; they are in the intake on return."""
        self._ask = f"a{next(self._numbers)}"
        self._asked = source.consumer
        self._want = limit
        self._request(source, self._ask, {"batch": limit, "no_wait": True})
        try:
            if not await self._wait(PATIENCE):
                raise errors.unreachable(_DOING, f"{source.consumer} does not answer")
        finally:
            self._asked = self._ask = ""

    def ring(self, source: Source) -> None:
        """Wait at a consumer for one message, unless we do already."""
        if any(bell.consumer == source.consumer for bell in self._bells.values()):
            return
        number = f"b{next(self._numbers)}"
        end = self._link.clock.monotonic() + BELL + _OVERDUE
        self._bells[number] = _Bell(source.consumer, end)
        self._request(source, number, {"batch": 1, "expires": int(BELL * 1e9)})

    async def listen(self, seconds: float) -> None:
        """Return when something came, a bell ran out, `wake` was called, or the time is over."""
        await self._wait(seconds)

    def wake(self) -> None:
        """End `listen`."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        """Let the server forget our bells. What it had sent before it heard of that still
        reaches the intake."""
        if self._on_lost in self._link.lost:
            self._link.lost.remove(self._on_lost)
        self._bells.clear()
        self._link.deafen(self._sid)

    async def closed(self) -> None:
        """Return when nothing more can come."""
        try:
            await self._link.echo(_DOING)
        except BusError:
            pass  # with the connection went what was under way
        finally:
            self._link.client.forget(self._sid)

    def _request(self, source: Source, number: str, body: object) -> None:
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{source.stream}.{source.consumer}"
        command = pub(subject, f"{self._inbox}.{number}", json.dumps(body).encode())
        try:
            self._link.send(command, _DOING)
        except BusError:
            self._bells.pop(number, None)
            raise

    async def _wait(self, seconds: float) -> bool:
        """Whether something woke us within `seconds`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting = future
        late = False

        def over() -> None:
            nonlocal late
            if not future.done():
                late = True
                future.set_result(None)

        timer = loop.call_later(max(0.0, seconds), over)
        try:
            await future
        finally:
            timer.cancel()
            self._waiting = None
        return not late

    def _on_message(self, subject: str, reply: str, body: bytes, block: bytes | None) -> None:
        if not reply.startswith("$JS.ACK."):
            self._on_status(subject.rpartition(".")[2], block)
            return
        consumer = reply.split(".", 4)[3] if reply.count(".") < 9 else reply.split(".", 6)[5]
        source = self._intake.find(consumer)
        if source is None:
            return
        self._intake.add(Raw(source, subject, reply, body, block, self._link.pulse.arrival()))
        if self._unring(consumer):
            if not self._ask:
                self.wake()
        elif consumer == self._asked:
            self._want -= 1
            if self._want == 0:
                self.wake()

    def _unring(self, consumer: str) -> bool:
        number = next((n for n, b in self._bells.items() if b.consumer == consumer), None)
        if number is None:
            return False
        del self._bells[number]
        return True

    def _on_status(self, number: str, block: bytes | None) -> None:
        status, reason = parse_headers(block)[2:]
        bell = self._bells.pop(number, None)
        asked = self._asked if number == self._ask else ""
        consumer = asked if bell is None else bell.consumer
        if not consumer:
            return
        if status == 503 or (status == 409 and "Deleted" in reason):
            self.gone = consumer
        if number == self._ask or not self._ask:
            self.wake()

    def _on_lost(self) -> None:
        self._bells.clear()
        if self._waiting is not None and not self._waiting.done():
            error: BusError = errors.unreachable(_DOING, "the connection was lost")
            if self._link.closed:
                error = Closed("the connection to NATS was closed")
            self._waiting.set_exception(error)
