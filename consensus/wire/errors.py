"""What is wrong with bytes, keys and speakers of the ledger's network."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

from contracts.errors import MusterError


class Unreadable(MusterError):
    """Bytes that nobody who speaks this protocol sends. Whoever gets them closes the connection."""

    def __init__(self, details: str) -> None:
        super().__init__(
            "the ledger got bytes that it cannot read",
            details=details,
            actions=("see that address and port are the ledger's", "use one release everywhere"),
        )


class Forged(Unreadable):
    """A frame whose authentication code is wrong: changed, repeated, out of its order, turned back
    to its sender, or of somebody without the key."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the authentication code of frame {number} is wrong")


class TooLarge(MusterError):
    """Something that fits no frame; nothing of it was sent."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            "this is too large for the ledger's network",
            details=f"{size:,} bytes, where {limit:,} fit",
            actions=("send less at once",),
        )
        self.size = size
        self.limit = limit


class BadKey(MusterError):
    """A key of the ledger that is missing or cannot be used; found at the start."""

    def __init__(self, details: str) -> None:
        super().__init__(
            "the keys of the ledger's network cannot be used",
            details=details,
            actions=(
                "give each kind of speaker a random key of its own, of 32 bytes or more",
                "for trials on one machine only: say `insecure` in the settings",
            ),
        )


class Why(IntEnum):
    """Why a speaker is refused. The numbers are sent: they never change."""

    OTHER = 0
    """For a reason that only a newer release knows; the text says it."""
    VERSION = 1
    CLUSTER = 2
    KEY = 3
    NODE = 4
    """Another node answers at this address than the one that was called."""
    IDENTITY = 5
    """A node that is not who it says, or came back with less than it had."""
    CROWDED = 6
    CLOSING = 7


class Refused(MusterError):
    """One side does not speak with the other. `why` is for programs, though never proven to come
    from the other side: nothing but trying elsewhere or later may follow from it."""

    retryable = True

    def __init__(self, why: Why, details: str) -> None:
        super().__init__(
            "a connection of the ledger was refused", details=details, actions=_ACTIONS[why]
        )
        self.why = why


_ACTIONS: Mapping[Why, tuple[str, ...]] = MappingProxyType(
    {
        Why.OTHER: ("see the log of the other side",),
        Why.VERSION: ("bring both sides to releases that follow each other",),
        Why.CLUSTER: ("see the address: another ledger answers there",),
        Why.KEY: ("give both sides the same key for this kind of speaker",),
        Why.NODE: ("see the addresses of the members with `muster ledger status`",),
        Why.IDENTITY: ("replace this node by one with a new id", "never copy or restore a folder"),
        Why.CROWDED: ("close connections", "allow more in the settings"),
        Why.CLOSING: ("ask another node",),
    }
)
