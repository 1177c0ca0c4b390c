"""Where the tasks of one role come from: it is bound and pulled for here."""

import asyncio
from math import inf

import structlog

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError, Closed, LockedOut, Unroutable
from bus.suspects import Blame
from contracts.clock import Clock
from workers.engine.keeper import Keeper
from workers.sdk.role import Role

_log = structlog.get_logger("muster.worker")

WAIT = 20.0
"""Seconds a pull waits for work before it asks again: an idle worker is a quiet one."""

TOLD_EVERY = 30.0
"""Seconds between two lines of the log about pulls that fail."""

_OVERDUE = 10.0
"""Seconds beyond its wait that a pull may take: longer than a broker is waited for."""


class Source:
    """The deliveries of one role; `keeper` holds what was pulled from that moment on. `errors`: how
    often a pull has failed. `blame` None: what comes back from a crash is brought as it is."""

    def __init__(
        self, role: Role, bus: Bus, keeper: Keeper, clock: Clock, blame: Blame | None
    ) -> None:
        self.bound = asyncio.Event()
        self.failed = ""
        self.errors = 0
        self._role = role
        self._bus = bus
        self._keeper = keeper
        self._clock = clock
        self._blame = blame
        self._ends = inf
        self._told = -inf

    @property
    def wait(self) -> float:
        """Seconds the next pull is to wait. After one that failed it returns at once: only then is
        known that it works."""
        return 0.0 if self.failed else WAIT

    def trouble(self) -> str:
        """Why no task can come here now; empty while one can. May be called from any thread."""
        late = self._clock.monotonic() - self._ends
        return f"a pull is {late:.0f} s late" if late > 0 else self.failed

    async def bind(self) -> None:
        """Bind the role to its patterns."""
        await self._bus.join(self._role.name, self._role.listens)
        self.bound.set()

    async def pull(
        self, *, free: int, ahead: int, returning: int, wait: float
    ) -> list[Delivery] | None:
        """As `Bus.pull`; None when it failed, after a moment."""
        self._ends = self._clock.monotonic() + wait + _OVERDUE
        try:
            if not self.bound.is_set():
                await self.bind()
            await self._bus.stop_view.until_fresh()
            found = await self._bus.pull(
                self._role.name,
                free=free,
                ahead=ahead,
                returning=returning,
                wait=wait,
                blame=self._blame,
            )
            self._keeper.hold(*found)
            self._works()
            return found
        except Unroutable:
            _log.warning("the role was unbound; binding it again", role=self._role.name)
            self.bound.clear()
        except Closed:
            raise
        except BusError as error:
            self._fails(error)
            await self._clock.sleep(0.5)
        finally:
            self._ends = inf
        return None

    def drain(self) -> None:
        """Nothing is left to do: what was pulled is the worker's."""

    async def close(self) -> None:
        """Nothing is left to do."""

    def _fails(self, error: BusError) -> None:
        """What goes on is told again from time to time."""
        self.failed = str(error)
        self.errors += 1
        if isinstance(error, LockedOut):
            return  # told already
        now = self._clock.monotonic()
        if now - self._told >= TOLD_EVERY:
            self._told = now
            _log.warning("cannot pull; trying again", role=self._role.name, error=self.failed)

    def _works(self) -> None:
        if self.failed and self._told > -inf:
            _log.info("pulls work again", role=self._role.name)
        self.failed = ""
