"""What a worker's loop is joined to: where its runs come from, and where their ends go."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bus.backend import Delivery
from bus.bus import Bus
from bus.settling import Finished, Plan
from bus.suspects import Blame
from contracts.clock import Clock
from contracts.envelope import Envelope
from workers.engine.executor import policy_of
from workers.engine.identity import Identity
from workers.engine.keeper import Keeper
from workers.engine.slots import Slots
from workers.engine.source import Source
from workers.sdk.role import Role

Keeps = Callable[[Envelope, float], None]
"""Takes a task that a run publishes, and its due time, until the run's end counts. Raises
`TooLarge`."""


class Pulls(Protocol):
    """Where the runs of one role come from. `failed`: why the last pull did."""

    bound: asyncio.Event
    failed: str

    @property
    def errors(self) -> int:
        """Pulls that failed."""
        ...

    @property
    def wait(self) -> float:
        """Seconds the next pull is to wait."""
        ...

    def trouble(self) -> str:
        """Why no task can come here now; empty while one can. May be called from any thread."""
        ...

    async def bind(self) -> None:
        """Begin: bind the role to its patterns."""
        ...

    async def pull(
        self, *, free: int, ahead: int, returning: int, wait: float
    ) -> list[Delivery] | None:
        """As `Bus.pull`; None when it failed, after a moment."""
        ...

    def drain(self) -> None:
        """Nothing is pulled any more; what was pulled is settled or given back."""
        ...

    async def close(self) -> None:
        """Every run has ended."""
        ...


class Ends(Protocol):
    """Where the ends of runs go."""

    async def settle(self, finished: Finished) -> Plan | None:
        """As `Bus.settle`."""
        ...

    async def hand_back(self, delivery: Delivery, task: Envelope | None) -> bool:
        """As `Bus.hand_back`."""
        ...

    def keeps(self, delivery: Delivery) -> Keeps | None:
        """Who takes what the run publishes; None: it is published at once."""
        ...


class Leases(Protocol):
    """Whether what was pulled is still ours."""

    def holds(self, delivery: Delivery) -> bool:
        """Whether it is, by the clock of this process."""
        ...

    def release(self, delivery: Delivery) -> None:
        """It is over."""
        ...


@dataclass(frozen=True, slots=True)
class Seams:
    """Of one role in one process."""

    source: Pulls
    ends: Ends
    leases: Leases
    slots: Slots


class OverBus:
    """Ends that are settled on the bus."""

    def __init__(self, bus: Bus) -> None:
        self.settle = bus.settle
        self.hand_back = bus.hand_back

    def keeps(self, _: Delivery) -> Keeps | None:
        """Nobody: it is published at once."""
        return None


def blame_of(role: Role, who: Identity) -> Blame:
    """By what crashes of the role's tasks are counted here."""
    return Blame(policy_of(role), who.name, who.pid)


def on_the_bus(role: Role, bus: Bus, keeper: Keeper, who: Identity, clock: Clock) -> Seams:
    """Whoever pulls a task first runs it, and settles it."""
    source = Source(role, bus, keeper, clock, blame_of(role, who))
    return Seams(source, OverBus(bus), keeper, Slots(role.concurrency))
