"""How a node shows where it stands."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from consensus.node.compacting import Around
from consensus.node.counting import NodeStatus, members_shown
from consensus.node.leading import Leading
from consensus.transport.network import Network


class Showing:
    """Puts together what the parts of a node know. `counts` are those beside `Counters`."""

    def __init__(
        self, around: Around, leading: Leading, counts: Callable[[], Mapping[str, int]]
    ) -> None:
        self._a = around
        self._leading = leading
        self._counts = counts

    def status(self) -> NodeStatus:
        """Where the node stands now."""
        a, ledger = self._a, self._a.machine.ledger
        status, identity, space = a.core.status(), a.store.identity, a.store.space()
        return NodeStatus(
            id=identity.node,
            cluster=identity.cluster,
            incarnation=identity.incarnation,
            address=a.settings.address,
            role=status.role,
            ready=self._leading.clock is not None,
            term=status.term,
            leader=status.leader,
            leader_address=self.leader_address(),
            commit=status.commit,
            applied=a.machine.applied,
            snapshot=status.snapshot,
            last=status.last,
            seq=a.store.seq,
            cluster_version=ledger.state.version,
            clock=ledger.state.clock,
            members=members_shown(status),
            space_free=space.free,
            space_enough=space.enough,
            ballast=space.ballast,
            lonely=ledger.views.lonely(),
            auctions=len(ledger.state.tasks),
            sessions=len(ledger.state.sessions),
            counts={**asdict(a.counters), **self._counts()},
        )

    def body(self) -> dict[str, Any]:
        """The same as a JSON object, with ids as text."""
        shown = asdict(self.status())
        ids = {name: str(shown[name]) for name in ("id", "cluster", "incarnation")}
        leader = None if shown["leader"] is None else str(shown["leader"])
        return shown | ids | {"leader": leader}

    def leader_address(self) -> str:
        """Where the leader is reached; empty if nobody knows."""
        core = self._a.core
        member = core.members.configuration.member(core.leader or 0)
        return "" if member is None else member.address


def counted(network: Network) -> dict[str, int]:
    """What there is to count of a network."""
    lines = network.lines().values()
    connected = network.listener.counts().items()
    return {
        **{f"connected_{party.name.lower()}s": number for party, number in connected},
        "peers_reached": sum(line.connected for line in lines),
        "messages_dropped": sum(line.dropped for line in lines),
    }
