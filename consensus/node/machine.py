"""The state machine of a node, and how far it has come in the log."""

import hashlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from consensus.ledger.answers import Answer, Finished
from consensus.ledger.commands import Attest
from consensus.ledger.entries import decode, is_attest
from consensus.ledger.ledger import Ledger
from consensus.node.halting import Diverged
from consensus.raft.types import Entry, Index, Kind
from contracts.auctions import Opening, Won

KEPT = 8
"""Hashes of the own state that are remembered, newest last."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The state after the entry at `index`, as a snapshot holds it."""

    index: Index
    data: bytes
    crc: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Tellings:
    """Who hears what is applied: what bidders are told, keys whose auction ended, and that a
    snapshot was put in place, after which anything may have happened."""

    bidder: Callable[[Opening | Won], None]
    ended: Callable[[str], None]
    restored: Callable[[], None]


class Machine:
    """Applies entries to the ledger in their order. `applied` is the index of the last one."""

    def __init__(self, ledger: Ledger, tellings: Tellings) -> None:
        self.ledger = ledger
        self.applied: Index = 0
        self._tell = tellings
        self._digests: dict[Index, bytes] = {}

    def apply(self, entry: Entry) -> Answer | None:
        """Do what an entry says; the answer of a command, None of any other entry.

        Raises `UnknownCommand` before anything is done, and `Diverged` where the leader attests
        another state than this node had: the node must end then.
        """
        answer = None
        if entry.kind is Kind.COMMAND:
            answer = self._command(entry.index, entry.data)
        self.applied = entry.index
        return answer

    def restore(self, index: Index, data: bytes) -> None:
        """Go on from a snapshot; without bytes, from the beginning. Raises `BadSnapshot`."""
        if data:
            self.ledger.restore(data)
        self.applied = index
        self._tell.restored()

    def pack(self) -> Packed:
        """The state now, as bytes. It takes long where the state is large: it may be called on
        another thread, while nothing is applied."""
        data = self.ledger.snapshot()
        return Packed(self.applied, data, zlib.crc32(data), hashlib.sha256(data).digest())

    def note(self, packed: Packed) -> None:
        """Remember what the state was, for what the leader will attest."""
        self._digests[packed.index] = packed.digest
        while len(self._digests) > KEPT:
            del self._digests[next(iter(self._digests))]

    def _command(self, index: Index, data: bytes) -> Answer:
        if is_attest(data):
            self._check(data)
        ledger = self.ledger
        answer = ledger.apply(index, data)
        for told in ledger.take_told():
            self._tell.bidder(told)
        if isinstance(answer, Finished):
            self._tell.ended(getattr(decode(data).command, "key", ""))
        return answer

    def _check(self, data: bytes) -> None:
        attest = decode(data).command
        if isinstance(attest, Attest):
            own = self._digests.get(attest.index)
            if own is not None and own != attest.digest:
                raise Diverged(attest.index, own, attest.digest)
