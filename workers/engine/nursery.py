"""The worker's side of the process that forks children for it."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

import structlog

from workers.engine.forker import BORN, DEAD, FAILED, KILL, ORDER, REPORT, START
from workers.sdk.errors import WorkerError

_log = structlog.get_logger("muster.nursery")

_GONE = -signal.SIGKILL
"""What a child is said to have ended with when the process that forked it is gone."""


class NoProcess(WorkerError):
    """A child process could not be started."""

    retryable = True


class Life:
    """One child: its channel, its pid once it is born, its exit code once it is dead (negative
    for a signal)."""

    def __init__(self, nursery: "Nursery", number: int, channel: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.channel = channel
        self.born: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[int] = loop.create_future()
        self._nursery = nursery
        self._number = number

    def kill(self) -> None:
        """Kill it and all of its process group; nothing happens when it is dead."""
        if not self.ended.done():
            self._nursery.kill(self._number)

    def is_born(self, pid: int) -> None:
        """It runs."""
        self.born.set_result(pid)

    def is_dead(self, code: int) -> None:
        """It does not run any more, or never did."""
        if not self.born.done():
            self.born.cancel()
        if not self.ended.done():
            self.ended.set_result(code)


class Nursery:
    """Starts children. The process that forks them is started with the first, or by `warm`;
    one that died is replaced. For one event loop."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._lives: dict[int, Life] = {}
        self._number = 0
        self._heard = b""

    async def warm(self) -> None:
        """Start the process that forks, if it does not run. Raises `NoProcess`."""
        async with self._lock:
            if self._control is None:
                await self._start()

    async def hatch(self) -> Life:
        """A child, born. Raises `NoProcess`."""
        await self.warm()
        ours, theirs = socket.socketpair()
        with theirs:
            self._number += 1
            life = self._lives[self._number] = Life(self, self._number, ours)
            self._order(START, self._number, [theirs.fileno()])
        try:
            await asyncio.wait({life.born})
            if life.born.cancelled():
                raise NoProcess(
                    "a child process could not be started",
                    details=os.strerror(life.ended.result()) if life.ended.result() > 0 else "",
                    actions=("see how many processes and how much memory are left",),
                )
        except BaseException:
            life.kill()
            ours.close()
            raise
        return life

    def kill(self, number: int) -> None:
        """Kill a child by its number."""
        if self._control is not None:
            self._order(KILL, number, ())

    async def close(self) -> None:
        """Kill every child and end."""
        process, self._process = self._process, None
        self._leave()
        if process is not None:
            await asyncio.to_thread(process.wait)

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        old = self._process
        try:
            with theirs:
                self._process = await asyncio.to_thread(_launch, theirs)
        except OSError as error:
            ours.close()
            raise NoProcess("no process for children could be started") from error
        if old is not None:
            await asyncio.to_thread(old.wait)
        self._control, self._heard = ours, b""
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)

    def _order(self, what: bytes, number: int, files: Sequence[int]) -> None:
        control = self._control
        try:
            if control is None:
                raise BrokenPipeError
            socket.send_fds(control, [ORDER.pack(what, number)], files)
        except OSError:
            self._leave()

    def _hear(self) -> None:
        """Reports have come, or their end."""
        control = self._control
        if control is None:
            return
        try:
            data = control.recv(64 * 1024)
        except OSError:
            data = b""
        if not data:
            _log.warning("the process that forks children is gone; it is started again")
            self._leave()
            return
        data = self._heard + data
        whole = len(data) - len(data) % REPORT.size
        self._heard = data[whole:]
        for what, number, value in REPORT.iter_unpack(data[:whole]):
            self._report(what, number, value)

    def _report(self, what: bytes, number: int, value: int) -> None:
        life = self._lives.get(number)
        if life is None:
            return
        if what == BORN:
            life.is_born(value)
        elif what in {DEAD, FAILED}:
            del self._lives[number]
            life.is_dead(value)

    def _leave(self) -> None:
        """Without the process that forks nobody would reap or kill: end what it has started."""
        control, self._control = self._control, None
        if control is not None:
            asyncio.get_running_loop().remove_reader(control.fileno())
            control.close()
        lives, self._lives = self._lives, {}
        for life in lives.values():
            if life.born.done() and not life.born.cancelled():
                with suppress(OSError):
                    os.killpg(life.born.result(), signal.SIGKILL)
            life.is_dead(_GONE)


def _launch(control: socket.socket) -> "subprocess.Popen[bytes]":
    """It finds modules where this process does, and is not reached by Ctrl-C."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from workers.engine import forker; "
    code += f"forker.main({control.fileno()})"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.DEVNULL,
        pass_fds=[control.fileno()],
        start_new_session=True,
    )
