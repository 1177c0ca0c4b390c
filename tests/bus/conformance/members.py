"""A member of a group in another process: it holds deliveries, extends them, and may die.

`python -m tests.bus.conformance.members URL FLEET LEASE` obeys one JSON command per line.
"""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import replace
from typing import Any, Protocol

from bus.backend import HIGH, LOW, NORMAL, RETRY, Backend, Delivery
from contracts.clock import Clock, SystemClock

LANES = (HIGH, RETRY, NORMAL, LOW)


class Member:
    """What such a process does; on memory it runs in the process of the test."""

    def __init__(self, backend: Backend, clock: Clock, lease: float) -> None:
        self.backend = backend
        self._clock = clock
        self._lease = lease
        self._held: list[Delivery] = []
        self._busy: list[asyncio.Task[None]] = []

    async def hold(self, group: str, count: int) -> list[str]:
        """Pull `count` messages, keep extending them from now on; their ids."""
        while len(self._held) < count:
            missing = count - len(self._held)
            self._held += await self.backend.pull(group, LANES, limit=missing, wait=1.0)
        self.resume()
        return [delivery.message.id for delivery in self._held]

    async def settle(self) -> int:
        """Settle what is held; how many of it were no longer ours."""
        return len(await self.backend.settle(self._held))

    async def churn(self, group: str) -> None:
        """From now on replace each first copy by a second one, as a retry does."""
        self._busy.append(asyncio.create_task(self._churn(group)))

    def resume(self) -> None:
        """Go on extending."""
        self._busy.append(asyncio.create_task(self._keep()))

    def halt(self) -> None:
        """Do nothing more, as a process that hangs."""
        for task in self._busy:
            task.cancel()
        self._busy.clear()

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(self._lease / 4)
            await self.backend.extend(self._held)

    async def _churn(self, group: str) -> None:
        while True:
            for delivery in await self.backend.pull(group, LANES[2:], limit=4, wait=1.0):
                again = replace(delivery.message, copy=1, group=group)
                await self.backend.settle([delivery], then=[again])


class Remote(Protocol):
    """A `Member` somewhere else."""

    async def hold(self, group: str, count: int) -> list[str]:
        """See `Member.hold`."""
        ...

    async def settle(self) -> int:
        """See `Member.settle`."""
        ...

    async def churn(self, group: str) -> None:
        """See `Member.churn`."""
        ...

    async def kill(self) -> None:
        """Its process is gone at once."""
        ...

    def freeze(self) -> None:
        """Its process stands still; its connections stay open."""
        ...

    def thaw(self) -> None:
        """Its process goes on."""
        ...


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
        self._process.send_signal(signal.SIGSTOP)

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
    from bus.backends.nats.backend import NatsBackend
    from bus.backends.nats.connect import connect

    clock = SystemClock()
    backend = NatsBackend(await connect(url, fleet=fleet, lease=lease, clock=clock))
    member = Member(backend, clock, lease)
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *arguments = json.loads(line)
        answer = await getattr(member, name)(*arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    member.halt()
    await backend.close()


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1], sys.argv[2], float(sys.argv[3])))
