"""Keeps the processes of a fleet alive on this machine."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from bus.backoff import Backoff
from contracts.clock import Clock
from workers.fleet.errors import NotReady
from workers.fleet.seat import RESTART, Info, Seat, Spec, State

__all__ = ["Info", "Spec", "State", "Supervisor"]


def _nobody() -> None:
    return


class Supervisor:
    """One process per spec: what dies is started again, with full jitter from 0.2 to 30 s.

    `grace`: seconds a process has to end once it is asked to (SIGTERM), before it is killed.
    When the supervisor itself is killed, its processes notice and drain. `changed` is called
    after every change of `processes`. For one event loop; `run` once.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        clock: Clock,
        *,
        grace: float = 30.0,
        backoff: Backoff = RESTART,
        rng: random.Random | None = None,
        changed: Callable[[], None] = _nobody,
    ) -> None:
        self._grace = grace
        self._ended = asyncio.Event()
        rng = rng or random.Random()
        self._seats = [
            Seat(spec, clock, rng=rng, backoff=backoff, changed=changed) for spec in specs
        ]

    async def run(self) -> None:
        """Keep every process alive until `stop`; returns when all have ended. Cancelling kills
        them at once."""
        try:
            async with asyncio.TaskGroup() as group:
                for seat in self._seats:
                    group.create_task(seat.keep(self._grace))
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Let every process end in good order; asked a second time, kill what is left."""
        for seat in self._seats:
            seat.stop()

    async def ready(self, timeout: float = 60.0) -> None:
        """Return when every process has said once that it is ready. Raises `NotReady` after
        `timeout` seconds, or when `run` ends first, with what became of the others."""
        waiting = [asyncio.create_task(seat.once_ready.wait()) for seat in self._seats]
        if not waiting:
            return
        everyone = asyncio.ensure_future(asyncio.gather(*waiting))
        ended = asyncio.create_task(self._ended.wait())
        both: set[asyncio.Future[Any]] = {everyone, ended}
        try:
            await asyncio.wait(both, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ended, *waiting):
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        self._check_ready()

    def processes(self) -> list[Info]:
        """Every process as it is now, in the order of the specs."""
        return [seat.info for seat in self._seats]

    def _check_ready(self) -> None:
        late = [seat.info for seat in self._seats if not seat.once_ready.is_set()]
        if late:
            raise NotReady(
                f"{len(late)} of {len(self._seats)} processes are not ready",
                details=", ".join(sorted({_described(info) for info in late})),
                actions=("read what they logged", "try one by hand: `muster work ROLE`"),
            )


def _described(info: Info) -> str:
    if not info.restarts:
        return f"{info.role} is {info.state}"
    return f"{info.role} died {info.restarts} times, last with exit code {info.exit_code}"
