"""What opens a connection to a broker, and what comes of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bus.backend import Backend
from bus.examined import Examined
from bus.keyvalue.protocol import KeyValue
from bus.lockout import Lockouts
from contracts.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a process brings to a broker.

    `url`: where it is, with credentials. `lease`: seconds. `slices`: into how many each lane is
    cut. `name`: what the broker may show of this process. `max_bytes`: what the fleet's tasks may
    fill; None leaves that as it is. `database`: the URL of the bus database, for brokers that need
    one. `patience`: seconds until a broker that does not answer is `Unreachable`. `fallback`: the
    URL of a second bus for what the one at `url` cannot take. `lockouts`: the process's, if it has
    connections beside these.
    """

    url: str
    fleet: str
    clock: Clock
    lease: float = 10.0
    slices: int = 1
    name: str = "muster"
    max_bytes: int | None = None
    database: str | None = None
    patience: float = 5.0
    fallback: str | None = None
    lockouts: Lockouts = field(default_factory=Lockouts)


@dataclass(frozen=True, slots=True)
class Parts:
    """A backend and a store, and the connections under them, which `close` lets go of once both are
    closed. `examine`: what the broker tells of itself."""

    backend: Backend
    store: KeyValue
    close: Callable[[], Awaitable[None]]
    examine: Callable[[], Awaitable[Examined]]
