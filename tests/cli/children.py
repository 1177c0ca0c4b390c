"""Lets a forked command fork the processes of the product that it starts, too.

They are its children, found by their ids, signalled and waited for as those it runs: only what
they run is there already. All else that it starts is left as it is.
"""

import ctypes
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

_PRODUCT = ("-P", "-m", "workers.cli.main")
_SUBREAPER = 36
"""`PR_SET_CHILD_SUBREAPER`: it gets the children of those below it that end."""


def fork_by(server: socket.socket) -> None:
    """From now on, in this process: what is started in a session of its own by `subprocess` or
    `asyncio`, and is the product, is asked of this server."""
    run: Any = subprocess._fork_exec  # type: ignore[attr-defined]

    def fork_or_run(args: Sequence[str], *how: Any) -> int:
        """As `_posixsubprocess.fork_exec`."""
        _, _, _, folder, given, stdin, _, _, stdout, _, stderr, _, _, _, session, *_ = how
        if tuple(args[:4]) != (sys.executable, *_PRODUCT) or not session:
            return int(run(args, *how))
        environment = dict(os.environ) if given is None else dict(map(_variable, given))
        request = [list(args[4:]), str(folder or Path.cwd()), environment, True]
        streams = (fd if fd >= 0 else own for own, fd in enumerate((stdin, stdout, stderr)))
        return _asked(server, json.dumps(request).encode(), *streams)

    subprocess._fork_exec = fork_or_run  # type: ignore[attr-defined]


def _variable(line: bytes) -> tuple[str, str]:
    name, _, value = os.fsdecode(line).partition("=")
    return name, value


def _asked(server: socket.socket, request: bytes, *streams: int) -> int:
    """The id of the new child of this process."""
    told, answer = os.pipe()
    with os.fdopen(told, "rb") as reader, _parent():
        socket.send_fds(server, [request], [*streams, answer])
        os.close(answer)
        pid = int(reader.readline())
        child = psutil.Process(pid)
        while child.ppid() != os.getpid():
            time.sleep(0.0005)
    return pid


@contextmanager
def _parent() -> Iterator[None]:
    """What is forked below this process for it is its child."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(_SUBREAPER, 0, 0, 0, 0)
