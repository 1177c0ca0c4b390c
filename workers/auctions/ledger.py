"""What a worker needs of the ledger: this much of its client, whatever lies behind it."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from consensus.client.errors import LedgerAway
from contracts.auctions import Auction, Opening, Won
from contracts.errors import MusterError

__all__ = ["Ledger", "LedgerAway", "NoLedger"]


class NoLedger(MusterError):
    """A role is auctioned, and this process knows no ledger."""


class Ledger(Protocol):
    """One session of this process with the ledger.

    Every call may be concurrent and cancelled, and may be repeated: the ledger answers what was
    done before the same way. It raises what `contracts.auctions` has for a refusal, and
    `LedgerAway` after a bounded wait. Times are the ledger's own milliseconds.
    """

    async def join(self, role: str, *, skills: Sequence[str], slots: int) -> object:
        """Be a bidder of `role` with so many places from now on. `skills` sorted, each once."""
        ...

    async def leave(self, role: str) -> object:
        """Be no bidder of `role`; awards stay."""
        ...

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
        """Auction a task; for the same task again nothing happens. `Conflict` for another one."""
        ...

    async def bid(
        self,
        key: str,
        round: int,  # noqa: A002 - what it is called everywhere
        *,
        score: int,
        cost: int,
        parts: bytes,
    ) -> object:
        """Ask for a task."""
        ...

    async def pass_(
        self,
        key: str,
        round: int,  # noqa: A002 - as in `bid`
        *,
        parts: bytes,
    ) -> object:
        """Answer without wanting it."""
        ...

    async def renew(self, key: str, token: int) -> object:
        """Prolong one's award. `Fenced` or `Ended`: it is lost."""
        ...

    async def complete(self, key: str, token: int, result_hash: bytes) -> object:
        """The outcome of one's award is safe; the auction ends with it, or this raises."""
        ...

    async def adopt(self, key: str, token: int, result_hash: bytes) -> object:
        """The same for a winner that is gone; `TooSoon` while its lease runs."""
        ...

    async def release(self, key: str, token: int) -> object:
        """Give one's award back."""
        ...

    async def cancel(self, key: str) -> object:
        """End the auction without a result."""
        ...

    async def read(self, key: str) -> Auction | None:
        """The auction as of now, never an old state of it; None if the ledger does not know it."""
        ...

    def subscribe(self) -> AsyncIterator[Opening | Won]:
        """What this session is told, from now on, for one listener (`workers.auctions.hearing` is
        that one); what still holds is told again after a lost connection, so one thing may come
        twice. May end with an error; then it is called again."""
        ...
