"""Keeps leases: renews what this process holds, and says what it has lost.

It runs in a thread of its own with a connection of its own, so that a handler which blocks the
event loop does not cost the lease. A delivery is lost when the backend says so, or when no
renewal was confirmed for a whole lease, by the larger of monotonic and wall clock: the monotonic
clock alone may stand still while a machine sleeps.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from bus.backend import Delivery
from bus.errors import BusError, LockedOut
from contracts.clock import Clock

_log = structlog.get_logger("muster.keeper")

_JUST_BEGUN = 0.1
"""Seconds; most runs end before their lease needs a renewal."""

RENEWALS = 4
"""Renewals tried per lease."""


class Extender(Protocol):
    """The part of a backend that the keeper needs."""

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]: ...
    async def close(self) -> None: ...


@dataclass(slots=True)
class _Held:
    delivery: Delivery
    monotonic: float
    wall: float


class Keeper:
    """Holds deliveries until they are released.

    `lost` is called, from whichever thread runs `keep`, once for each delivery that is no longer
    ours. `hold` and `release` may be called from any thread. `trouble` says why the last round
    could not renew; empty when it could, or when there was nothing to renew.
    """

    def __init__(self, lease: float, clock: Clock, lost: Callable[[Delivery], None]) -> None:
        self._lease = lease
        self._clock = clock
        self._lost = lost
        self._held: dict[int, _Held] = {}
        self.trouble = ""

    def hold(self, *deliveries: Delivery) -> None:
        """Renew `deliveries` from now on."""
        monotonic, wall = self._clock.monotonic(), self._clock.wall()
        for delivery in deliveries:
            self._held[id(delivery)] = _Held(delivery, monotonic, wall)

    def release(self, delivery: Delivery) -> None:
        """Stop renewing `delivery`."""
        self._held.pop(id(delivery), None)

    def holds(self, delivery: Delivery) -> bool:
        """Whether the lease of `delivery` was confirmed within its length from now."""
        held, lease = self._held.get(id(delivery)), self._lease
        if held is None or self._clock.monotonic() - held.monotonic >= lease:
            return False
        return self._clock.wall() - held.wall < lease

    async def keep(self, extender: Extender) -> None:
        """Renew for ever; cancel to stop. A broker that is away is tried again each round; a
        renewal that hangs does not hide that a lease is over."""
        renewing: asyncio.Task[None] | None = None
        try:
            while True:
                await self._clock.sleep(self._lease / RENEWALS)
                self.give_up()
                if renewing is None or renewing.done():
                    renewing = asyncio.create_task(self.renew(extender))
        finally:
            if renewing is not None:
                renewing.cancel()
                await asyncio.wait([renewing])

    def give_up(self) -> None:
        """What was not renewed for a whole lease is lost."""
        for held in self._held.copy().values():
            if self._age(held) >= self._lease:
                self._lose(held.delivery)

    async def renew(self, extender: Extender) -> None:
        """One round: give up what is over, renew the rest unless it has just begun."""
        self.give_up()
        monotonic, wall = self._clock.monotonic(), self._clock.wall()
        due = [held for held in self._held.copy().values() if self._age(held) > _JUST_BEGUN]
        if not due:
            self.trouble = ""
            return
        try:
            lost = await extender.extend([held.delivery for held in due])
        except BusError as error:
            self.trouble = str(error)
            say = _log.debug if isinstance(error, LockedOut) else _log.warning  # told already
            say("cannot renew leases; trying again", count=len(due), error=str(error))
            return
        except Exception as error:  # noqa: BLE001 - one that ends would lose every lease unheard
            self.trouble = str(error) or type(error).__name__
            _log.exception("cannot renew leases; trying again", count=len(due))
            return
        self.trouble = ""
        for delivery in lost:
            self._lose(delivery)
        for held in due:
            held.monotonic, held.wall = monotonic, wall

    def _age(self, held: _Held) -> float:
        return max(self._clock.monotonic() - held.monotonic, self._clock.wall() - held.wall)

    def _lose(self, delivery: Delivery) -> None:
        if self._held.pop(id(delivery), None) is not None:
            self._lost(delivery)


class KeeperThread:
    """Runs a keeper in a thread with an event loop and a connection of its own."""

    def __init__(self, keeper: Keeper, connect: Callable[[], Awaitable[Extender]]) -> None:
        self._keeper = keeper
        self._connect = connect
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
        self._began = self._asked_to_end = False

    @property
    def ended_by_itself(self) -> bool:
        """Whether it keeps nothing any more although nobody asked it to stop."""
        return self._began and not self._asked_to_end and not self._thread.is_alive()

    async def start(self) -> None:
        """Return when the keeper is connected; raises what connecting raises."""
        self._thread.start()
        self._began = True
        await asyncio.to_thread(self._ready.wait)
        if self._failed is not None:
            raise self._failed

    async def stop(self) -> None:
        """Return when the thread has ended."""
        self._asked_to_end = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None and self._thread.is_alive():
            with suppress(RuntimeError):  # its loop has just ended by itself
                loop.call_soon_threadsafe(task.cancel)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - raised by `start`
            self._failed = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        extender = await self._connect()
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        try:
            await self._keeper.keep(extender)
        finally:
            await extender.close()
