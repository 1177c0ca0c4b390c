"""Keeps the processes of a fleet alive on this machine."""

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any

from bus.backoff import Backoff
from contracts.clock import Clock
from workers.fleet.errors import NotReady
from workers.fleet.seat import RESTART, Info, Seat, Spec, State
from workers.fleet.supervised import Said
from workers.fleet.turns import Turns, at_once

__all__ = ["Info", "Spec", "State", "Supervisor"]


def _nobody() -> None:
    return


def _unheard(_role: str, _said: Said) -> None:
    return


class Supervisor:
    """One process per spec: what dies is started again, with full jitter from 0.2 to 30 s.

    At most `starting` start at a time. `grace`: seconds a process has to end once it is asked to
    (SIGTERM), before it is killed. When the supervisor itself is killed, its processes notice and
    drain. `changed` is called after every change of `processes`, `died` after every end of one but
    a good one, with its role and what it had said. For one event loop; `run` once.
    """

    def __init__(
        self,
        specs: Sequence[Spec],
        clock: Clock,
        *,
        grace: float = 30.0,
        backoff: Backoff = RESTART,
        rng: random.Random | None = None,
        starting: int | None = None,
        changed: Callable[[], None] = _nobody,
    ) -> None:
        self.changed = changed
        self.died: Callable[[str, Said], None] = _unheard
        self._clock = clock
        self._grace = grace
        self._backoff = backoff
        self._rng = rng or random.Random()
        self._turns = Turns(starting or at_once(), clock)
        self._stopping = asyncio.Event()
        self._told = False
        self._ended = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._seats: list[Seat] = []
        for spec in specs:
            self.add(spec)

    def add(self, spec: Spec) -> Seat:
        """One process more, started now, or with `run`; none after `stop`. `Seat.stop` lets it
        drain; once it has ended it is no longer among `processes`."""
        seat = Seat(
            spec,
            self._clock,
            rng=self._rng,
            backoff=self._backoff,
            turns=self._turns,
            changed=self._tell,
            died=self._tell_death,
        )
        if not self._stopping.is_set():
            self._seats.append(seat)
            if self._group is not None:
                self._group.create_task(self._keep(seat))
        return seat

    async def run(self) -> None:
        """Keep every process alive until `stop`; returns when all have ended. Cancelling kills
        them at once."""
        try:
            async with asyncio.TaskGroup() as self._group:
                for seat in self._seats:
                    self._group.create_task(self._keep(seat))
                await self._stopping.wait()
        finally:
            self._ended.set()

    def stop(self) -> None:
        """Let every process end in good order; asked a second time, kill what is left."""
        self._stopping.set()
        for seat in self._seats:
            if self._told or not seat.stopping:  # one that drains already is not hurried
                seat.stop()
        self._told = True

    async def ready(self, timeout: float = 60.0) -> None:
        """Return when every process has said once that it is ready. Raises `NotReady` after
        `timeout` seconds, or when `run` ends first, with what became of the others."""
        waiting = [asyncio.create_task(seat.once_ready.wait()) for seat in self._wanted()]
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
        """Every process as it is now, in the order in which they were asked for."""
        return [seat.info for seat in self._seats]

    def seats(self) -> list[Seat]:
        """Those who keep the processes, in the same order."""
        return list(self._seats)

    def _tell(self) -> None:
        self.changed()

    def _tell_death(self, role: str, said: Said) -> None:
        self.died(role, said)

    async def _keep(self, seat: Seat) -> None:
        await seat.keep(self._grace)
        if not self._stopping.is_set():
            self._seats.remove(seat)
            self.changed()

    def _wanted(self) -> list[Seat]:
        return [seat for seat in self._seats if not seat.stopping]

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
