"""`--chaos`: worker, coordinator and broker killed with -9 in the middle of the job.

Whom to kill, and when, is decided by what events tell; so is what came of it. Nothing is waited
for by the clock, and no figure is made of anything but wall times of this machine.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from contracts.clock import Clock
from contracts.events import Event
from deploy import processes
from workers.cli.demo.tale import Heard, Tale
from workers.fleet.supervisor import Supervisor

VICTIMS = ("researcher", "coordinator", "broker")
"""Who is killed, in this order."""

LEASE = 2.0
"""Seconds of the demo's leases: the least there may be, so that nobody has to wait for long."""


@dataclass(frozen=True, slots=True)
class WorkerKilled:
    """`run`: the first word of the run that was under way, as far as was heard; `note`: the last
    that it said. `beside`: whether runs of its children were under way. `at`: right before the
    signal was sent."""

    run: Event
    at: float
    note: str
    beside: bool = False

    @property
    def pid(self) -> int:
        """The process that was killed."""
        return self.run.pid


@dataclass(frozen=True, slots=True)
class BrokerKilled:
    """`unfinished`: the last that was heard of each unfinished task. `at`: right before the signal
    was sent; `gone`: when the process was seen to have ended."""

    pid: int
    at: float
    gone: float
    unfinished: tuple[Event, ...]


Killed = WorkerKilled | BrokerKilled


@dataclass(frozen=True, slots=True)
class Recovery:
    """What came of a kill. `after`: seconds from the kill to the first word of the next run of the
    task, or until an end that was settled after the broker was gone had been heard; None where
    nothing had been interrupted: the run had ended by then."""

    killed: Killed
    sign: Event
    after: float | None


@dataclass(slots=True)
class Broker:
    """The process of the embedded broker, as whoever starts it again keeps it true."""

    pid: int


@dataclass(frozen=True, slots=True)
class Chaos:
    """Kills, and measures. `tell` is called at each kill and at each recovery."""

    tale: Tale
    job: str
    supervisor: Supervisor
    broker: Broker
    clock: Clock
    tell: Callable[[Killed | Recovery], None]
    recovered: list[Recovery] = field(default_factory=list)
    dead: set[int] = field(default_factory=set)

    async def play(self) -> None:
        """A researcher in its handler; the coordinator while children run; once both tasks run
        again, the broker. Returns when work goes on."""
        researcher = await self.tale.until(self._researcher)
        first = self._kill(researcher)
        coordinator = await self.tale.until(self._coordinator)
        second = self._kill(coordinator, beside=True)
        await asyncio.gather(self._interrupt(first), self._interrupt(second))
        third = await self._kill_broker()
        await self._work_goes_on(third)

    async def _interrupt(self, killed: WorkerKilled) -> None:
        """Return when a run goes on that was interrupted: by this kill or, where the run had ended
        before it without a word of that yet, by one of another process of its role."""
        while not await self._recovered(killed):
            look = self._coordinator if killed.beside else self._researcher
            killed = self._kill(await self.tale.until(look), beside=killed.beside)

    def _researcher(self) -> Event | None:
        return next((run for run in self._living() if run.role == "researcher"), None)

    def _coordinator(self) -> Event | None:
        own = [run for run in self._living() if run.task == self.job]
        return own[0] if own and self._researcher() else None

    def _living(self) -> list[Event]:
        """Runs in the handlers of processes that live."""
        pids = {info.pid for info in self.supervisor.processes()} - self.dead
        return [run for run in self.tale.at_work(self.job) if run.pid in pids]

    def _kill(self, run: Event, *, beside: bool = False) -> WorkerKilled:
        killed = WorkerKilled(run, self.clock.wall(), self.tale.note(run), beside)
        os.kill(run.pid, signal.SIGKILL)
        self.dead.add(run.pid)
        self.tell(killed)
        return killed

    async def _recovered(self, killed: WorkerKilled) -> bool:
        """Whether it had interrupted a run, once that is told."""

        def look() -> Event | None:
            return self.tale.ended(killed.run) or self.tale.again(killed.run)

        sign = await self.tale.until(look)
        interrupted = self.tale.ended(killed.run) is None
        self._is_back(Recovery(killed, sign, sign.at - killed.at if interrupted else None))
        return interrupted

    async def _kill_broker(self) -> BrokerKilled:
        process, at = psutil.Process(self.broker.pid), self.clock.wall()
        unfinished = tuple(self.tale.unfinished(self.job))
        process.kill()
        await asyncio.to_thread(processes.ended, process, 10.0)
        killed = BrokerKilled(process.pid, at, self.clock.wall(), unfinished)
        self.tell(killed)
        return killed

    async def _work_goes_on(self, killed: BrokerKilled) -> None:
        def look() -> Heard | None:
            return self.tale.settled_since(killed.gone)

        heard = await self.tale.until(look)
        self._is_back(Recovery(killed, heard.event, heard.at - killed.at))

    def _is_back(self, recovery: Recovery) -> None:
        self.recovered.append(recovery)
        self.tell(recovery)
