"""Ends runs whose tasks were cancelled, within two seconds, whether or not their handlers obey."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

import structlog

from bus.bus import Bus
from bus.errors import BusError
from bus.stops import Kind
from contracts.clock import Clock
from workers.engine.run import Run

_log = structlog.get_logger("muster.worker")

OBEY = 1.25
"""Seconds a cancelled handler has to end, and a child process to clean up before it is killed."""

INSIST = 0.4
"""Seconds it has after it was cancelled once more; then its run ends without it."""


class Halting:
    """Looks for runs whose tasks were stopped. `runs` are those whose handlers run; `conclude`
    settles one as cancelled."""

    def __init__(
        self,
        bus: Bus,
        role: str,
        runs: Mapping[int, Run],
        conclude: Callable[[Run], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._bus = bus
        self._role = role
        self._runs = runs
        self._conclude = conclude
        self._clock = clock
        self._beside: set[asyncio.Task[None]] = set()

    def look(self) -> None:
        """Begin to end what is stopped now."""
        for run in list(self._runs.values()):
            if run.task is None or run.stop is not None:
                continue
            run.stop = self._bus.stop_view.stopped(run.task, self._role)
            if run.stop is not None:
                self._spawn(self._end(run, run.task.id, run.stop.reason))

    async def close(self) -> None:
        """Look after nothing any more."""
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    async def _end(self, run: Run, task: str, reason: str) -> None:
        """The place of one that does not obey stays taken until its handler is gone."""
        for seconds in (OBEY, INSIST):
            if self._runs_still(run):
                run.cancel()
                await self._ended(run, seconds)
        if self._runs_still(run):
            _log.warning("a handler ignores that it was cancelled", role=self._role, task=task)
            run.abandoned = True
            await self._conclude(run)
        if run.asked:
            await self._pass_on(task, reason)

    def _runs_still(self, run: Run) -> bool:
        return self._runs.get(id(run.delivery)) is run

    async def _ended(self, run: Run, seconds: float) -> None:
        if run.runner is None:
            return
        pause = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait({run.runner, pause}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pause.cancel()

    async def _pass_on(self, task: str, reason: str) -> None:
        """What it has called is stopped with it, and what that has called by its worker in turn."""
        try:
            await self._bus.stops.put(
                Kind.CALLS, task, by="the fleet", reason=f"its caller: {reason}"
            )
        except BusError as error:
            _log.warning("could not stop what a task has called", task=task, error=str(error))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


async def end_all(*tasks: asyncio.Task[Any]) -> None:
    """End them; raises what one of them has failed of, also when this is cancelled meanwhile."""
    for task in tasks:
        task.cancel()
    try:
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
