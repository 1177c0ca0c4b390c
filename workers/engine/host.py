"""One worker process: the workers of its roles, and the keeper of all their leases."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from bus.backend import Delivery
from bus.bus import Bus
from bus.settling import Finished, Plan
from contracts.clock import Clock
from contracts.limits import NO_LIMITS, Limit
from workers.auctions.hearing import Hearing
from workers.auctions.ledger import Ledger
from workers.auctions.source import Setting, auctioned, needed
from workers.engine.identity import Identity
from workers.engine.isolation import Isolation
from workers.engine.keeper import Extender, Keeper, KeeperThread
from workers.engine.opening import Resources
from workers.engine.seams import Seams
from workers.engine.threads import GRACE
from workers.engine.worker import Worker
from workers.sdk.errors import HandlerStuck
from workers.sdk.role import Role
from workers.telemetry.metrics import RoleFigures
from workers.telemetry.telling import Telling


def _nothing() -> None:
    return


class Host:
    """Runs one worker per role until `stop`, then drains them all at once. `ending` is called when
    it ends by itself, because a plain handler does not. `ledger`: what auctioned roles need; raises
    `NoLedger` where one has none."""

    def __init__(
        self,
        roles: Sequence[Role],
        bus: Bus,
        who: Identity,
        clock: Clock,
        *,
        lease: float,
        drain: float,
        extender: Callable[[], Awaitable[Extender]],
        tenants: Mapping[str, Limit] = NO_LIMITS,
        telling: Telling | None = None,
        ending: Callable[[], None] = _nothing,
        ledger: Ledger | None = None,
    ) -> None:
        self.who, self._ledger = who, ledger
        self._hearing: Hearing | None = None
        self._bus = bus
        self.stopping = False
        self._over = asyncio.Event()
        self._keeper = Keeper(lease, clock, self._lost)
        self._thread = KeeperThread(self._keeper, extender)
        self._loop: asyncio.AbstractEventLoop | None = None
        telling = telling or Telling()
        self._isolation = Isolation(telling.passed_on)
        self._warm = any(role.isolation for role in roles)
        self._roles = roles
        self._resources, self._ending = Resources(), ending
        self._opening: asyncio.Task[None] | None = None
        self._stuck: HandlerStuck | None = None
        given = partial(self._made, bus, clock, drain=drain, tenants=tenants, telling=telling)
        self._workers = {role.name: given(role=role) for role in roles}

    def worker(self, role: str) -> Worker:
        """The worker of one role."""
        return self._workers[role]

    def _made(
        self,
        bus: Bus,
        clock: Clock,
        *,
        role: Role,
        drain: float,
        tenants: Mapping[str, Limit],
        telling: Telling,
    ) -> Worker:
        return Worker(
            role,
            bus,
            self._keeper,
            self.who,
            clock,
            drain=drain,
            isolation=self._isolation,
            tenants=tenants,
            telling=telling,
            resources=self._resources,
            stuck=self._give_up,
            seams=self._seams(role, bus, clock),
        )

    def _seams(self, role: Role, bus: Bus, clock: Clock) -> Seams | None:
        """What the worker of an auctioned role is joined to. Raises `NoLedger`."""
        if role.auction is None:
            return None
        ledger = needed(self._ledger, role)
        if self._hearing is None:
            self._hearing = Hearing(ledger, clock)
        setting = Setting(
            role=role,
            terms=role.auction,
            bus=bus,
            keeper=self._keeper,
            who=self.who,
            clock=clock,
            ledger=ledger,
            hearing=self._hearing,
            rng=random.Random(),
        )
        return auctioned(setting, self._lost)

    async def over(self) -> None:
        """Return when `run` has ended."""
        await self._over.wait()

    async def ready(self) -> None:
        """Return when every role is bound: what is published from then on reaches it."""
        for worker in self._workers.values():
            await worker.bound.wait()

    @property
    def keeps(self) -> bool:
        """Whether leases are kept: the thread that does it has not ended by itself."""
        return not self._thread.ended_by_itself

    def unbound(self) -> list[str]:
        """The roles that are not bound."""
        return [role for role, worker in self._workers.items() if not worker.bound.is_set()]

    def troubles(self) -> Mapping[str, str]:
        """What does not work at this moment, and why."""
        found = {f"pulling for {role}": w.trouble() for role, w in self._workers.items()}
        found["renewing leases"] = self._keeper.trouble
        return {what: why for what, why in found.items() if why}

    def figures(self) -> list[RoleFigures]:
        """What each worker has counted. May be called from any thread."""
        return [
            RoleFigures(
                role=role,
                tallies=worker.counts.tallies,
                settling=worker.counts.settling,
                pull_errors=worker.pull_errors,
                running=worker.running,
                slots=worker.role.concurrency,
            )
            for role, worker in self._workers.items()
        ]

    async def run(self) -> None:
        """Work until `stop`; the leases are kept until the last drain is over.

        Raises `ResourceFailed` before any role is bound, when one cannot be opened, and
        `HandlerStuck` once the rest is handed back, when a plain handler did not stop in time."""
        self._loop = asyncio.get_running_loop()
        try:
            if await self._opened():
                try:
                    await self._work()
                finally:
                    await self._resources.close()
        finally:
            self._over.set()

    async def _opened(self) -> bool:
        """Open the resources; False when told to stop meanwhile."""
        task = self._opening = asyncio.current_task()
        try:
            await self._resources.open(self._roles)
        except asyncio.CancelledError:
            if task is None or not self.stopping or task.uncancel():
                raise
            return False
        finally:
            self._opening = None
        return True

    async def _work(self) -> None:
        self._bus.crashes.settled.append(self._count_crash)
        if self._warm:
            await self._isolation.warm()
        await self._thread.start()
        runs = [asyncio.create_task(worker.run()) for worker in self._workers.values()]
        try:
            await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
            self.stop()
            await asyncio.wait(runs)
        finally:
            self._bus.crashes.settled.remove(self._count_crash)
            await self._isolation.close()
            await self._thread.stop()
        errors = [self._stuck, *(run.exception() for run in runs)]
        for error in filter(None, errors):
            raise error

    def stop(self) -> None:
        """Begin to drain; what is being opened is not waited for."""
        self.stopping = True
        if self._opening is not None:
            self._opening.cancel()
        for worker in self._workers.values():
            worker.stop()

    def _count_crash(self, finished: Finished, settled: Plan) -> None:
        worker = self._workers.get(finished.delivery.group)
        if worker is not None:
            worker.counts.crashed(finished.delivery, finished.task, settled)

    def _give_up(self, role: str, task: str) -> None:
        """The process is to end: a thread cannot be ended otherwise."""
        if self._stuck is None and not self.stopping:
            self._stuck = _stuck(role, task)
            self._ending()
        for worker in self._workers.values():
            worker.quit()
        self.stop()

    def _lost(self, delivery: Delivery) -> None:
        """Called in the keeper's thread too: the run is ended in the loop it belongs to."""
        if self._loop is not None:
            worker = self._workers[delivery.group]
            self._loop.call_soon_threadsafe(worker.lose, delivery)


def _stuck(role: str, task: str) -> HandlerStuck:
    return HandlerStuck(
        f"a handler of role {role} did not stop",
        details=f"task {task} was to end, and its thread went on for {GRACE:g} s",
        actions=(
            "let its loops ask ctx.cancelled",
            'or give each task a process of its own: isolation="process"',
        ),
    )
