"""The command on a terminal of its own, with a person before it."""

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.cli.running import Muster

SECONDS = 20.0


class Terminal:
    """What the command shows, and the keys that are pressed."""

    def __init__(self, ours: int, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.shown = ""
        self._ours = ours

    def press(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._ours, keys.encode())

    def until(self, *texts: str) -> None:
        """Read on until all of these were shown since the last call; the test fails otherwise."""
        self.shown = ""
        end = time.monotonic() + SECONDS
        while not all(text in self.shown for text in texts):
            assert time.monotonic() < end, self.shown[-2000:]
            self._read()

    def ended(self) -> int:
        """The exit code, when it has ended."""
        end = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < end, self.shown[-2000:]
            self._read()
        return self.process.returncode

    def _read(self) -> None:
        try:
            self.shown += os.read(self._ours, 65536).decode("utf-8", "replace")
        except BlockingIOError:
            time.sleep(0.02)
        except OSError:  # nobody has it open any more
            self.process.wait(SECONDS)


@contextmanager
def terminal(
    muster: Muster, *arguments: str, columns: int = 100, lines: int = 30
) -> Iterator[Terminal]:
    """The command on a terminal of this size, ended at the end of the block."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(ours, False)
    environment = {n: v for n, v in muster.environment.items() if n not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        muster.command(*arguments),
        cwd=muster.folder,
        env={**environment, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        yield Terminal(ours, process)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        os.close(ours)
