"""What a broker tells of itself, for a person who wants to know whether it can be relied on."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Danger:
    """A setting of the broker, or what somebody made on it, that breaks a promise.

    `said`: how it is; `why`: what that breaks; `do`: the line to change; `promise`: its number.
    """

    name: str
    said: str
    why: str
    do: str
    promise: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which of two buses a fleet publishes to. `used`: its address; `fallback`: it is the second,
    `since` an epoch second, None if nobody has told. `away`: addresses that do not answer."""

    used: str
    fallback: bool
    since: float | None = None
    away: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """A broker as a client sees it; None where it cannot say. Bytes, and seconds.

    `identity`: what no other server has. `ahead`: how far its clock is before ours, true to
    `doubt` either way. `used` of `limit`: what the fleet's tasks fill, and may fill. `storage`:
    what this account may store, all fleets together; `stored` what it does. `unseen`: what it shows
    no client, and what breaks a promise only where somebody has changed it. `hides_sync`: it tells
    no client whether it syncs every write, which it does not unless it is told to. `route`: of a
    fleet with two buses.
    """

    program: str
    version: str
    identity: str
    ahead: float | None = None
    doubt: float = 0.0
    used: int | None = None
    limit: int | None = None
    storage: int | None = None
    stored: int | None = None
    dangers: Sequence[Danger] = ()
    unseen: Sequence[Danger] = ()
    hides_sync: bool = False
    route: Route | None = None
