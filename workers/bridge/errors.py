"""What can be wrong with a bridge."""

from contracts.errors import MusterError


class BridgeError(MusterError):
    """The root of the bridge's errors."""


class ExtraMissing(BridgeError):
    """What the foreign side needs is not installed."""


class NotFit(BridgeError):
    """A foreign message that cannot be a task, whatever is tried."""
