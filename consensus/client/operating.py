"""What operators do with the ledger: they see it, and change who its members are."""

from collections.abc import Mapping, Sequence
from typing import Any

from consensus.client.client import LedgerClient
from consensus.client.errors import LedgerAway, OrderRefused
from consensus.raft.types import NodeId
from consensus.service.replies import Invalid, Postponed, Reply, Shown, decode_reply
from consensus.service.requests import Order, StatusAsked, encode_order, encode_request
from consensus.transport.connection import connect
from consensus.wire.hello import Party
from consensus.wire.keys import Keys
from contracts.errors import InvalidValue, MusterError

PATIENCE_S = 90.0
"""So long an order is waited for where nothing else is said: a member may have to catch up."""


class Operator(LedgerClient):
    """A client with the operators' key. Orders return when they are done; each may be given again
    where nobody knows. Raises `OrderRefused` for one that makes no sense, `LedgerAway`."""

    def __init__(self, addresses: Sequence[str], *, keys: Keys, name: str = "operator") -> None:
        super().__init__(addresses, worker=name, keys=keys, party=Party.OPERATOR)

    async def add(self, node: NodeId, address: str, *, timeout: float = PATIENCE_S) -> None:
        """Let a new node get the log; it does not vote. Its id must never have been used."""
        await self._order(Order(do="add", node=node, address=address), timeout)

    async def promote(self, node: NodeId, *, timeout: float = PATIENCE_S) -> None:
        """Let a member vote, once it has caught up."""
        await self._order(Order(do="promote", node=node), timeout)

    async def remove(self, node: NodeId, *, timeout: float = PATIENCE_S) -> None:
        """Let a member be none any more, for ever. It is not told: stop it afterwards."""
        await self._order(Order(do="remove", node=node), timeout)

    async def replace(
        self, instead: NodeId, node: NodeId, address: str, *, timeout: float = PATIENCE_S
    ) -> None:
        """Let a new node take the place of one that is lost: it is added, catches up and votes
        before the other one goes."""
        order = Order(do="replace", node=node, address=address, instead=instead)
        await self._order(order, timeout)

    async def transfer(self, node: NodeId, *, timeout: float = PATIENCE_S) -> None:
        """Let this member lead."""
        await self._order(Order(do="transfer", node=node), timeout)

    async def compact(self, address: str, *, timeout: float = PATIENCE_S) -> None:
        """Make room on the disk of the node at `address`, also where there is none left."""
        order = encode_order(Order(do="compact"))
        await self._ask_node(address, order, timeout, order=True)

    async def status_of(self, address: str, *, timeout: float = 5.0) -> Mapping[str, Any]:
        """Where the node at `address` stands, whether it leads or not: the fields of `NodeStatus`,
        ids as text."""
        body = encode_request(StatusAsked())
        return (await self._ask_node(address, body, timeout, order=False)).body

    async def _order(self, order: Order, timeout: float) -> None:
        body = encode_order(order)
        try:
            reply = await self._asking.ask(order.do, lambda: body, timeout, order=True)
        except InvalidValue as error:
            raise OrderRefused(
                error.message, details=error.details, actions=error.actions
            ) from error
        _shown(order.do, reply)

    async def _ask_node(self, address: str, body: bytes, timeout: float, *, order: bool) -> Shown:
        connection = await connect(address, self.terms, tls=self.tls)
        try:
            ask = connection.order if order else connection.request
            return _shown("do that", decode_reply(await ask(body, timeout=timeout)))
        finally:
            await connection.close()


def _shown(what: str, reply: Reply) -> Shown:
    if isinstance(reply, Shown):
        return reply
    if isinstance(reply, Invalid):
        raise OrderRefused(reply.message, details=reply.details, actions=reply.actions)
    if isinstance(reply, Postponed):
        raise LedgerAway(what, reply.why)
    raise MusterError(f"the ledger answered something else to {what}", details=str(reply))
