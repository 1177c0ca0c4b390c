"""Runs the real command in a process of its own that is forked, not started anew.

Starting Python and importing the product takes half a second of a core, and the tests do it a
thousand times. A server has everything imported and forks: what runs is `workers.cli.main.run` with
the arguments, the folder, the environment and the streams it would have had, and so are the
processes of the product that this starts. `python -m tests.cli.forking` is the server; it ends with
whoever holds the other end of its standard input.
"""

import atexit
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO

from tests.cli import children

_PACKAGES = ("contracts", "bus", "knowledge", "deploy", "workers")
_KEEP_OTHERS = frozenset(("up", "demo"))
"""The commands that keep processes of the product alive."""
_LARGEST = 1 << 17
_KILLED = 10.0
"""Seconds in which what was killed has ended."""


@contextmanager
def forked(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *streams: IO[bytes]
) -> Iterator["Process"]:
    """The command with these three standard streams; killed if it runs at the end of the block."""
    request = json.dumps([list(arguments), str(folder), dict(environment), False]).encode()
    told, answer = os.pipe()
    with os.fdopen(told, "rb") as reader:
        try:
            fds = [*(stream.fileno() for stream in streams), answer]
            socket.send_fds(_server(os.getpid()).end, [request], fds)
        finally:
            os.close(answer)
        process = Process(int(reader.readline()), reader)
        try:
            yield process
        finally:
            process.end()


class Process:
    """A command that runs; `wait` gives its exit code as `subprocess` does."""

    def __init__(self, pid: int, told: IO[bytes]) -> None:
        self.pid = pid
        self._told = told
        self._code: int | None = None

    def wait(self, seconds: float) -> int:
        """Raises `subprocess.TimeoutExpired`."""
        if self._code is None:
            if not select.select([self._told], [], [], seconds)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), seconds)
            self._code = int(self._told.readline())
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Nothing happens to one that has ended."""
        if self._code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once; `wait` for it then."""
        self.send_signal(signal.SIGKILL)

    def end(self) -> None:
        """Kill it unless it has ended."""
        self.kill()
        self.wait(_KILLED)


class _Server:
    """Forks for this process, and ends with it."""

    def __init__(self) -> None:
        self.end, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.forking"],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).resolve().parents[2],
                env={n: v for n, v in os.environ.items() if not n.startswith("MUSTER_")},
            )
        atexit.register(self.close)

    def close(self) -> None:
        """Let it end."""
        self.end.close()
        self._process.wait()


@cache
def _server(pid: int) -> _Server:
    return _Server()


def _import_all() -> None:
    for name in _PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.startswith("workers.roles."):
                importlib.import_module(module.name)


def _serve(asked: socket.socket, path: Sequence[str]) -> list[str]:
    """Fork for each request, whose modules are found at `path`; returns the arguments in the
    process that is to run them."""
    while True:
        request, fds, _, _ = socket.recv_fds(asked, _LARGEST, 4)
        if not request:
            sys.exit(0)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            arguments, folder, environment, inner = json.loads(request)
            child = os.fork()
            if child == 0:
                asked.close()
                _become(folder, environment, fds)
                sys.path[:] = path[1:] if inner else [folder, *path[1:]]
                if inner:
                    os.setsid()
                return _inside(arguments, path)
            if inner:
                os.write(fds[3], b"%d\n" % child)
                os._exit(0)
            _tell_the_end(child, fds[3])
        for fd in fds:
            os.close(fd)


def _tell_the_end(child: int, answer: int) -> None:
    os.write(answer, b"%d\n" % child)
    _, status = os.waitpid(child, 0)
    os.write(answer, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _become(folder: str, environment: Mapping[str, str], fds: list[int]) -> None:
    """Take folder, environment and streams."""
    for standard, fd in enumerate(fds[:3]):
        os.dup2(fd, standard)
    for fd in fds:
        os.close(fd)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)


def _inside(arguments: list[str], path: Sequence[str]) -> list[str]:
    """What keeps processes alive gets a server of its own before it begins, to fork those."""
    if _KEEP_OTHERS.isdisjoint(arguments) or sys.platform != "linux":
        return arguments
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        os.chdir("/")  # it may end a moment after the command, and is nothing that was left behind
        with Path(os.devnull).open("r+b") as nothing:
            for standard in range(3):
                os.dup2(nothing.fileno(), standard)
        return _serve(its, path)
    its.close()
    children.fork_by(ours)
    return arguments


if __name__ == "__main__":
    _import_all()
    gc.freeze()
    sys.argv = ["muster", *_serve(socket.socket(fileno=os.dup(0)), tuple(sys.path))]
    from workers.cli.main import run

    sys.exit(run())
