"""How a node ends that cannot go on."""

import os
import sys

from contracts.errors import MusterError

CODE = 70
"""What the process returns: EX_SOFTWARE of sysexits.h."""


class Diverged(MusterError):
    """This node has applied the same log and come to another state: it must do nothing more."""

    def __init__(self, index: int, own: bytes, told: bytes) -> None:
        super().__init__(
            "this node's state is not that of the leader",
            details=f"after entry {index} it is {own.hex()[:16]} here, {told.hex()[:16]} there",
            actions=(
                "keep the folders of this node and of the leader for whoever looks into it",
                "see that all members run the same release, then replace this node",
            ),
        )


def told(error: BaseException) -> str:
    """What happened, why and what to do, for the last lines of a log."""
    if isinstance(error, MusterError):
        message, details, actions = error.lines()
        return f"{message}\n  why: {details}\n  do: {actions}"
    return f"{type(error).__name__}: {error}"


def leave(error: BaseException) -> None:
    """End the process at once, with the reason on standard error: nothing is flushed, written or
    answered any more, as whatever this node says next may be wrong."""
    sys.stderr.write(f"the node of the ledger ends: {told(error)}\n")
    sys.stderr.flush()
    os._exit(CODE)
