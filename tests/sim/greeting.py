"""Whom a node believes: an id that comes back with less than it had is nobody any more.

The rule of the hello: every life of a process has an incarnation, every folder counts its
transactions (`seq`), and a node keeps the highest count it heard of each peer. A folder that was
wiped, or is older than it was, is told by its count; a copy that runs beside its original by its
incarnation.
"""

from dataclasses import dataclass
from enum import Enum

from consensus.raft.types import NodeId
from tests.sim.options import ELECTION_TICKS

GREETS = 8
"""Ticks after which every member hears of every other at least once."""

AWHILE = 2 * ELECTION_TICKS
"""For so many ticks after one life of an id was heard no other life of it is believed."""


class Verdict(Enum):
    """What becomes of a parcel."""

    BELIEVED = "believed"
    WENT_BACK = "went back"
    ANOTHER = "another life was heard just now"


@dataclass(slots=True)
class Heard:
    """Of one peer: its life, its highest count, and the tick at which it was last heard."""

    incarnation: int
    seq: int
    at: int


class Greeter:
    """What one life of a node knows of its peers; `durable` is what its folder kept of them."""

    def __init__(self, durable: dict[NodeId, int]) -> None:
        self._durable = durable
        self._heard = {node: Heard(0, seq, -AWHILE) for node, seq in durable.items()}

    def judge(self, peer: NodeId, incarnation: int, seq: int, now: int) -> Verdict:
        """Whether to believe what a life of a peer says. A life that is new is written down before
        anything of it is believed."""
        heard = self._heard.get(peer)
        if heard is None:
            self._heard[peer] = Heard(incarnation, seq, now)
            self._durable[peer] = seq
        elif heard.incarnation == incarnation:
            heard.seq, heard.at = max(heard.seq, seq), now
        elif self._went_back(seq, heard.seq):
            return Verdict.WENT_BACK
        elif self._is_recent(now - heard.at):
            return Verdict.ANOTHER
        else:
            self._heard[peer] = Heard(incarnation, seq, now)
            self._durable[peer] = seq
        return Verdict.BELIEVED

    def write(self, durable: dict[NodeId, int]) -> None:
        """A transaction takes along what was heard since the last one."""
        durable.update({node: heard.seq for node, heard in self._heard.items()})

    def _went_back(self, seq: int, known: int) -> bool:
        return seq < known

    def _is_recent(self, ticks: int) -> bool:
        return ticks < AWHILE


class BelievesOldFolders(Greeter):
    """Breaks a rule on purpose: nobody looks at the count."""

    def _went_back(self, seq: int, known: int) -> bool:  # noqa: ARG002
        return False


class BelievesTwoLives(Greeter):
    """Breaks a rule on purpose: two lives of one id may speak at once."""

    def _is_recent(self, ticks: int) -> bool:  # noqa: ARG002
        return False
