"""What every server of this machine needs: a lock, a start, an end that is waited for."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from deploy.errors import Busy

POLL_SECONDS = 0.02
"""Seconds between two looks at a process that starts or ends."""


@contextmanager
def locked(program: str, folder: Path, timeout: float) -> Iterator[None]:
    """Be the only process that starts or stops the `program` of `folder`. Raises `Busy`."""
    try:
        with FileLock(folder / "lock", timeout=timeout):
            yield
    except Timeout as error:
        raise Busy(program, folder, timeout) from error


def spawn(
    command: Sequence[str | Path],
    log: Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a server that works in `folder`, hears nothing and says everything to `log`. Ctrl-C in
    the terminal ends the fleet, not its servers: it has a session of its own."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )


def until_named(process: psutil.Process) -> None:
    """Return when the process has its command line, or has ended: for a moment after it was
    started the kernel shows neither the old one nor the new one, and it would not count as ours."""
    with suppress(psutil.Error):
        while process.status() != psutil.STATUS_ZOMBIE and not process.cmdline():
            time.sleep(POLL_SECONDS / 10)


def ended(process: psutil.Process, timeout: float) -> bool:
    """Whether it ended in time; one that ended counts, even if its parent has not noticed yet."""
    deadline = time.monotonic() + timeout
    with suppress(psutil.NoSuchProcess):  # gone between the two questions
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
    return True


def size(log: Path) -> int:
    """Bytes in a log, none if there is no such file."""
    return log.stat().st_size if log.exists() else 0


def tail(log: Path, *, since: int, lines: int = 10) -> list[str]:
    """The last lines of a log, those written before it had `since` bytes left out."""
    with log.open("rb") as stream:
        whole = stream.seek(0, os.SEEK_END)
        stream.seek(since if since <= whole else 0)
        return stream.read().decode("utf-8", errors="replace").splitlines()[-lines:]
