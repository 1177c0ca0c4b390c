"""A member of a group on a real broker, in a process of its own."""

import asyncio
import sys

from contracts.clock import SystemClock
from tests.bus.conformance.members import Member
from tests.bus.conformance.own_process import OwnProcess, obey, opened


class ProcessMember(OwnProcess):
    """See `Remote`."""

    module = __name__

    async def hold(self, group: str, count: int) -> list[str]:
        """See `Member.hold`."""
        return [str(id_) for id_ in await self._ask("hold", group, count)]

    async def settle(self) -> int:
        """See `Member.settle`."""
        return int(await self._ask("settle"))

    async def churn(self, group: str) -> None:
        """See `Member.churn`."""
        await self._ask("churn", group)


async def _run(arguments: list[str]) -> None:
    async with opened(arguments) as parts:
        member = Member(parts.backend, SystemClock(), float(arguments[-1]))
        await obey(member)
        member.halt()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1:]))
