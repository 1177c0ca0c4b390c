"""The seam to a broker: eight methods that move bytes. A backend does not retry, decode or judge.

Obligations on every implementation (the conformance suite in `tests/bus/` holds them to it):

* Every call may run concurrently with every other, from one event loop. None retries inside.
* Only `bus.errors` leave, with the client library's exception as `__cause__`.
* A call that is cancelled leaves nothing half-owned: what it had taken is handed out again by
  the next `pull`, or comes back to the group within the lease; where the broker can tell, without
  counting as a hand-over.
* Leases and due times are counted by one clock, the broker's or, where it has none, that of the
  database beside it. A lease shorter than the broker can keep is refused when connecting.
* Where two servers make one broker, `Unreachable` says in its details which of them is away, and
  is `DatabaseUnreachable` for the bus database.
* A login that is refused when connecting again is `LockedOut` (`bus.lockout`), and is tried again:
  whoever calls waits as for a broker that is away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from contracts.quick import quick
from contracts.topics import RESERVED

_OWN = f"{RESERVED}."


class LaneName(StrEnum):
    """The lanes of a group, in the order they are pulled."""

    HIGH = "high"
    RETRY = "retry"
    NORMAL = "normal"
    LOW = "low"


@dataclass(frozen=True, slots=True, order=True)
class Lane:
    """A waiting line of a group. A message tells its tenant's `slice`, from 0 up to `SLICES`; a
    fleet that cuts its lanes into N keeps slice k in the lane k modulo N."""

    name: LaneName
    slice: int = 0


HIGH, RETRY, NORMAL, LOW = (Lane(name) for name in LaneName)

SLICES = 16
"""Slices that tenants are spread over when they publish, whatever number a fleet pulls by: so
publishers need not know that number. More make more filters and consumers on a broker."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Lanes that share `most` messages of one pull evenly. What one of them does not use goes to
    the others; what cannot be halved goes to those named first."""

    lanes: tuple[Lane, ...]
    most: int


MAX_BODY = 900 * 1024
"""Bytes of a body a backend must take (promise 2), whatever the broker's own limit is."""

MAX_HEADERS = 16 * 1024
"""Bytes of all header names and values together."""

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def _no_headers() -> Mapping[str, str]:
    return _NO_HEADERS


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """What a backend carries.

    `group` None: routed by `topic` to every group bound to it when it is published, and then
    `copy` is 0. `group` set: for that group only. `due` is the epoch second before which it is
    not handed out; 0 means now. A message with `due` or with `copy` > 0 lies in the RETRY lane of
    its group whatever broker carries it; with `due`, a message routed by topic is one of its own
    for each group from its publish on, whatever the clock says by then: published again, it has
    the same keys. `id` is empty on a delivery whose message was published by a foreign client that
    gave none.
    """

    id: str
    copy: int
    topic: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=_no_headers)
    lane: Lane = NORMAL
    due: float = 0.0
    group: str | None = None

    def key(self, group: str | None = None) -> str:
        """The dedupe key `id/group/copy`; the group is `*` for a message routed by topic."""
        return f"{self.id}/{group or self.group or '*'}/{self.copy}"


@quick
@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message in our hands until its lease runs out; compared by identity.

    `earlier` counts hand-overs of this copy nobody answered: a hint that never leaves `bus`.
    Only the backend that made the delivery looks into `receipt`.
    """

    message: Message
    group: str
    earlier: int
    receipt: object


def is_owed(message: Message) -> bool:
    """Whether there must be a group for it. What muster tells of tasks (`muster.…`) is for
    whoever listens."""
    return message.group is not None or not message.topic.startswith(_OWN)


@dataclass(frozen=True, slots=True)
class Lag:
    """What lies in one lane of a group; `None` where the broker cannot say, never a guess."""

    waiting: int | None
    delayed: int | None
    leased: int | None


class Backend(Protocol):
    """A broker, or something that keeps the same promises."""

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """From its return on, every publish of any process reaches `group` where a pattern
        matches, whether or not a member of the group is running. Binding again with the same
        patterns changes nothing; with others it replaces them and loses nothing accepted. May
        take seconds, and keeps no other group waiting."""
        ...

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """Forget the group. Refused (`Conflict`) while anything waits for it unless `drop`.
        A group that is not bound is no error."""
        ...

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """Return when all are safe on the broker's disk for every group they are for.

        The whole call is checked before anything is sent: `Unroutable` if a topic has no group
        (one of muster's own is dropped instead) or a named `group` is not bound, `TooLarge`. After
        any other error some may be out, and
        repeating the call is safe: the same dedupe key within two minutes, from publish to
        publish, is one message.
        `Full` and `Unreachable` are the caller's to repeat. `follow_up`: runs under way publish
        them, which may fill some of the room kept for draining (`bus.fullness`).
        """
        ...

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """At most `limit` messages (a backend may take fewer at once), those of earlier lanes and
        turns first, as soon as there is one; empty after about `wait` seconds. A lane may have
        several turns. Each message is ours for the lease and has the `due` it was published with.
        Raises `Unroutable` when the group is not bound, `InvalidValue` for a `limit` below 1; one
        that waits when the backend is closed raises `Closed`."""
        ...

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """Make `then` safe, then forget `deliveries`; return those that were no longer ours.

        Nothing crashes between: at worst `then` is out twice with the same dedupe key. A
        message of `then` routed by topic that no group wants is owed to nobody and dropped
        without an error; one for a group that is not bound raises `Unroutable` before anything
        is sent. `then` is sent even when some deliveries are no longer ours; it is not
        sent when none of them is (and there was at least one). A delivery already settled counts
        as no longer ours. Whether it is ours is told by our lease or by the broker's claims, never
        by a refused acknowledgement.
        """
        ...

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew each lease from now; return those that were no longer ours. May be called from
        another thread of the process that pulled, on another instance connected to the same
        broker, with the very same deliveries. Given nothing, it still returns only when the
        broker has answered on the connection that pulls."""
        ...

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """What lies in each slice of each lane, true within a second. Raises `Unroutable` if not
        bound."""
        ...

    async def close(self) -> None:
        """Let go of connections. What was pulled and not settled comes back by its lease. A
        second close does nothing; any other call afterwards raises `Closed`."""
        ...
