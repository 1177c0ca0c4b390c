"""What a step of an auction through the bus has done for it, one after the other."""

from dataclasses import dataclass

from bus.backend import Delivery, Message
from consensus.ledger.commands import Command
from contracts.auctions import Won


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
class Delete:
    """Delete an entry, if it is there."""

    key: str


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish what came of an award."""

    key: str
    token: int
    message: Message


@dataclass(frozen=True, slots=True)
class Settle:
    """Make `then` safe, due after so many seconds, and forget the delivery."""

    delivery: Delivery
    then: Message | None
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Bury:
    """Make a dead letter of the delivery."""

    delivery: Delivery
    reason: str


@dataclass(frozen=True, slots=True)
class Say:
    """Say a command to the ledger; answered with its answer, however long that takes."""

    command: Command


@dataclass(frozen=True, slots=True)
class See:
    """Read an auction, not an old state of it; answered with it or None."""

    key: str


@dataclass(frozen=True, slots=True)
class Run:
    """Run the task while renewing the award; answered with the value, with None if it was lost, or
    `GIVEN_BACK` where the worker must end and gives it back."""

    won: Won
    lease_ms: int
    body: bytes


@dataclass(frozen=True, slots=True)
class IsAway:
    """Whether the ledger has answered nothing for a while, to anything that it was asked."""


@dataclass(frozen=True, slots=True)
class RunQueued:
    """Run a task that is not auctioned; answered with the value."""

    delivery: Delivery


@dataclass(frozen=True, slots=True)
class SettleQueued:
    """Publish what came of a task that is not auctioned, and forget it, in one step."""

    delivery: Delivery
    message: Message


GIVEN_BACK = b""
"""The answer to `Run` of a worker that ends. No value is empty."""

Deed = (
    Get | Put | Delete | Publish | Settle | Bury | Say | See | Run
    | IsAway | RunQueued | SettleQueued
)  # fmt: skip
