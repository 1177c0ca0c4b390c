"""A process of its own beside a test, with a connection to a real broker.

A module that is run so gets URL FALLBACK DATABASE FLEET LEASE as arguments (FALLBACK and DATABASE
are empty where there is none) and obeys one JSON command per line.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from bus.backends.choice import open_parts
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.brokers import Broker
from tests.freezing import freeze


class OwnProcess:
    """Killed with SIGKILL, frozen with SIGSTOP. `module`: what it runs."""

    module = ""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, broker: Broker, fleet: str) -> Self:
        """Start the process; it connects when it gets its first command."""
        beside = (broker.fallback or "", broker.database or "")
        to = (broker.url, *beside, fleet, str(broker.lease))
        command = (sys.executable, "-m", cls.module, *to)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE))

    async def kill(self) -> None:
        """It is gone at once."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def freeze(self) -> None:
        """It stands still; its connections stay open."""
        freeze(self._process.pid)

    def thaw(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    async def _ask(self, *command: object) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        await stdin.drain()
        answer = await stdout.readline()
        assert answer, "the process ended; see its error output"
        return json.loads(answer)


@asynccontextmanager
async def opened(arguments: Sequence[str]) -> AsyncIterator[Parts]:
    """The connection that the arguments of such a process name."""
    url, fallback, database, fleet, lease = arguments
    parts = await open_parts(
        Terms(
            url=url,
            fallback=fallback or None,
            database=database or None,
            fleet=fleet,
            lease=float(lease),
            clock=SystemClock(),
        )
    )
    try:
        yield parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


async def obey(who: object) -> None:
    """Call the methods of `who` that are named, until nobody names one any more."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = await getattr(who, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
