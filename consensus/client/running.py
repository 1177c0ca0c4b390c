"""What keeps a client of the ledger going: its channel, its session, what it hears."""

import asyncio
import logging
import random
import ssl
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

from consensus.client.asking import Asking
from consensus.client.channel import Channel
from consensus.client.news import News
from consensus.client.session import Session
from consensus.client.sessions import Sessions
from consensus.ledger.answers import Answer
from consensus.ledger.commands import InSession, Join
from consensus.service.replies import Moved, Shown, decode_reply
from consensus.service.requests import PingAsked, Request, encode_request
from consensus.transport.connection import Connection
from consensus.transport.greeting import Terms
from consensus.transport.limits import Limits
from consensus.wire.hello import Party, Speaker
from consensus.wire.keys import Keys
from contracts.auctions import UnknownSession
from contracts.clock import Clock, SystemClock
from contracts.errors import MusterError

_log = logging.getLogger(__name__)
A = TypeVar("A", bound=Answer)
_KEEP_S = 600.0
"""Seconds between two `keepalive`: a session lives for an hour, and a ping is not in the log."""


class Running(ABC):
    """The part of a client that is the same for workers and operators.

    `addresses` are those of some or all members; `worker` is the name that others see; `cluster` is
    the id of the ledger, 0 for any; `keys` hold the one of `party`. `timeout` is what a call waits
    for a leader; a node that says nothing for `answer_s` hangs; every `ping_s` a silent connection
    says that it is there: a bidder without one is dismissed. `rng` is one of the system's unless a
    test gives another: sessions are as safe as its numbers are hard to guess.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        worker: str,
        keys: Keys,
        party: Party = Party.WORKER,
        cluster: int = 0,
        timeout: float = 10.0,
        ping_s: float = 3.0,
        answer_s: float = 2.0,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        speaker = Speaker(party=party, cluster=cluster, name=worker[:30])
        self.addresses = tuple(addresses)
        self.roles: dict[str, Join] = {}
        """What was joined, and is joined again where the ledger has forgotten it."""
        self.terms = Terms(introduce=lambda: speaker, keys=keys, limits=limits or Limits())
        self.tls = tls
        self._timeout = timeout
        self._ping_s = ping_s
        self._answer_s = answer_s
        self._clock: Clock = clock or SystemClock()
        self._rng = rng or random.SystemRandom()
        self._worker = worker
        self._tasks: set[asyncio.Task[None]] = set()
        self._parts: tuple[Channel, Asking, Sessions, News] | None = None

    async def start(self) -> None:
        """Begin to look for the leader; returns at once."""
        channel = Channel(
            self.addresses,
            self.terms,
            clock=self._clock,
            rng=self._rng,
            tls=self.tls,
            answer_s=self._answer_s,
            nonce=lambda: self._sessions.nonce,
            connected=self._connected,
        )
        asking = Asking(channel, self._clock, self._rng)
        sessions = Sessions(asking, self._worker, self._rng, self._opened)
        self._parts = (channel, asking, sessions, News(lambda: sessions.nonce))
        self._spawn(self._keep())

    async def close(self) -> None:
        """Say goodbye. The session stays for its hour, and its bids and awards as they are: a
        worker that leaves for good says `leave` and `release` before."""
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._parts is not None:
            await self._news.close()
            await self._channel.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def keepalive(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Use the session; the roles it bids for."""

    async def _do(self, command: InSession, cls: type[A], what: str, timeout: float | None) -> A:
        seconds = self._timeout if timeout is None else timeout
        answer = await self._sessions.do(command, what, seconds)
        if not isinstance(answer, cls):
            raise MusterError(f"the ledger answered something else to {what}", details=str(answer))
        return answer

    async def _show(self, request: Request, what: str, timeout: float | None) -> Shown:
        seconds = self._timeout if timeout is None else timeout
        body = encode_request(request)
        reply = await self._asking.ask(what, lambda: body, seconds)
        if not isinstance(reply, Shown):
            raise MusterError(f"the ledger answered something else to {what}", details=str(reply))
        return reply

    @property
    def _channel(self) -> Channel:
        return self._started()[0]

    @property
    def _asking(self) -> Asking:
        return self._started()[1]

    @property
    def _sessions(self) -> Sessions:
        return self._started()[2]

    @property
    def _news(self) -> News:
        return self._started()[3]

    def _started(self) -> tuple[Channel, Asking, Sessions, News]:
        if self._parts is None:
            raise RuntimeError("the client was not started")
        return self._parts

    def _connected(self, connection: Connection) -> None:
        """Another leader, or the same again: it tells all that waits, and may have dismissed."""
        self._news.connected(connection)
        if self._sessions.current is not None and self.roles:
            self._spawn(self._rejoin())

    def _opened(self, _: Session) -> None:
        self._news.begin()
        if self.roles:
            self._spawn(self._rejoin())

    async def _rejoin(self) -> None:
        try:
            with suppress(UnknownSession):
                await self.keepalive()
                return
            await self.keepalive()
        except MusterError as error:
            _log.warning("the roles of %s may not be joined: %s", self._worker, error)

    async def _keep(self) -> None:
        kept = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._ping_s)
            as_known = await self._ping(await self._channel.leader())
            due = self._clock.monotonic() - kept >= _KEEP_S
            if self._sessions.current is not None and (due or not as_known):
                await self._rejoin()
                kept = self._clock.monotonic()

    async def _ping(self, connection: Connection) -> bool:
        """False where the leader does not know the session, or not all of its roles: it was silent
        for too long, though nobody hung up."""
        body = encode_request(PingAsked(self._sessions.nonce))
        try:
            reply = decode_reply(await connection.request(body, timeout=self._answer_s))
        except MusterError:
            self._channel.doubt(connection)
            return True
        if isinstance(reply, Moved):
            self._channel.doubt(connection, reply.address)
        if not isinstance(reply, Shown):
            return True
        known = reply.body.get("roles")
        return known is not None and set(self.roles) <= set(known)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
