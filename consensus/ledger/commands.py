"""What can be asked of the ledger. How it lies in the log is said in `consensus.ledger.entries`."""

from dataclasses import dataclass

from consensus.ledger.encoding import Signed
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class OpenSession:
    """Make a session for `worker`; `nonce` (16 random bytes) lets a repetition find it."""

    nonce: bytes
    worker: str


@quick
@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Nothing, but that the session is still used."""


@quick
@dataclass(frozen=True, slots=True)
class Join:
    """Become a bidder of `role` for `slots` tasks at a time, or change what was said before."""

    role: str
    skills: tuple[str, ...]
    slots: int


@quick
@dataclass(frozen=True, slots=True)
class Leave:
    """Be no bidder of `role` any more. Awards stay."""

    role: str


@quick
@dataclass(frozen=True, slots=True)
class Open:
    """Auction a task: rounds of `window_ms`, awards for `lease_ms`, `max_awards` that may lapse.
    `spec_hash` (32 bytes) tells one task from another under the same key."""

    key: str
    role: str
    window_ms: int
    lease_ms: int
    max_awards: int
    spec_hash: bytes


@quick
@dataclass(frozen=True, slots=True)
class PlaceBid:
    """Ask for the task: the highest score wins, then the lowest cost. `parts` tells people why."""

    key: str
    round: int
    score: Signed
    cost: int
    parts: bytes


@quick
@dataclass(frozen=True, slots=True)
class Pass:
    """Answer a round without wanting the task; `parts` tells people why."""

    key: str
    round: int
    parts: bytes


@quick
@dataclass(frozen=True, slots=True)
class Renew:
    """Prolong the lease of one's award."""

    key: str
    token: int


@quick
@dataclass(frozen=True, slots=True)
class Complete:
    """The task of one's award is done and its outcome, of this hash (32 bytes), is safe."""

    key: str
    token: int
    result_hash: bytes


@quick
@dataclass(frozen=True, slots=True)
class Adopt:
    """Complete for a winner that is gone: its outcome is safe and its lease has run out."""

    key: str
    token: int
    result_hash: bytes


@quick
@dataclass(frozen=True, slots=True)
class Release:
    """Give one's award back, which does not count as lapsed."""

    key: str
    token: int


@quick
@dataclass(frozen=True, slots=True)
class Cancel:
    """End the auction without a result."""

    key: str


@quick
@dataclass(frozen=True, slots=True)
class Close:
    """The leader: decide the round, if it may be decided."""

    key: str
    round: int


@quick
@dataclass(frozen=True, slots=True)
class Expire:
    """The leader: take back an award that is past its lease."""

    key: str
    token: int


@quick
@dataclass(frozen=True, slots=True)
class ExpireSessions:
    """The leader: forget every session that is past its life."""


@quick
@dataclass(frozen=True, slots=True)
class Dismiss:
    """The leader: a bidder's connection is silent, so it leaves. `joined` is the index of its last
    join: one that came back meanwhile stays."""

    session: int
    joined: int


@quick
@dataclass(frozen=True, slots=True)
class Tick:
    """The leader: time has passed."""


@quick
@dataclass(frozen=True, slots=True)
class RaiseVersion:
    """The leader: every member knows the commands of this version; from here on they may come."""

    version: int


@quick
@dataclass(frozen=True, slots=True)
class Attest:
    """The leader: after the entry at `index` the SHA-256 of its state was `digest`. The ledger does
    nothing with it: the node of a replica that had another state stops before applying it."""

    index: int
    digest: bytes


InSession = (
    KeepAlive | Join | Leave | Open | PlaceBid | Pass | Renew | Complete | Adopt | Release | Cancel
)
OfLeader = Close | Expire | ExpireSessions | Dismiss | Tick | RaiseVersion | Attest
Command = OpenSession | InSession | OfLeader
