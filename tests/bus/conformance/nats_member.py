"""A member of a group on NATS, in a process of its own.

`python -m tests.bus.conformance.nats_member URL FLEET LEASE` obeys one JSON command per line.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from contracts.clock import SystemClock
from tests.bus.conformance.members import Member
from tests.freezing import freeze


class ProcessMember:
    """A member in a process of its own: killed with SIGKILL, frozen with SIGSTOP."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, url: str, fleet: str, lease: float) -> "ProcessMember":
        """Start the process; it connects when it gets its first command."""
        command = (sys.executable, "-m", __name__, url, fleet, str(lease))
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


async def _obey(url: str, fleet: str, lease: float) -> None:
    clock = SystemClock()
    link = await connect(url, fleet=fleet, lease=lease, clock=clock)
    backend = NatsBackend(link)
    member = Member(backend, clock, lease)
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = await getattr(member, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    member.halt()
    await backend.close()
    await link.close()


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1], sys.argv[2], float(sys.argv[3])))
