"""Which members there are, by the log: a configuration holds from the moment it is appended.

Members change one at a time (Ongaro's dissertation, 2014, chapter 4): the majorities before and
after such a change always share a node, so no joint configuration is needed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import takewhile

from consensus.raft.errors import ChangeRefused
from consensus.raft.types import (
    LIMIT,
    AddLearner,
    Change,
    Configuration,
    Entry,
    Index,
    Kind,
    Member,
    NodeId,
    Promote,
    Remove,
    SnapshotMeta,
)

LONGEST_ADDRESS = 255
"""Characters of a member's address."""


def has_quorum(count: int, voters: int) -> bool:
    """Whether `count` of `voters` are a majority."""
    return count > voters // 2


def quorum_value(values: Sequence[int]) -> int:
    """The largest number that a majority of `values`, one for each voter, reaches; 0 for none."""
    return sorted(values)[(len(values) - 1) // 2] if values else 0


class Membership:
    """The configurations in the log, the last of which holds, and the one before the log."""

    def __init__(self, snapshot: SnapshotMeta, entries: Iterable[Entry]) -> None:
        self._known: list[tuple[Index, Configuration]] = []
        self.voters: tuple[NodeId, ...] = ()
        self.install(snapshot)
        self.append(entries)

    @property
    def configuration(self) -> Configuration:
        """The one that holds, committed or not."""
        return self._known[-1][1]

    @property
    def index(self) -> Index:
        """Where in the log it stands."""
        return self._known[-1][0]

    def at(self, index: Index) -> Configuration:
        """The last one at or before `index`, which is not below the snapshot."""
        return [*takewhile(lambda known: known[0] <= index, self._known)][-1][1]

    def is_voter(self, node: NodeId) -> bool:
        """Whether its vote and log count."""
        return node in self.voters

    def may_lead(self, node: NodeId, commit: Index) -> bool:
        """Whether it is a voter, or its removal is not known to be committed: the others may need
        its log to commit that (dissertation, 4.2.2)."""
        earlier = [held for index, held in self._known[:-1] if self._known[-1][0] > commit]
        return self.is_voter(node) or any(node in held.voters for held in earlier[-1:])

    def is_member(self, node: NodeId) -> bool:
        """Whether it is a voter or a learner."""
        return self.configuration.member(node) is not None

    def append(self, entries: Iterable[Entry]) -> bool:
        """Entries were appended; whether another configuration holds now."""
        found = [entry for entry in entries if entry.kind is Kind.CONFIGURATION]
        if found:
            self._known += [(entry.index, Configuration.decode(entry.data)) for entry in found]
            self.voters = self.configuration.voters
        return bool(found)

    def truncate(self, index: Index) -> None:
        """Entries from `index` on are gone: the configuration before them holds again."""
        while len(self._known) > 1 and self._known[-1][0] >= index:
            self._known.pop()
        self.voters = self.configuration.voters

    def compact(self, meta: SnapshotMeta) -> None:
        """Entries up to a snapshot with their last configuration are gone."""
        later = [known for known in self._known if known[0] > meta.index]
        standing = self._known[-len(later) - 1][0]
        self._known = [(standing, meta.configuration), *later]

    def install(self, meta: SnapshotMeta) -> None:
        """A snapshot replaced the log."""
        self._known = [(meta.index, meta.configuration)]
        self.voters = meta.configuration.voters

    def changed(self, change: Change) -> Configuration:
        """The configuration after a change; `ChangeRefused` where there can be none."""
        members = {member.id: member for member in self.configuration.members}
        known = members.get(change.id)
        match change:
            case AddLearner(id=node, address=address):
                if known is not None:
                    raise ChangeRefused(f"node {node} is a member already")
                if not 0 < node < LIMIT or not 0 < len(address) <= LONGEST_ADDRESS:
                    raise ChangeRefused(f"node {node} at {address!r} cannot be a member")
                members[node] = Member(node, address, voter=False)
            case Promote(id=node):
                if known is None or known.voter:
                    raise ChangeRefused(f"node {node} is not a learner")
                members[node] = replace(known, voter=True)
            case Remove(id=node):
                if known is None or self.voters == (node,):
                    raise ChangeRefused(f"node {node} is no member, or the only voter")
                del members[node]
        return Configuration(tuple(members[node] for node in sorted(members)))
