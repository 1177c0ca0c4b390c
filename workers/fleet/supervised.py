"""The worker's side of its supervisor.

A supervised process has one end of a socket as its standard input; only its supervisor holds the
other end. The process writes a line into it when it is ready, with the address at which it answers
probes and the name under which it shows itself, and reads the end of the stream when the
supervisor is gone, however that died: the kernel closes what a killed process held.
This needs no system call of one platform (such as `prctl`) and no polling.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

STDIN = 0

Ready: TypeAlias = Callable[[str, str], None]
"""Called when a process works, with the URL under which it answers probes, empty if it does not,
and the name under which it shows itself, empty if it does not."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a process has said when it was ready."""

    health: str
    worker: str


def say_ready(health: str = "", worker: str = "", *, channel: int = STDIN) -> None:
    """Tell the supervisor that this process works, and what `Ready` is told; a supervisor that is
    gone is no error."""
    try:
        os.write(channel, f"ready {health} {worker}\n".encode())
    except OSError:
        return


def understood(line: bytes) -> Said:
    """What a process said by `say_ready`."""
    words = line.decode(errors="replace").removesuffix("\n").split(" ")
    _, health, worker, *_ = (*words, "", "", "")
    return Said(health, worker)


def end_with_supervisor(grace: float, channel: int = STDIN) -> None:
    """From now on, drain when the supervisor is gone, and exit hard `grace` seconds later."""
    watch = threading.Thread(target=_watch, args=(grace, channel), name="supervisor", daemon=True)
    watch.start()


def _watch(grace: float, channel: int) -> None:
    while _alive(channel):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace)
    os._exit(1)


def _alive(channel: int) -> bool:
    """Wait for the supervisor to say something, which it never does; False at its end."""
    try:
        return os.read(channel, 1) != b""
    except OSError:
        return False
