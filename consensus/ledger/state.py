"""What the ledger knows: tasks, sessions, bidders, the clock. Nothing here decides anything."""

from dataclasses import dataclass, field

from consensus.ledger.answers import Answer
from consensus.ledger.encoding import Signed
from contracts.auctions import Phase
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Bid:
    """An answer to a round, in the log at `index`."""

    index: int
    session: int
    worker: str
    passed: bool
    score: Signed
    cost: int
    parts: bytes


@quick
@dataclass(frozen=True, slots=True)
class Award:
    """`number`: so many awards of this task lapsed before, and this one."""

    token: int
    session: int
    worker: str
    lease_until: int
    number: int


@quick
@dataclass(frozen=True, slots=True)
class ClosedRound:
    """The last round that was decided; `token` is 0 where nobody won."""

    round: int
    at: int
    asked: int
    token: int
    bids: tuple[Bid, ...] = ()


@dataclass(slots=True)
class Task:
    """One auction. `opened` is the index of its `open`, `first_deadline` what that answered.

    `roster` is who may answer the open round, `bids` who has, by session. An open round without a
    roster is a pause until `deadline`: `declined` if nobody who was asked wanted the task, else
    nobody was there to ask. `pauses` counts them since the last award. `left_out` is the worker
    that lost the task last, and that the next roster does without if it can.
    """

    key: str
    role: str
    window_ms: int
    lease_ms: int
    max_awards: int
    spec_hash: bytes
    opened: int
    first_deadline: int
    phase: Phase = Phase.OPEN
    round: int = 0
    deadline: int = 0
    declined: bool = False
    pauses: int = 0
    lapsed: int = 0
    left_out: str = ""
    result_hash: bytes = b""
    ended: int = 0
    roster: tuple[int, ...] = ()
    bids: dict[int, Bid] = field(default_factory=dict)
    award: Award | None = None
    closed: ClosedRound | None = None

    @property
    def kept_bytes(self) -> int:
        """What the parts of its last closed round take, with what they lie in."""
        return sum(100 + len(bid.parts) for bid in self.closed.bids) if self.closed else 0


@dataclass(slots=True)
class Session:
    """A client. `joined` is the index of its last join; `answers` are those of its commands that
    it has not acknowledged, by `seq`."""

    id: int
    nonce: bytes
    worker: str
    last: int
    joined: int = 0
    acked_below: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)


@quick
@dataclass(frozen=True, slots=True)
class Bidder:
    """A session as a bidder of a role, since the join at `index`."""

    index: int
    session: int
    role: str
    slots: int
    skills: tuple[str, ...]


@dataclass(slots=True)
class State:
    """Everything that replicas agree on. `clock` in ms never goes back; `applied` is the index of
    the last command. The order of no mapping means anything."""

    version: int = 1
    clock: int = 0
    applied: int = 0
    tasks: dict[str, Task] = field(default_factory=dict)
    sessions: dict[int, Session] = field(default_factory=dict)
    bidders: dict[str, dict[int, Bidder]] = field(default_factory=dict)
