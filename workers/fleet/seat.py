"""One process that is kept alive: started, started again when it dies, ended in good order."""

import asyncio
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil
import structlog

from bus.backoff import Backoff
from contracts.clock import Clock
from workers.fleet.supervised import Said, understood
from workers.fleet.turns import Turn, Turns

_log = structlog.get_logger("muster.supervisor")

STEADY = 60.0
"""Seconds of life after which a death counts as the first one again."""

RESTART = Backoff(base=0.2, cap=30.0)


class State(StrEnum):
    """Where a process is in its life; `waiting` is between a death and the next start."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Spec:
    """A process to keep alive. `env` is added to this process's environment. Without `command`
    it is a worker of `role`. With `log`, what it prints is appended there."""

    role: str
    env: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    log: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """A process as it is now. `since`: when its state began, UTC epoch seconds. `created` tells
    its pid from a later process of the same number. `exit_code` of its last death, negative for
    a signal; `again_at`: when it is started again after it, UTC epoch seconds."""

    role: str
    pid: int | None
    created: float | None
    state: State
    since: float
    restarts: int
    exit_code: int | None
    again_at: float | None = None


def _unheard(_role: str, _said: Said) -> None:
    return


def worker_command(role: str) -> list[str]:
    """The command of a supervised worker. `-P`: a folder named `workers` in the working directory
    must not be taken for this package."""
    return [sys.executable, "-P", "-m", "workers.cli.main", "work", role, "--supervised"]


class Seat:
    """Keeps the process of one spec alive until `stop`.

    It gets the end of a socket as its standard input (`workers.fleet.supervised`) and a session
    of its own, so that Ctrl-C reaches only the supervisor. `changed` is called after every
    change of `info`, `died` after every end of a process but a good one. `said`: what the process
    has told of itself, empty until it was ready.
    """

    def __init__(
        self,
        spec: Spec,
        clock: Clock,
        *,
        rng: random.Random,
        backoff: Backoff,
        turns: Turns,
        changed: Callable[[], None],
        died: Callable[[str, Said], None] = _unheard,
    ) -> None:
        self.spec = spec
        self.once_ready = asyncio.Event()
        self.said = Said("", "")
        self._clock = clock
        self._rng = rng
        self._backoff = backoff
        self._turns = turns
        self._changed = changed
        self._died = died
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._created: float | None = None
        self._state = State.WAITING
        self._since = clock.wall()
        self._restarts = 0
        self._exit_code: int | None = None
        self._again_at: float | None = None

    @property
    def info(self) -> Info:
        """The process as it is now."""
        return Info(
            role=self.spec.role,
            pid=self._process.pid if self._process else None,
            created=self._created,
            state=self._state,
            since=self._since,
            restarts=self._restarts,
            exit_code=self._exit_code,
            again_at=self._again_at,
        )

    @property
    def stopping(self) -> bool:
        """Whether it was told to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End the process in good order; asked again, at once."""
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def keep(self, grace: float) -> None:
        """Keep it alive until `stop`, then give it `grace` seconds to end."""
        deaths = 0
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            await self._live(grace)
            if self._stopping.is_set():
                break
            if self._clock.monotonic() - began >= STEADY:
                deaths = 0
            await self._pause(self._backoff.delay(deaths, self._rng))
            deaths += 1
        self._become(State.ENDED)

    async def _live(self, grace: float) -> None:
        """One life of the process, from its start, when it is its turn, to its end."""
        turn = await self._turns.take(self._stopping)
        if turn is None:
            return
        self._become(State.STARTING)
        try:
            async with self._running(turn) as process:
                await self._until(process.wait(), self._stopping)
                if self._stopping.is_set() and process.returncode is None:
                    await self._end(process, grace)
                self._exit_code = process.returncode
        except OSError as error:
            _log.error("worker cannot be started", role=self.spec.role, error=str(error))
        finally:
            turn.over()
        self._process = self._created = None
        said, self.said = self.said, Said("", "")
        if self._exit_code != 0:
            self._died(self.spec.role, said)

    @asynccontextmanager
    async def _running(self, turn: Turn) -> AsyncIterator[asyncio.subprocess.Process]:
        """The process started; dead when the block is left, whatever leaves it."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                process = await self._start(theirs)
            hearing = asyncio.create_task(self._hear(ours, turn))
            try:
                yield process
            finally:
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
                if process.returncode is None:
                    process.kill()
                    await asyncio.shield(process.wait())

    async def _start(self, channel: socket.socket) -> asyncio.subprocess.Process:
        log = self.spec.log.open("ab") if self.spec.log else None
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *(self.spec.command or worker_command(self.spec.role)),
                stdin=channel.fileno(),
                stdout=log,
                stderr=log,
                env={**os.environ, **self.spec.env},
                start_new_session=True,
            )
        finally:
            if log is not None:
                log.close()
        with suppress(psutil.Error):
            self._created = psutil.Process(process.pid).create_time()
        self._changed()
        return process

    async def _hear(self, channel: socket.socket, turn: Turn) -> None:
        """Wait until the process says that it is ready: then the next one may start."""
        channel.setblocking(False)
        with suppress(OSError):
            if said := await asyncio.get_running_loop().sock_recv(channel, 512):
                self.said = understood(said)
                self.once_ready.set()
                turn.over()
                if self._state is State.STARTING:
                    self._become(State.READY)

    async def _end(self, process: asyncio.subprocess.Process, grace: float) -> None:
        self._become(State.STOPPING)
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await self._until(process.wait(), self._hurry, timeout=grace)
        if process.returncode is None:
            _log.warning("worker did not end, killed", role=self.spec.role, pid=process.pid)
            process.kill()
            await process.wait()

    async def _pause(self, seconds: float) -> None:
        """The time between a death and the next start."""
        self._restarts += 1
        _log.warning(
            "worker died",
            role=self.spec.role,
            exit_code=self._exit_code,
            restarts=self._restarts,
            again_after=round(seconds, 2),
        )
        self._again_at = self._clock.wall() + seconds
        self._become(State.WAITING)
        await self._until(self._clock.sleep(seconds), self._stopping)
        self._again_at = None

    async def _until(
        self, first: Coroutine[Any, Any, object], event: asyncio.Event, timeout: float | None = None
    ) -> None:
        """Return when `first` is over, `event` is set or the time is up."""
        tasks = {asyncio.create_task(first), asyncio.create_task(event.wait())}
        try:
            await asyncio.wait(tasks, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _become(self, state: State) -> None:
        self._state = state
        self._since = self._clock.wall()
        self._changed()
