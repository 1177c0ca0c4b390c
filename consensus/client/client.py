"""What a worker does with the ledger."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from consensus.client.errors import LedgerAway
from consensus.client.news import end_of
from consensus.client.running import Running
from consensus.ledger.answers import (
    Alive,
    Finished,
    Joined,
    Left,
    Opened,
    Renewed,
    Reopened,
    Taken,
)
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Complete,
    Join,
    KeepAlive,
    Leave,
    Open,
    Pass,
    PlaceBid,
    Release,
    Renew,
)
from consensus.ledger.encoding import Signed
from consensus.service.replies import Shown
from consensus.service.requests import ListAsked, PingAsked, ReadAsked, StatusAsked
from consensus.service.shown import auction_of
from consensus.transport.errors import Lost
from contracts.auctions import Auction, Opening, Won


class LedgerClient(Running):
    """One worker's way to the ledger. Use it as `async with`, or `start` and `close`; see `Running`
    for its arguments.

    Every call waits at most `timeout` seconds (the constructor's where none is given) for the
    leader, wherever that is by then, and raises `LedgerAway` if nobody answered. A command is done
    at most once, however often it had to be sent. Refusals are raised as the errors of
    `contracts.auctions`. After `UnknownSession` the ledger has forgotten this client: the next call
    begins a new session, and the roles that were joined are joined again.

    Any number of calls may be under way, and each may be cancelled, which leaves open whether it
    was done.
    """

    async def open_auction(
        self,
        key: str,
        role: str,
        *,
        window_ms: int,
        lease_ms: int,
        max_awards: int,
        spec_hash: bytes,
        timeout: float | None = None,
    ) -> Opened:
        """Auction a task; the same task under the same key again gets the same answer. Raises
        `Conflict` for another task under the key."""
        command = Open(key, role, window_ms, lease_ms, max_awards, spec_hash)
        return await self._do(command, Opened, f"open {key}", timeout)

    async def bid(
        self,
        key: str,
        round: int,  # noqa: A002 - what it is called everywhere
        *,
        score: int,
        cost: int,
        parts: bytes = b"",
        timeout: float | None = None,
    ) -> Taken:
        """Ask for the task of an `Opening`; `cost` in micro-dollars. Raises `WrongRound`, `Closed`,
        `NotInvited`, `Ended`, `Conflict` for another bid in the same round."""
        command = PlaceBid(key, round, Signed(score), cost, parts)
        return await self._do(command, Taken, f"bid for {key}", timeout)

    async def pass_(
        self,
        key: str,
        round: int,  # noqa: A002 - as in `bid`
        *,
        parts: bytes = b"",
        timeout: float | None = None,
    ) -> Taken:
        """Answer an `Opening` without wanting the task; raises as `bid`."""
        return await self._do(Pass(key, round, parts), Taken, f"pass {key}", timeout)

    async def renew(self, key: str, token: int, *, timeout: float | None = None) -> Renewed:
        """Prolong the lease of an award. `Fenced`: it is another's by now."""
        return await self._do(Renew(key, token), Renewed, f"renew {key}", timeout)

    async def complete(
        self, key: str, token: int, result_hash: bytes, *, timeout: float | None = None
    ) -> Finished:
        """The outcome of this hash is safe; raises `Fenced`, `Ended`, `Conflict`."""
        command = Complete(key, token, result_hash)
        return await self._do(command, Finished, f"complete {key}", timeout)

    async def adopt(
        self, key: str, token: int, result_hash: bytes, *, timeout: float | None = None
    ) -> Finished:
        """Complete for a winner that is past its lease; raises `TooSoon` before, and as
        `complete`."""
        command = Adopt(key, token, result_hash)
        return await self._do(command, Finished, f"adopt {key}", timeout)

    async def release(self, key: str, token: int, *, timeout: float | None = None) -> Reopened:
        """Give an award back: somebody else may have it at once. Raises `Fenced`, `Ended`."""
        return await self._do(Release(key, token), Reopened, f"release {key}", timeout)

    async def cancel(self, key: str, *, timeout: float | None = None) -> Finished:
        """End an auction without a result; `Ended` where it has another end."""
        return await self._do(Cancel(key), Finished, f"cancel {key}", timeout)

    async def join(
        self, role: str, *, skills: Sequence[str] = (), slots: int, timeout: float | None = None
    ) -> Joined:
        """Be a bidder of a role, now and in each session after this one, until `leave`."""
        command = Join(role, tuple(sorted(set(skills))), slots)
        self.roles[role] = command
        return await self._do(command, Joined, f"join {role}", timeout)

    async def leave(self, role: str, *, timeout: float | None = None) -> Left:
        """Be no bidder of a role any more; awards stay."""
        self.roles.pop(role, None)
        return await self._do(Leave(role), Left, f"leave {role}", timeout)

    async def keepalive(self, *, timeout: float | None = None) -> tuple[str, ...]:
        """Use the session; the roles it bids for. One that was taken for gone joins again: those
        that `join` named and the ledger does not are joined once more."""
        alive = await self._do(KeepAlive(), Alive, "keep the session", timeout)
        for role, command in list(self.roles.items()):
            if role not in alive.roles and self.roles.get(role) is command:
                await self._do(command, Joined, f"join {role}", timeout)
        return tuple(sorted({*alive.roles, *self.roles}))

    async def read(self, key: str, *, timeout: float | None = None) -> Auction | None:
        """The auction of a key as it is now, or later; None if the ledger does not know it."""
        found = await self._show(ReadAsked(key), f"read {key}", timeout)
        auction = found.body["auction"]
        return None if auction is None else auction_of(auction)

    async def auctions(
        self, *, after: str = "", limit: int = 64, timeout: float | None = None
    ) -> list[Auction]:
        """Auctions in the order of their keys, those behind `after`; 64 at most."""
        found = await self._show(ListAsked(after, limit), "list auctions", timeout)
        return [auction_of(auction) for auction in found.body["auctions"]]

    async def status(self, *, timeout: float | None = None) -> Shown:
        """Where the leader's node stands: the fields of `NodeStatus`, ids as text."""
        await self._show(PingAsked(self._sessions.nonce), "tell who leads", timeout)
        return await self._show(StatusAsked(), "tell its status", timeout)

    def subscribe(self) -> AsyncIterator[Opening | Won]:
        """What this session has to hear, from now on and over every reconnect: rounds that it is
        asked to answer, and its awards. For one listener. The same may be told more than once."""
        return self._news.listen()

    async def ended(self, key: str, *, timeout: float | None = None) -> Auction:
        """The auction of a key once it has ended; `LedgerAway` where that takes longer."""
        seconds = self._timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds):
                while True:
                    connection = await self._channel.leader()
                    try:
                        found = await end_of(connection, key)
                    except Lost:
                        self._channel.doubt(connection)
                        continue
                    if found is not None:
                        return found
        except TimeoutError as error:
            raise LedgerAway(f"the end of {key}", self._channel.reason) from error
