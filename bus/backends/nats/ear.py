"""One inbox for pull requests and what comes there. Counts answers; keeps no messages.

Messages carry no mark of the request they answer, so they are told apart by their consumer: the
server serves requests at one consumer in their order, a bell that waits there before what is
asked later. A bell that still waits says that its consumer has nothing.
"""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from math import inf

from bus.backends.nats import errors
from bus.backends.nats.intake import Intake, Raw
from bus.backends.nats.link import PATIENCE, NatsLink
from bus.backends.nats.sources import Source
from bus.backends.nats.wire import parse_headers, pub
from bus.errors import BusError, Closed

BELL = 7.5
"""Seconds a bell waits at the server for each consumer of its group: with four consumers bells
are renewed every 30 s, with many as seldom, all together."""

_OVERDUE = 2.0
"""Seconds after its end in which the server says that a bell has run out."""

_DOING = "pulling"


@dataclass(frozen=True, slots=True)
class _Bell:
    """A request that waits at a consumer; by `end` (monotonic) it has rung or run out."""

    number: str
    end: float


class Ear:
    """Asks consumers and waits at them. `gone` is one that is not there."""

    def __init__(self, link: NatsLink, intake: Intake) -> None:
        self.gone = ""
        self._link = link
        self._intake = intake
        self._numbers = count()
        self._bells: dict[str, _Bell] = {}
        self._rung: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        self._want: dict[str, int] = {}
        self._short: set[str] = set()
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

    def waits_at(self, source: Source) -> bool:
        """Whether a bell waits at this consumer: it has nothing, or what it has is coming."""
        return source.consumer in self._bells

    async def ask(self, questions: Sequence[tuple[Source, int]]) -> set[str]:
        """Take up to so many as lie in each of these consumers now; they are in the intake on
        return. The consumers that had less."""
        asks = {f"a{next(self._numbers)}": each for each in questions}
        self._want = {source.consumer: limit for source, limit in questions}
        self._asks = {number: source.consumer for number, (source, _) in asks.items()}
        self._short = set()
        self._request(
            (source, number, {"batch": limit, "no_wait": True})
            for number, (source, limit) in asks.items()
        )
        try:
            if not await self._wait(PATIENCE):
                raise errors.unreachable(_DOING, f"{', '.join(self._want)} does not answer")
        finally:
            self._asks, self._want = {}, {}
        return self._short

    def ring(self, sources: Iterable[Source], seconds: float) -> None:
        """Wait at each consumer for one message, unless we do already."""
        new = [source for source in sources if source.consumer not in self._bells]
        body = {"batch": 1, "expires": int(seconds * 1e9)}
        end = self._link.clock.monotonic() + seconds + _OVERDUE
        bells = {f"b{next(self._numbers)}": source for source in new}
        for number, source in bells.items():
            self._bells[source.consumer] = _Bell(number, end)
            self._rung[number] = source.consumer
        self._request((source, number, body) for number, source in bells.items())

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
        self._clear()
        self._link.deafen(self._sid)

    async def closed(self) -> None:
        """Return when nothing more can come."""
        try:
            await self._link.echo(_DOING)
        except BusError:
            pass  # with the connection went what was under way
        finally:
            self._link.client.forget(self._sid)

    def _request(self, requests: Iterable[tuple[Source, str, object]]) -> None:
        commands = [
            pub(
                f"$JS.API.CONSUMER.MSG.NEXT.{source.stream}.{source.consumer}",
                f"{self._inbox}.{number}",
                json.dumps(body).encode(),
            )
            for source, number, body in requests
        ]
        if not commands:
            return
        try:
            self._link.send(b"".join(commands), _DOING)
        except BusError:
            self._clear()
            raise

    def _clear(self) -> None:
        self._bells.clear()
        self._rung.clear()

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
            if not self._asks:
                self.wake()
        elif consumer in self._want:
            self._want[consumer] -= 1
            if self._want[consumer] == 0:
                self._answered(consumer)

    def _answered(self, consumer: str) -> None:
        self._want.pop(consumer, None)
        if not self._want:
            self.wake()

    def _unring(self, consumer: str) -> bool:
        bell = self._bells.pop(consumer, None)
        if bell is None:
            return False
        del self._rung[bell.number]
        return True

    def _on_status(self, number: str, block: bytes | None) -> None:
        status, reason = parse_headers(block)[2:]
        asked, rung = self._asks.get(number), self._rung.get(number)
        consumer = asked or rung
        if consumer is None:
            return
        if status == 503 or (status == 409 and "Deleted" in reason):
            self.gone = consumer
        if asked:
            self._short.add(asked)
            self._answered(asked)
            return
        self._unring(consumer)
        if not self._asks:
            self.wake()

    def _on_lost(self) -> None:
        self._clear()
        if self._waiting is not None and not self._waiting.done():
            error: BusError = errors.unreachable(_DOING, "the connection was lost")
            if self._link.closed:
                error = Closed("the connection to NATS was closed")
            self._waiting.set_exception(error)
