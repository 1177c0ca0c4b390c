"""What a role says of its auctions; what cannot work is found at its import."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Any, Literal

from workers.sdk.bids import BidFunction
from workers.sdk.handlers import Place, declaration

Assign = Literal["queue", "auction"]
"""How tasks find their worker: whoever pulls first, or whoever bids best."""

Fallback = Literal["wait", "queue"]
"""What becomes of new tasks while the ledger is away."""

LONGEST = 3600.0
"""Seconds that a window or a lease may have."""

SHORTEST_LEASE = 1.0
"""Seconds: a lease is renewed three times, and a failover takes most of a second."""

MOST_SLOTS = 10_000
MOST_AWARDS = 1_000
MOST_SKILLS = 32
LONGEST_WORD = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Auctioned:
    """How the tasks of a role are auctioned; see `workers.sdk.declaring.Options`. Times in seconds.
    `skills` in order, each once. `slots` None: as many as the role's concurrency. `bid` None:
    `workers.auctions.bidding.default_bid`."""

    skills: tuple[str, ...] = ()
    window: float = 0.5
    lease: float = 30.0
    max_awards: int = 3
    slots: int | None = None
    fallback: Fallback = "wait"
    bid: BidFunction | None = None


def auctioned(
    options: Mapping[str, Any], given: Mapping[str, Any], place: Place
) -> Auctioned | None:
    """What `options` say of auctions, `given` being the role's others. Raises `RoleError`."""
    said = {name: options[name] for name in _CHECKS if name in options}
    assign = options.get("assign", "queue")
    if assign not in ("queue", "auction"):
        raise declaration(place, f'assign={assign!r}, expected "queue" or "auction"')
    if assign == "queue":
        if said:
            first, value = next(iter(said.items()))
            raise declaration(place, f'{first}={value!r} belongs to assign="auction"')
        return None
    _check_role(given, place)
    found = Auctioned(**{name: _CHECKS[name](name, value, place) for name, value in said.items()})
    most = given.get("concurrency", _CONCURRENCY)
    if found.slots is not None and found.slots > most:
        reason = f"slots={found.slots} is more than concurrency={most}"
        raise declaration(place, f"{reason}: what is awarded would wait, and lapse")
    return found


_CONCURRENCY = 8


def _check_role(given: Mapping[str, Any], place: Place) -> None:
    """What no auctioned role can have."""
    if given.get("delivery") == "once":
        reason = 'delivery="once" and assign="auction" contradict each other'
        raise declaration(place, f"{reason}: a task whose award lapsed runs again")


def _seconds(what: str, value: Any, place: Place, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise declaration(place, f"{what}={value!r} has to be a number of seconds")
    if not least <= value <= LONGEST:
        raise declaration(place, f"{what}={value!r} has to lie from {least:g} to {LONGEST:g} s")
    return float(value)


def _window(what: str, value: Any, place: Place) -> float:
    return _seconds(what, value, place, 0.001)


def _lease(what: str, value: Any, place: Place) -> float:
    return _seconds(what, value, place, SHORTEST_LEASE)


def _whole(what: str, value: Any, place: Place, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise declaration(place, f"{what}={value!r} has to be a whole number from 1 to {most:,}")
    return value


def _awards(what: str, value: Any, place: Place) -> int:
    return _whole(what, value, place, MOST_AWARDS)


def _slots(what: str, value: Any, place: Place) -> int | None:
    return None if value is None else _whole(what, value, place, MOST_SLOTS)


def _skills(what: str, value: Any, place: Place) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, list | tuple | set | frozenset):
        raise declaration(place, f"{what}={value!r}, expected a list of words")
    for word in words:
        if not isinstance(word, str) or not 1 <= len(word) <= LONGEST_WORD or "\n" in word:
            raise declaration(place, f"{what}: {word!r} is no word of 1 to {LONGEST_WORD} signs")
    if len(set(words)) > MOST_SKILLS:
        raise declaration(place, f"{what} has {len(set(words))} words, the ledger takes 32")
    return tuple(sorted(set(words)))


def _fallback(what: str, value: Any, place: Place) -> Any:
    if value not in ("wait", "queue"):
        raise declaration(place, f'{what}={value!r}, expected "wait" or "queue"')
    return value


def _bid(what: str, value: Any, place: Place) -> Any:
    if value is not None and not callable(value):
        raise declaration(place, f"{what}={value!r}, expected a function of a Situation")
    return value


_CHECKS: Mapping[str, Callable[[str, Any, Place], Any]] = MappingProxyType(
    {
        "skills": _skills,
        "window": _window,
        "lease": _lease,
        "max_awards": _awards,
        "slots": _slots,
        "fallback": _fallback,
        "bid": _bid,
    }
)

OPTIONS = ("assign", *_CHECKS)
"""The options of `@role` that are of auctions."""
