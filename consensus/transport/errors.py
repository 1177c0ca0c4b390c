"""What may go wrong between two speakers. What refuses and forges is in `consensus.wire.errors`."""

from contracts.errors import MusterError


class Unreached(MusterError):
    """No connection could be opened; nothing was sent."""

    retryable = True

    def __init__(self, address: str, details: str) -> None:
        super().__init__(
            f"no node of the ledger answers at {address}",
            details=details,
            actions=("start it", "see address, port and TLS on both sides"),
        )


class Lost(MusterError):
    """The connection is closed. What was asked in it and not answered may be done or not."""

    retryable = True

    def __init__(self, details: str) -> None:
        super().__init__(
            "the connection to the ledger is closed",
            details=details,
            actions=("open another one", "ask the same command again in the same session"),
        )


class NoAnswer(MusterError):
    """No answer in time. What was asked may be done, or be done yet."""

    retryable = True

    def __init__(self, seconds: float) -> None:
        super().__init__(
            "the ledger did not answer in time",
            details=f"nothing came within {seconds:g} s",
            actions=("ask the same command again in the same session",),
        )


class Failed(MusterError):
    """The node failed at what was asked; nobody knows what of it is done."""

    retryable = True

    def __init__(self, details: str) -> None:
        super().__init__(
            "a node of the ledger failed at a request",
            details=details,
            actions=("see its log", "ask the same command again in the same session"),
        )
