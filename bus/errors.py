"""Every error that leaves the bus. The client library's own exception is the `__cause__`."""

from contracts.errors import MusterError


class BusError(MusterError):
    """The root of this package's errors."""


class Unreachable(BusError):
    """The broker did not answer. What was being sent may or may not be out: repeat it with the
    same keys, which is safe."""

    retryable = True


class DatabaseUnreachable(Unreachable):
    """The bus database did not answer; the broker it lies beside may be there."""


class LockedOut(Unreachable):
    """The broker refuses the login that it took when this process connected: until somebody mends
    that it is as if it were away. Whoever raises it has told it in the log, once."""


class DatabaseLockedOut(DatabaseUnreachable, LockedOut):
    """The same of the bus database."""


class AccessDenied(BusError):
    """The broker refused the credentials or a permission; asking again will not help."""


class Unroutable(BusError):
    """A topic that no group is bound to. Nothing of the call was sent. Its role may be on its way
    up, so the same call may succeed later."""

    retryable = True


class TooLarge(BusError):
    """A body or headers over the limit. Nothing of the call was sent."""


class Full(BusError):
    """The broker takes no new messages until some of the waiting ones are done."""

    retryable = True


class QuotaExceeded(BusError):
    """A tenant has published what it may in this window of time. Nothing of the call was sent;
    `retry_after` is when the next window begins."""

    retryable = True


class Unsafe(BusError):
    """A broker that lacks what a promise needs, such as persistence or a feature."""


class Closed(BusError):
    """A call on a backend or store that has been closed."""


class Conflict(BusError):
    """A key-value entry was not what the caller expected it to be."""


class NotDead(BusError):
    """Replay or purge of something that is not a dead letter of that group."""


class ReplayRefused(BusError):
    """A dead letter that has been replayed too often; `force` overrides."""
