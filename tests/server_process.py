"""A server that is one process: started, killed, frozen and ended by its own id."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deploy import processes
from tests.freezing import freeze


class ServerProcess(ABC):
    """A server whose files lie under `folder`, where clients find it again over all its starts.

    `ready` and `end` are the seconds it has to answer and to end, `poll` those between two looks.
    """

    program: str
    starting = 0.0
    ready = 10.0
    end = 10.0
    poll = 0.01

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def log(self) -> Path:
        """Where the server writes its log, over all its starts."""
        return self.folder / "server.log"

    def start(self) -> None:
        """Start it and wait until it answers; ends the test when there is no server to start."""
        if self._process is not None:
            raise RuntimeError("the server runs already")
        while why := self._tried():
            if not self._elsewhere():
                tail = "\n".join(processes.tail(self.log, since=0, lines=20))
                pytest.fail(f"{self.program} {why}:\n{tail}")

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order, however it is now; nothing happens when it does not run."""
        if self._process is None:
            return
        self.thaw()
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self._end(signal.SIGKILL)

    def discard(self) -> None:
        """End it at once, however it is now, and for good: nobody needs its files any more. Nothing
        happens when it does not run."""
        if self._process is not None:
            self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Make it hang: connections stay open, nothing is answered (SIGSTOP)."""
        freeze(self._running().pid)

    def thaw(self) -> None:
        """Let a frozen server go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start it again where it was, ending it first in good order if it runs."""
        self.stop()
        self.start()

    @abstractmethod
    def _prepared(self) -> Sequence[str | Path]:
        """Write what it needs into its folder, which is made; the command that starts it."""

    def _environment(self) -> Mapping[str, str] | None:
        """What it is started with; None is what this process has."""
        return None

    def _elsewhere(self) -> bool:
        """Whether it can be tried again, now at other ports."""
        return False

    @abstractmethod
    def _answers(self) -> bool:
        """Whether it takes what clients send."""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process

    def _end(self, number: int) -> None:
        process = self._running()
        process.send_signal(number)
        process.wait(self.end)
        self._process = None

    def _tried(self) -> str:
        """Start it and wait; why it does not run, empty if it does."""
        command = self._prepared()
        process = processes.spawn(command, self.log, self.folder, self._environment())
        self._process = process
        deadline = time.monotonic() + self.ready
        while process.poll() is None and time.monotonic() < deadline:
            if self._answers():
                return ""
            time.sleep(self.poll)
        ended = process.poll() is not None
        self._end(signal.SIGKILL)
        return "ended at once" if ended else f"did not answer within {self.ready:g} s"
