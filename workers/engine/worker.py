"""The loop of one role in one process: pull, run, settle; drain when told to stop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog

from bus.backend import Delivery, LaneName
from bus.bus import Bus
from bus.lanes import Line
from bus.settling import Finished
from contracts.clock import Clock
from contracts.errors import MusterError
from contracts.limits import NO_LIMITS, Limit
from contracts.outcomes import Reject
from workers.engine import intake, steps
from workers.engine.counts import Counts
from workers.engine.executor import Executor
from workers.engine.halting import Halting, end_all
from workers.engine.identity import Identity
from workers.engine.isolation import Isolation
from workers.engine.keeper import Keeper
from workers.engine.observing import Observer
from workers.engine.opening import Resources
from workers.engine.run import Run
from workers.engine.seams import Seams, on_the_bus
from workers.sdk.role import Role
from workers.telemetry.telling import Telling

_log = structlog.get_logger("muster.worker")


class Worker:
    """Runs the tasks of one role until `stop`.

    At most `role.concurrency` handlers run at once. Deliveries read ahead wait in `_queue`; they
    are ours, so they are renewed and, at a stop or a pause, given back. Nothing starts while the
    view of stops is not fresh, or the role is paused. `slots` may be resized. `seams`: what it is
    joined to, by default the bus.
    """

    def __init__(
        self,
        role: Role,
        bus: Bus,
        keeper: Keeper,
        who: Identity,
        clock: Clock,
        *,
        drain: float,
        isolation: Isolation | None = None,
        tenants: Mapping[str, Limit] = NO_LIMITS,
        telling: Telling | None = None,
        resources: Resources | None = None,
        stuck: Callable[[str, str], None] | None = None,
        seams: Seams | None = None,
    ) -> None:
        self.role = role
        telling = telling or Telling()
        self.counts = Counts(telling.tenants)
        self._bus, self._clock, self._drain = bus, clock, drain
        joined = seams or on_the_bus(role, bus, keeper, who, clock)
        self.slots, self._source = joined.slots, joined.source
        self._ends, self._keeper = joined.ends, joined.leases
        settle, tracing = self._ends.settle, telling.tracing
        self._observer = seen = Observer(role.name, self.counts, settle, clock, tracing)
        self._stuck, self._starting = stuck, False
        made = partial(Executor, role, bus, who, clock, observer=seen, stuck=self._on_stuck)
        self._executor = made(isolation=isolation, tenants=tenants, resources=resources)
        self.bound = self._source.bound
        self.mean_run = intake.MovingMean()
        self._queue = Line()
        self._runs: dict[int, Run] = {}
        self._runners: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._pulling: asyncio.Task[None] | None = None
        self._view = bus.stop_view
        self._halting = Halting(bus, role.name, self._runs, self._conclude, clock)

    @property
    def running(self) -> int:
        """Handlers that run now, those waiting for children included; not what waits here for its
        limits, or for a process of its own. May be called from any thread."""
        return sum(run.called for run in list(self._runs.values()))

    async def run(self) -> None:
        """Bind the role, then work until `stop`; returns when the drain is over."""
        self._view.start()
        await self._source.bind()
        self._view.changed.append(self._on_stops)
        self._pulling = asyncio.create_task(self._pull_unless_paused())
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait({self._pulling, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            await self._end()
            self._view.changed.remove(self._on_stops)
            await self._halting.close()
            self._executor.close()
        if self._pulling.done() and not self._pulling.cancelled():
            self._pulling.result()

    def stop(self) -> None:
        """Begin to drain: pull nothing more, give back what has not started."""
        self._stopping.set()

    @property
    def pull_errors(self) -> int:
        """Pulls that the broker refused or did not answer."""
        return self._source.errors

    @property
    def busy(self) -> int:
        """Plain handlers that compute at this moment; those that wait for `ctx` do not."""
        return self._executor.busy

    def quit(self) -> None:
        """Drain without waiting for anything: what runs is given back."""
        self._drain = 0.0
        self._executor.hurry()
        self.stop()

    def _on_stuck(self, run: Run) -> None:
        """A plain handler goes on although its run is over: only the end of its process ends it."""
        run.stuck = True
        if self._stuck is None:
            self.quit()
        else:
            self._stuck(self.role.name, run.delivery.message.id)

    def trouble(self) -> str:
        """Why no task can come here now; empty while one can. May be called from any thread."""
        return self._source.trouble()

    def lose(self, delivery: Delivery) -> None:
        """The keeper lost this delivery: end its run without a result."""
        run = self._runs.get(id(delivery))
        if run is not None:
            run.lost = True
            run.cancel()
        elif self._queue.remove(delivery):
            self._observer.lost_unstarted(delivery)

    def abandon(self) -> None:
        """End every run without a result, as if its process were gone."""
        for run in list(self._runs.values()):
            run.lost = True
            run.cancel()

    def _on_stops(self) -> None:
        """Marks have changed, or are known again."""
        self._halting.look()
        self._start()
        self.slots.changed.set()

    def _is_paused(self) -> bool:
        return self._view.is_paused(self.role.name)

    async def _pull_unless_paused(self) -> None:
        """A pause gives back at once what has not started: nothing waits for its end here."""
        while True:
            await self._view.until(lambda: not self._is_paused() and self._view.fresh)
            pulling = asyncio.create_task(self._pull_for_ever())
            pausing = asyncio.create_task(self._view.until(self._is_paused))
            try:
                await asyncio.wait({pulling, pausing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await end_all(pulling, pausing)
            await self._give_back_unstarted()

    async def _pull_for_ever(self) -> None:
        while True:
            self.slots.changed.clear()
            self._start()
            ask = intake.ask(
                slots=self.slots.size,
                free=self.slots.free,
                queued=len(self._queue),
                unsettled=len(self._runners) - len(self._runs),
                mean_run=self.mean_run.value,
                attempts=self.role.attempts,
            )
            wait = self._source.wait
            found = await self._pull(free=ask.free, wait=wait) if ask.free else 0
            least = 1 if ask.free else intake.LEAST_AHEAD
            if found == ask.free and ask.ahead >= least:
                found += await self._pull(ahead=ask.ahead)
            if not found and not ask.free:
                self._source.failed = ""
                await self.slots.changed.wait()

    async def _pull(self, *, free: int = 0, ahead: int = 0, wait: float = 0.0) -> int:
        returning = max(0, self.slots.size - self._queue.count(LaneName.RETRY))
        found = await self._source.pull(free=free, ahead=ahead, returning=returning, wait=wait)
        if found is None:
            return 0
        self._queue.extend(found)
        self._start()
        return len(found)

    def _start_soon(self) -> None:
        """Start what waits here once for all runs that end in this moment."""
        if self._queue and not self._starting:
            self._starting = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        """Start what waits here, as far as there are places."""
        self._starting = False
        if not self._queue or self._stopping.is_set():
            return
        if self._is_paused() or not self._view.fresh:
            return
        spawn = asyncio.get_running_loop().create_task
        for _ in range(min(len(self._queue), self.slots.free)):
            run = Run(self._queue.pop(), self.slots.take())
            run.keeps = self._ends.keeps(run.delivery)
            self._runs[id(run.delivery)] = run
            run.runner = runner = spawn(self._process(run))
            self._runners.add(runner)
            runner.add_done_callback(self._runners.discard)

    async def _process(self, run: Run) -> None:
        """One run; whatever happens, its place is given back and its end is dealt with."""
        finished: Finished | None = None
        run.begun = True
        try:
            if run.wanted:
                finished = await self._executor.execute(run)
                self.mean_run.add(finished.ended - run.started)
        except asyncio.CancelledError:
            if run.wanted:
                raise
        finally:
            run.place.leave()
            del self._runs[id(run.delivery)]
            self._start_soon()
        if not run.abandoned:
            await self._conclude(run, finished)

    async def _conclude(self, run: Run, finished: Finished | None = None) -> None:
        finished = self._executor.end_of(run, finished)
        try:
            if run.lost or not self._keeper.holds(run.delivery):
                self._observer.lost(run)
            elif finished is None:
                ours = await self._ends.hand_back(run.delivery, run.task)
                self._observer.returned(run, ours=ours)
            else:
                settled = await self._observer.settle(run, finished)
                self._observer.settled(run, finished, settled)
        except MusterError as error:
            _log.error("could not settle; the task comes back by its lease", error=str(error))
        except Exception:  # noqa: BLE001 - a run that ended must give up its lease
            _log.exception("could not settle; the task comes back by its lease")
        finally:
            if run.span is not None:
                self._observer.end(run, "unsettled")
            self._keeper.release(run.delivery)
            self.slots.changed.set()

    async def _end(self) -> None:
        """Drain: give back what has not started, or waits for its limits; let runs finish, cut off
        those that do not."""
        if self._pulling is not None:
            self._pulling.cancel()
            await asyncio.gather(self._pulling, return_exceptions=True)
        self._source.drain()
        await self._give_back_unstarted()
        await self._finish_runs(self._drain)
        self._cut_off(list(self._runs.values()))
        await self._finish_runs(5.0)
        await self._source.close()

    def _cut_off(self, runs: Sequence[Run]) -> None:
        for run in runs:
            if not run.stuck:
                run.returned = True
                run.cancel()

    async def _finish_runs(self, seconds: float) -> None:
        if self._runners:
            await asyncio.wait(self._runners, timeout=seconds)

    async def _give_back_unstarted(self) -> None:
        queued = [self._give_back(delivery) for delivery in self._queue.clear()]
        await asyncio.gather(*queued)
        self._cut_off([run for run in self._runs.values() if run.waiting])

    async def _give_back(self, delivery: Delivery) -> None:
        task = steps.read(delivery.message)
        try:
            await self._ends.hand_back(delivery, None if isinstance(task, Reject) else task)
        except MusterError as error:
            _log.warning("could not hand back; it comes back by its lease", error=str(error))
        finally:
            self._keeper.release(delivery)
