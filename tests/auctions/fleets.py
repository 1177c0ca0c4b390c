"""Fleets of auctioned roles on the in-memory broker and a ledger of one, by the clock's hand."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from bus.backends.memory import MemoryBackend
from tests.auctions.local import LocalCluster
from tests.engine.fleets import DRAIN, LEASE, ManualFleet, Member, Renewing, made
from workers.auctions.deeds import Deed
from workers.auctions.driving import Case, Driver
from workers.auctions.hearing import Hearing
from workers.auctions.source import AuctionSource, Setting, auctioned
from workers.engine.identity import Identity
from workers.engine.keeper import Keeper
from workers.engine.worker import Worker
from workers.sdk.role import Role

AWARD = 4.0
"""Seconds of an award's lease here."""


def sold(handler: Callable[..., Any], name: str = "worker", **options: Any) -> Role:
    """The auctioned role of this handler."""
    given = {"window": 0.2, "lease": AWARD, **options}
    return made(handler, name, assign="auction", **given)


class AuctionMember(Member):
    """One worker process of an auctioned role. `deeds`: what its steps did, in order."""

    def __init__(self, fleet: "AuctionFleet", role_: Role, name: str, drain: float) -> None:
        self._broker = fleet.broker
        self._fleet = fleet
        self.name = name
        self.backend = MemoryBackend(fleet.broker)
        self.bus = fleet.bus_on(self.backend)
        self.keeper = Keeper(LEASE, fleet.clock, self._lost)
        self.session = fleet.cluster.session(name)
        who = Identity(name, 4711, "host")
        assert role_.auction is not None
        seams = auctioned(
            Setting(
                role=role_,
                terms=role_.auction,
                bus=self.bus,
                keeper=self.keeper,
                who=who,
                clock=fleet.clock,
                ledger=self.session,
                hearing=Hearing(self.session, fleet.clock),
                rng=random.Random(name),
            ),
            self._lost,
        )
        assert isinstance(seams.source, AuctionSource)
        self.source = seams.source
        self.deeds: list[Deed] = []
        self._watch_deeds(self.source.driver)
        self.worker = Worker(
            role_,
            self.bus,
            self.keeper,
            who,
            fleet.clock,
            drain=drain,
            tenants=fleet.tenants,
            telling=fleet.telling,
            seams=seams,
        )
        self.keeping = asyncio.create_task(self.keeper.keep(Renewing(self.bus, self.backend)))
        self.running = asyncio.create_task(self.worker.run())

    def _watch_deeds(self, driver: Driver) -> None:
        """Note what is done; end the process where the fleet says so."""
        do = driver.do

        async def noted(deed: Deed, case: Case) -> Any:
            if self.gone:
                await asyncio.Event().wait()
            found = await do(deed, case)
            self.deeds.append(deed)
            if self._fleet.crash_after(self, deed):
                await self.crash()
                await asyncio.Event().wait()
            return found

        driver.do = noted  # type: ignore[method-assign]

    @property
    def gone(self) -> bool:
        """Whether its process has ended."""
        return self.session.gone_since is not None

    async def crash(self) -> None:
        """As of any worker; and the ledger hears nothing of it any more."""
        self.session.fall_silent()
        await super().crash()

    async def end(self) -> None:
        """What is left of a process that is gone is cut off."""
        if not self.gone:
            await super().end()
            return
        for hanging in (self.running, self.keeping):
            hanging.cancel()
        await asyncio.wait([self.running, self.keeping])
        await self.source.close(0.0)


class AuctionFleet(ManualFleet):
    """A broker, a ledger, workers of auctioned roles and a client. `crash_after` says whether a
    process ends once it has done something."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = LocalCluster(self.clock)
        self.crash_after: Callable[[AuctionMember, Deed], bool] = lambda _member, _deed: False

    async def sell(self, role_: Role, *, name: str = "", drain: float = DRAIN) -> AuctionMember:
        """A worker of this auctioned role, bound and heard of by the ledger."""
        member = AuctionMember(self, role_, name or f"w{len(self.members)}", drain)
        self.members.append(member)
        await self.within(member.worker.bound.wait())
        if not self.cluster.away:
            await self.until(lambda: member.source.reach.here)
        return member

    async def close(self) -> None:
        """End everything."""
        self.cluster.away = False
        await super().close()
        await self.cluster.close()
