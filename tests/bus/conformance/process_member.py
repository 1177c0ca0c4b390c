"""A member of a group on a real broker, in a process of its own.

`python -m tests.bus.conformance.process_member URL FALLBACK DATABASE FLEET LEASE` obeys one JSON
command per line; FALLBACK and DATABASE are empty where there is none.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from bus.backends.choice import open_parts
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.brokers import Broker
from tests.bus.conformance.members import Member
from tests.freezing import freeze


class ProcessMember:
    """A member in a process of its own: killed with SIGKILL, frozen with SIGSTOP."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, broker: Broker, fleet: str) -> "ProcessMember":
        """Start the process; it connects when it gets its first command."""
        beside = (broker.fallback or "", broker.database or "")
        to = (broker.url, *beside, fleet, str(broker.lease))
        command = (sys.executable, "-m", __name__, *to)
        return cls(await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE))

    async def hold(self, group: str, count: int) -> list[str]:
        """See `Member.hold`."""
        return [str(id_) for id_ in await self._ask("hold", group, count)]

    async def settle(self) -> int:
        """See `Member.settle`."""
        return int(await self._ask("settle"))

    async def churn(self, group: str) -> None:
        """See `Member.churn`."""
        await self._ask("churn", group)

    async def kill(self) -> None:
        """See `Remote.kill`."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def freeze(self) -> None:
        """See `Remote.freeze`."""
        freeze(self._process.pid)

    def thaw(self) -> None:
        """See `Remote.thaw`."""
        self._process.send_signal(signal.SIGCONT)

    async def _ask(self, *command: object) -> Any:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(command).encode() + b"\n")
        await stdin.drain()
        answer = await stdout.readline()
        assert answer, "the member ended; see its error output"
        return json.loads(answer)


async def _obey(url: str, fallback: str, database: str, fleet: str, lease: str) -> None:
    clock = SystemClock()
    parts = await open_parts(
        Terms(
            url=url,
            fallback=fallback or None,
            database=database or None,
            fleet=fleet,
            lease=float(lease),
            clock=clock,
        )
    )
    member = Member(parts.backend, clock, float(lease))
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = await getattr(member, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    member.halt()
    await parts.backend.close()
    await parts.store.close()
    await parts.close()


if __name__ == "__main__":
    asyncio.run(_obey(*sys.argv[1:]))
