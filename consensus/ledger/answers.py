"""What the ledger answers. Answers are kept for repetitions, so they are part of its state."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from consensus.ledger.encoding import Layout, Malformed
from contracts.auctions import ERRORS, AuctionError, Phase, Refusal
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class SessionOpened:
    """The number of the session, which is its index in the log."""

    session: int


@quick
@dataclass(frozen=True, slots=True)
class Alive:
    """The session lives; `roles` it is a bidder of, in order. One missing: join again."""

    roles: tuple[str, ...]


@quick
@dataclass(frozen=True, slots=True)
class Joined:
    """The session is a bidder of the role, since this index."""

    index: int


@quick
@dataclass(frozen=True, slots=True)
class Left:
    """The session is no bidder of the role, or of no role."""


@quick
@dataclass(frozen=True, slots=True)
class Opened:
    """The auction exists, since this index; `deadline` was that of its first round, in ms."""

    index: int
    deadline: int


@quick
@dataclass(frozen=True, slots=True)
class Taken:
    """The bid, or the pass, counts in this round."""

    round: int


@quick
@dataclass(frozen=True, slots=True)
class Awarded:
    """The round is decided; the token is the index of this entry."""

    token: int
    session: int
    worker: str
    lease_until: int


@quick
@dataclass(frozen=True, slots=True)
class Reopened:
    """There is no award now. Either bidders were asked in this round, until `deadline`, or nobody
    is (`asked` 0): then the next round comes at `deadline`, or when somebody has a slot."""

    round: int
    deadline: int
    asked: int


@quick
@dataclass(frozen=True, slots=True)
class Renewed:
    """The award is live at least until then."""

    lease_until: int


@quick
@dataclass(frozen=True, slots=True)
class Finished:
    """The auction has ended so. `token` is that of the award that completed it, else 0."""

    phase: Phase
    token: int


@quick
@dataclass(frozen=True, slots=True)
class Done:
    """A command of the leader that has nothing to tell but how many it concerned."""

    count: int


@quick
@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was done. `phase` (0: none) and `round` are where the auction stands."""

    why: Refusal
    phase: int = 0
    round: int = 0


Answer = (
    SessionOpened
    | Alive
    | Joined
    | Left
    | Opened
    | Taken
    | Awarded
    | Reopened
    | Renewed
    | Finished
    | Done
    | Refused
)

_KINDS: Mapping[int, type[Answer]] = MappingProxyType(
    {
        1: SessionOpened,
        2: Alive,
        3: Joined,
        4: Left,
        5: Opened,
        6: Taken,
        7: Awarded,
        8: Reopened,
        9: Renewed,
        10: Finished,
        11: Done,
        12: Refused,
    }
)
_LAYOUTS: Mapping[type[Answer], Layout[Any]] = MappingProxyType(
    {cls: Layout(cls) for cls in _KINDS.values()}
)
_NUMBERS: Mapping[type[Answer], int] = MappingProxyType({cls: n for n, cls in _KINDS.items()})


def pack_answer(answer: Answer) -> bytes:
    """The number of its kind in one byte, then its record."""
    return bytes((_NUMBERS[type(answer)],)) + _LAYOUTS[type(answer)].pack(answer)


def unpack_answer(data: bytes) -> Answer:
    """The answer in `data`; raises `ValueError` for anything else."""
    cls = _KINDS.get(data[0]) if data else None
    if cls is None:
        raise ValueError("these bytes are no answer of the ledger")
    try:
        answer, end = _LAYOUTS[cls].unpack(data, 1)
    except Malformed as error:
        raise ValueError("these bytes are no answer of the ledger") from error
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes behind an answer")
    found: Answer = answer
    return found


def error_of(refused: Refused, what: str) -> AuctionError:
    """The error that tells a caller that `what` was refused."""
    cls = ERRORS[refused.why]
    where = f"it is {Phase(refused.phase).name}, round {refused.round}" if refused.phase else ""
    reason = refused.why.name.replace("_", " ").lower()
    return cls(f"the ledger refused to {what}: {reason}", details=where)
