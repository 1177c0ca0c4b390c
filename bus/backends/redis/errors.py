"""What a Redis server says when it refuses, as errors of the bus. Pure."""

from bus.errors import AccessDenied, BusError, Full, Unreachable, Unsafe
from bus.fullness import AGAIN

_DENIED = frozenset({"NOAUTH", "WRONGPASS", "NOPERM"})
_AWAY = frozenset(
    {"LOADING", "BUSY", "MASTERDOWN", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK"}
    | {"MISCONF", "NOREPLICAS", "UNKILLABLE", "UNBLOCKED"}
)
"""First words of answers that another moment, or another server, may give otherwise."""


_CROWDED = "ERR max number of clients"


class Refused(Exception):
    """An error the server answered with; its first word is the `code`."""

    @property
    def code(self) -> str:
        """Such as NOSCRIPT, OOM or ERR."""
        return str(self).partition(" ")[0]


class Lost(Exception):
    """The connection went before the answer came."""


class ClosedByUs(Lost):
    """The connection was closed by this process."""


def denied(error: Refused) -> bool:
    """Whether it is about credentials or permissions."""
    return error.code in _DENIED or str(error).startswith("ERR AUTH")


def moved_to(error: Refused) -> tuple[str, int] | None:
    """Host (empty: the same) and port of the node of a cluster that has the keys, if it says so:
    `MOVED 3999 127.0.0.1:6381`."""
    if error.code != "MOVED":
        return None
    host, _, port = str(error).rpartition(" ")[2].rpartition(":")
    return host, int(port)


def unreachable(doing: str, why: str) -> Unreachable:
    """The server gave no answer that counts."""
    return Unreachable(
        f"the broker did not answer: {doing}",
        details=why,
        actions=("repeat it: the same keys are safe", "look whether the Redis server runs"),
    )


def out_of_memory(doing: str, said: str) -> Full:
    """The server is at its `maxmemory`."""
    return Full(
        f"the broker is full: {doing}",
        details=said,
        actions=("start more workers", "or raise the server's maxmemory"),
        retry_after=AGAIN,
    )


def refusal(error: Refused, doing: str) -> BusError:
    """The error to raise for an answer; raise it from that answer."""
    if denied(error):
        return AccessDenied(
            f"the broker refused access: {doing}",
            details=str(error),
            actions=(
                "check user and password in the url of the bus",
                "allow that user the keys, channels and commands that docs/brokers/redis.md names",
            ),
        )
    if error.code == "OOM":
        return out_of_memory(doing, str(error))
    if error.code in _AWAY or str(error).startswith(_CROWDED):
        return unreachable(doing, str(error))
    return Unsafe(
        f"the broker refused: {doing}",
        details=str(error),
        actions=("run `muster doctor`", "use a Redis server from 7.0 on"),
    )
