"""A cluster of one without a log: the real state machine of the ledger, in this process.

It has no Raft, no disk and no network: what it answers is what a healthy cluster would answer at
once. It can be away, and sessions can fall silent.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

from consensus.ledger.answers import Answer, Finished, Refused, SessionOpened, error_of
from consensus.ledger.clock import LeaderClock
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Command,
    Complete,
    Join,
    Leave,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    Release,
    Renew,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry, check, encode
from consensus.ledger.ledger import Ledger
from contracts.auctions import Auction, Opening, Phase, Won
from contracts.clock import Clock
from workers.auctions.ledger import LedgerAway

A = TypeVar("A")

TICK = 0.05
"""Seconds between two looks of the leader at what is due."""

SILENCE = 2.0
"""Seconds after which a bidder that is gone is dismissed."""

_FIRST = 1_700_000_000_000
"""The first index of a new cluster: its time in ms."""


class LocalCluster:
    """One leader, always in step with itself. `completed`: keys that were, with their tokens."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.machine = Ledger()
        self.away = False
        self.completed: dict[str, int] = {}
        self.said: list[Command] = []
        self._index = _FIRST
        self._leader = LeaderClock(0, round(TICK * 1000))
        self._sessions: dict[int, LocalSession] = {}
        self._rng = random.Random(5)
        self._now = clock.monotonic()
        self._ticking = asyncio.create_task(self._tick_for_ever())

    def session(self, worker: str) -> "LocalSession":
        """A client of a worker process."""
        answer = self.apply(OpenSession(self._rng.randbytes(16), worker))
        assert isinstance(answer, SessionOpened)
        made = self._sessions[answer.session] = LocalSession(self, answer.session)
        return made

    def apply(self, command: Command, session: int = 0, seq: int = 0, acked: int = 0) -> Answer:
        """Commit a command, and tell bidders what came of it."""
        check(command)
        self._index += 1
        self.said.append(command)
        entry = Entry(self._leader.now, command, session, seq, acked)
        answer = self.machine.apply(self._index, encode(entry))
        if isinstance(answer, Finished) and answer.phase is Phase.COMPLETED:
            assert isinstance(command, Complete | Adopt)
            self.completed[command.key] = answer.token
        for told in self.machine.take_told():
            if told.session in self._sessions:
                self._sessions[told.session].tell(told)
        return answer

    def forget(self, key: str) -> None:
        """As a ledger that was built from nothing."""
        del self.machine.state.tasks[key]
        self.machine.restore(self.machine.snapshot())

    def bring_back(self) -> None:
        """It is there again; what holds is told again."""
        self.away = False
        for id_, session in self._sessions.items():
            for told in self.machine.views.waiting_for(id_):
                session.tell(told)

    async def close(self) -> None:
        """Stand still."""
        self._ticking.cancel()
        await asyncio.gather(self._ticking, return_exceptions=True)

    async def _tick_for_ever(self) -> None:
        while True:
            await self.clock.sleep(TICK)
            now = self.clock.monotonic()
            passed, self._now = now - self._now, now
            if not self.away:
                self._leader.pass_time(round(passed * 1000))
                self._do_what_is_due(now)

    def _do_what_is_due(self, now: float) -> None:
        for session in self._sessions.values():
            if session.gone_since is not None and now - session.gone_since >= SILENCE:
                dismissal = self.machine.agenda.dismissal(session.id)
                if dismissal is not None:
                    self.apply(dismissal)
        for command in self.machine.agenda.due(self._leader.now):
            self.apply(command)


class LocalSession:
    """One worker's session. Implements `workers.auctions.ledger.Ledger`."""

    def __init__(self, cluster: LocalCluster, id_: int) -> None:
        self.id = id_
        self.gone_since: float | None = None
        self._cluster = cluster
        self._seq = 0
        self._told: asyncio.Queue[Opening | Won] = asyncio.Queue()

    def fall_silent(self) -> None:
        """Its process is gone: it hears and says nothing any more."""
        self.gone_since = self._cluster.clock.monotonic()

    def tell(self, told: Opening | Won) -> None:
        """What a connected session hears."""
        if self.gone_since is None:
            self._told.put_nowait(told)

    async def join(self, role: str, *, skills: Sequence[str], slots: int) -> object:
        return await self._say(Join(role, tuple(skills), slots))

    async def leave(self, role: str) -> object:
        return await self._say(Leave(role))

    async def open_auction(
        self,
        key: str,
        role: str,
        *,
        window_ms: int,
        lease_ms: int,
        max_awards: int,
        spec_hash: bytes,
    ) -> object:
        return await self._say(Open(key, role, window_ms, lease_ms, max_awards, spec_hash))

    async def bid(
        self,
        key: str,
        round: int,  # noqa: A002 - what it is called everywhere
        *,
        score: int,
        cost: int,
        parts: bytes,
    ) -> object:
        return await self._say(PlaceBid(key, round, Signed(score), cost, parts))

    async def pass_(
        self,
        key: str,
        round: int,  # noqa: A002 - as in `bid`
        *,
        parts: bytes,
    ) -> object:
        return await self._say(Pass(key, round, parts))

    async def renew(self, key: str, token: int) -> object:
        return await self._say(Renew(key, token))

    async def complete(self, key: str, token: int, result_hash: bytes) -> object:
        return await self._say(Complete(key, token, result_hash))

    async def adopt(self, key: str, token: int, result_hash: bytes) -> object:
        return await self._say(Adopt(key, token, result_hash))

    async def release(self, key: str, token: int) -> object:
        return await self._say(Release(key, token))

    async def cancel(self, key: str) -> object:
        return await self._say(Cancel(key))

    async def read(self, key: str) -> Auction | None:
        await self._reach()
        return self._cluster.machine.views.auction(key)

    async def subscribe(self) -> AsyncIterator[Opening | Won]:
        """For one listener, as the client's."""
        while True:
            yield await self._told.get()

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self._cluster.away or self.gone_since is not None:
            raise LedgerAway("a command", "nobody leads")

    async def _say(self, command: Command) -> Answer:
        await self._reach()
        self._seq += 1
        answer = self._cluster.apply(command, self.id, self._seq, self._seq)
        await asyncio.sleep(0)
        if isinstance(answer, Refused):
            raise error_of(answer, type(command).__name__)
        return answer
