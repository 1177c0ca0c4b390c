"""What a step of an auction asks for, one thing at a time."""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal

from consensus.ledger.commands import Adopt, Cancel, Complete, Open, Release, Renew
from contracts.auctions import Won
from contracts.outcomes import Reason


class _Returned(Enum):
    RETURNED = "returned"


RETURNED: Final = _Returned.RETURNED
"""What a run comes to that was given back unfinished."""

Returned = Literal[_Returned.RETURNED]


@dataclass(frozen=True, slots=True)
class Get:
    """Read an entry; answered with its value or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Put:
    """Store an entry."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class PutNew:
    """Store an entry where there is none; answered with what was there, or None."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an entry, if it is there."""

    key: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """Delete the outcomes of every award of this key: none of them counts any more."""

    key: str


@dataclass(frozen=True, slots=True)
class Say:
    """Say a command to the ledger; what it refuses is thrown."""

    command: Open | Renew | Complete | Adopt | Release | Cancel


@dataclass(frozen=True, slots=True)
class See:
    """Read an auction, not an old state of it; answered with it or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run the task while renewing the award; answered with its outcome as bytes, with `RETURNED`,
    or None where the award was lost."""

    won: Won
    body: bytes


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish what came of an award; whoever does it, and however often, it is the same."""

    key: str
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Watch:
    """Make a watch copy of the delivery safe, due in so many seconds, then forget the delivery."""

    key: str
    after: float


@dataclass(frozen=True, slots=True)
class Forget:
    """Forget the delivery; nothing is owed for it."""


@dataclass(frozen=True, slots=True)
class Stop:
    """End the task of the delivery as cancelled."""


@dataclass(frozen=True, slots=True)
class Bury:
    """Make a dead letter of the delivery."""

    reason: Reason
    text: str


Stored = Get | Put | PutNew | Delete | Sweep
Deed = Stored | Say | See | Run | Publish | Watch | Forget | Stop | Bury
Step = Generator[Deed, Any, bool]
"""It returns whether it has got as far as it could."""
