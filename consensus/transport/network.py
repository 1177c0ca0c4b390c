"""All that a node says to its peers and hears from them: one port, one connection to each."""

import asyncio
import ssl
from collections.abc import Callable, Mapping

from consensus.raft.types import NodeId
from consensus.transport.calls import Handler
from consensus.transport.listener import Listener
from consensus.transport.outgoing import Dialing, Outgoing
from consensus.wire.hello import Speaker
from consensus.wire.messages import Parcel

_GUESTS = 8
"""Nodes that are no members, as far as is known here, and are answered all the same."""


class Network:
    """Carries messages between this node and its peers.

    Members are dialled at the addresses of the configuration. A peer that is no member and comes in
    is answered at the address that it names, while it is connected: a node that is to join has no
    configuration, and must answer the leader that sends it one.
    """

    def __init__(
        self,
        node: NodeId,
        dialing: Dialing,
        received: Callable[[Speaker, Parcel], None],
        handler: Handler,
    ) -> None:
        self.node = node
        self.listener = Listener(dialing.terms, self, handler)
        self.received = received
        self._dialing = dialing
        self._lines: dict[NodeId, Outgoing] = {}
        self._guests: dict[NodeId, Speaker] = {}
        self._members: frozenset[NodeId] = frozenset()
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listen; returns the port. Raises `OSError`."""
        return await self.listener.start(host, port, tls)

    def set_members(self, addresses: Mapping[NodeId, str]) -> None:
        """Keep a connection to each of these, and to no other, from now on. This node's own id
        means nothing."""
        self._members = frozenset(addresses) - {self.node}
        wanted = {node: guest.name for node, guest in self._guests.items()}
        wanted |= {node: addresses[node] for node in self._members}
        for node, line in list(self._lines.items()):
            if wanted.get(node) != line.address:
                self._drop(node)
        for node, address in sorted(wanted.items()):
            self._dial(node, address)

    def send(self, parcel: Parcel) -> None:
        """Send a message to whom it is for, or lose it; as `Outgoing.send`."""
        line = self._lines.get(parcel.message.to)
        if line is not None:
            line.send(parcel)

    def lines(self) -> Mapping[NodeId, Outgoing]:
        """The connections to peers, for status and metrics."""
        return dict(self._lines)

    async def close(self) -> None:
        """End everything, in order; within a few times `grace_s`."""
        for node in list(self._lines):
            self._drop(node)
        await self.listener.close()
        while self._leaving:
            await asyncio.wait(list(self._leaving))

    def met(self, peer: Speaker) -> None:
        """Answer a peer that came in and is no member, if there is room for one more."""
        if peer.node not in self._members and peer.name and len(self._guests) < _GUESTS:
            self._guests[peer.node] = peer
            self._dial(peer.node, peer.name)

    def left(self, peer: Speaker) -> None:
        """Answer it no more."""
        if self._guests.pop(peer.node, None) is not None and peer.node not in self._members:
            self._drop(peer.node)

    def _dial(self, node: NodeId, address: str) -> None:
        if node not in self._lines:
            self._lines[node] = Outgoing(node, address, self._dialing)
            self._lines[node].start()

    def _drop(self, node: NodeId) -> None:
        line = self._lines.pop(node, None)
        if line is not None:
            task = asyncio.get_running_loop().create_task(line.close())
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
