"""What operators order: other members, another leader, room on a disk.

Each order may be given again, to whoever leads then: what is done already is not done twice.
"""

from collections.abc import Callable, Coroutine, Mapping
from types import MappingProxyType
from typing import Any

from consensus.node.compacting import Around, Compacting
from consensus.node.judging import Judge
from consensus.node.proposals import Proposals
from consensus.raft.errors import Busy, ChangeRefused, NotLeader
from consensus.raft.types import AddLearner, Change, Index, Promote, Remove, Role, Term
from consensus.service.requests import Order

PATIENCE_S = 60.0
"""So long an order waits for what must happen first, such as a new member that catches up."""


class Orders:
    """Does what operators order, one step at a time, and returns when it is committed.

    Raises `NotLeader`, `ChangeRefused`, `NoSpace`; `Busy` after a minute; `Superseded` or `Unknown`
    where leadership was lost at the last step.
    """

    def __init__(
        self, around: Around, proposals: Proposals, judge: Judge, compacting: Compacting
    ) -> None:
        self._a = around
        self._proposals = proposals
        self._judge = judge
        self._compacting = compacting
        self._does: Mapping[str, Callable[[Order], Coroutine[Any, Any, None]]] = MappingProxyType(
            {
                "add": self._add,
                "promote": self._promote,
                "remove": self._remove,
                "replace": self._replace,
                "transfer": self._transfer,
                "compact": self._compact,
            }
        )

    async def do(self, order: Order) -> None:
        """Do it, or raise why not."""
        await self._does[order.do](order)

    async def _add(self, order: Order) -> None:
        known = self._a.core.members.configuration.member(order.node)
        if known is not None and known.address == order.address:
            return
        if self._a.core.role is not Role.LEADER:
            raise NotLeader(self._a.core.leader)
        if known is None and self._judge.was_used(order.node):
            raise ChangeRefused(f"the id {order.node} was used before: a new node needs a new one")
        await self._change(AddLearner(order.node, order.address))

    async def _promote(self, order: Order) -> None:
        known = self._a.core.members.configuration.member(order.node)
        if known is None or not known.voter:
            await self._change(Promote(order.node))

    async def _remove(self, order: Order) -> None:
        if self._a.core.members.is_member(order.node):
            await self._change(Remove(order.node))
        elif self._a.core.role is not Role.LEADER:
            raise NotLeader(self._a.core.leader)

    async def _replace(self, order: Order) -> None:
        """The new one votes before the old one goes: at no time is the cluster weaker."""
        if not self._a.core.members.is_member(order.instead):
            known = self._a.core.members.configuration.member(order.node)
            if known is not None and known.voter:
                return
            raise ChangeRefused(f"node {order.instead} is no member")
        await self._add(order)
        await self._promote(order)
        await self._change(Remove(order.instead))

    async def _transfer(self, order: Order) -> None:
        core = self._a.core
        if core.leader == order.node:
            return
        core.transfer(order.node)
        self._a.wake()
        for _ in range(2 * self._a.settings.election_ticks):
            await self._tick()
            if core.leader == order.node:
                return
            if core.role is not Role.LEADER and core.leader is not None:
                raise NotLeader(core.leader)
        raise Busy(f"node {order.node} did not take the leadership in time")

    async def _compact(self, _: Order) -> None:
        await self._compacting.make_room()

    async def _change(self, change: Change) -> None:
        """One change, once it may be made; returns when it is committed and applied here."""
        clock = self._a.clock
        until = clock.monotonic() + PATIENCE_S
        while not (made := self._proposed(change, last=clock.monotonic() >= until)):
            await self._tick()
        future = self._proposals.add(*made, patient=True)
        self._a.wake()
        await future

    def _proposed(self, change: Change, *, last: bool) -> tuple[Index, Term] | None:
        """None while it must wait; `Busy` where this is the last time it is tried."""
        try:
            return self._a.core.propose_config(change)
        except Busy:
            if last:
                raise
            return None

    async def _tick(self) -> None:
        await self._a.clock.sleep(self._a.settings.tick_ms / 1000)
