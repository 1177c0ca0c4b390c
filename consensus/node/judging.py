"""Which peers are believed: an id is one process, and never has less than it had."""

from collections.abc import Iterable, Iterator
from contextlib import suppress

from consensus.node.writer import Writer
from consensus.raft.types import NodeId
from consensus.storage.errors import PeerWentBack
from consensus.storage.store import Store
from consensus.wire.errors import Refused, Why
from consensus.wire.hello import Party, Speaker
from consensus.wire.messages import Parcel
from contracts.clock import Clock


class Judge:
    """Remembers what each peer says of itself. `quiet_s`: so long must one process of an id be
    silent before another is let in under it, the shortest time between two elections."""

    def __init__(self, store: Store, writer: Writer, clock: Clock, quiet_s: float) -> None:
        self.refused = 0
        """How many introductions and messages were not believed."""
        self._store = store
        self._writer = writer
        self._clock = clock
        self._quiet_s = quiet_s
        self._known: dict[NodeId, tuple[int, float]] = {}
        self._versions: dict[NodeId, int] = {}

    async def admit(self, speaker: Speaker) -> None:
        """Let a speaker in that has proved its key, or raise `Refused`. Of a peer it is durable
        what it must never again have less of, before this returns."""
        if speaker.party is not Party.PEER:
            return
        node, now = speaker.node, self._clock.monotonic()
        incarnation, heard = self._known.get(node, (speaker.incarnation, now))
        if incarnation != speaker.incarnation and now - heard < self._quiet_s:
            self.refused += 1
            raise Refused(Why.IDENTITY, f"another process was heard as node {node} just now")
        self._saw(speaker, speaker.seq)
        self._known[node] = (speaker.incarnation, now)
        self._versions[node] = speaker.cluster_version
        await self._writer.call(self._store.write_peers)

    def believes(self, sender: Speaker, parcel: Parcel) -> bool:
        """Whether a message may be handed to the core."""
        known = self._known.get(sender.node)
        if known is None or known[0] != sender.incarnation:
            self.refused += 1
            return False
        with suppress(PeerWentBack):
            # In one connection of one process a lower number only waited for longer to be sent:
            # frames are numbered, so no process that was set back goes on in a connection.
            self._store.saw(sender.node, sender.incarnation, parcel.seq)
        self._known[sender.node] = (sender.incarnation, self._clock.monotonic())
        return True

    def was_used(self, node: NodeId) -> bool:
        """Whether an id belongs, or belonged, to a node: it is never given to another."""
        return node in self._store.peers or node == self._store.identity.node

    def versions(self, nodes: Iterable[NodeId]) -> Iterator[int]:
        """The versions of the cluster that these nodes said they follow; 0 where one said nothing
        to this process yet."""
        for node in nodes:
            yield self._versions.get(node, 0)

    def _saw(self, speaker: Speaker, seq: int) -> None:
        try:
            self._store.saw(speaker.node, speaker.incarnation, seq)
        except PeerWentBack as error:
            self.refused += 1
            raise Refused(Why.IDENTITY, str(error)) from error
