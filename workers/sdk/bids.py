"""What a worker knows when it is asked for a task, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NOTHING: Mapping[str, str | int | float] = MappingProxyType({})


def _nothing() -> Mapping[str, str | int | float]:
    return _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A task that is auctioned, and the worker that may bid for it.

    `words`: those of its topic and its subjects; empty where the task was not read, which a worker
    does only if its role has skills or a `bid` of its own. `payload`: the task's body, likewise.
    `free` of `slots` places are free here. `runs` of similar tasks have ended in this process,
    `succeeded` of them well, in `seconds` and for `cost` micro-dollars on average; None where
    nothing is known.
    """

    role: str
    key: str
    topic: str = ""
    words: frozenset[str] = frozenset()
    payload: bytes = b""
    skills: tuple[str, ...] = ()
    free: int = 1
    slots: int = 1
    runs: int = 0
    succeeded: int = 0
    seconds: float | None = None
    cost: int | None = None


@dataclass(frozen=True, slots=True)
class Bid:
    """The highest `score` wins, then the lowest `cost` in micro-dollars. Both are whole numbers:
    the members of the ledger have to agree to the last bit. `parts`: what the score is made of,
    for people; at most 512 bytes of it as JSON are kept."""

    score: int
    cost: int = 0
    parts: Mapping[str, str | int | float] = field(default_factory=_nothing)


BidFunction = Callable[[Situation], Bid | None]
"""What a role may pass as `bid`: pure and quick, and None where it does not want the task."""
