"""What must hold after every event, whatever happens (figure 3 and the rules that carry it)."""

from collections.abc import Mapping
from typing import Any, Protocol

from consensus.raft.core import Raft
from consensus.raft.types import Entry, HardState, Index, Kind, Lost, NodeId, Role, Term


class Durable(Protocol):
    """A disk, as far as it is looked at."""

    @property
    def hard(self) -> HardState: ...

    def has(self, index: Index, term: Term) -> bool: ...


class Observed(Protocol):
    """A node, as far as it is looked at. `life` counts its lives; `entries` and `answers` are what
    it has applied and what its reads were answered in this one."""

    raft: Raft
    life: int
    down: bool
    entries: list[Entry]
    answers: list[tuple[int, Index | Lost]]

    @property
    def disk(self) -> Durable: ...


class Observable(Protocol):
    """The nodes of a cluster."""

    @property
    def nodes(self) -> Mapping[NodeId, Any]: ...


class Broken(AssertionError):
    """An invariant does not hold; its name is the first word."""


def must(holds: bool, name: str, *facts: object) -> None:
    """Raise `Broken` for an invariant that does not hold."""
    if not holds:
        raise Broken(f"{name}: {' '.join(map(repr, facts))}")


class Invariants:
    """Remembers what was seen of a network and compares it after each event."""

    def __init__(self, network: Observable) -> None:
        self.network = network
        self.leaders: dict[Term, NodeId] = {}
        self.entries: dict[tuple[Index, Term], tuple[Term, Kind, bytes]] = {}
        self.committed: dict[Index, Term] = {}
        self.highest: dict[Term, tuple[Index, Term]] = {}
        self.applied: dict[Index, Entry] = {}
        self.asked: dict[int, Index] = {}
        self._logs: dict[NodeId, dict[Index, Entry]] = {}
        self._terms: dict[NodeId, tuple[Term, NodeId | None]] = {}
        self._commits: dict[tuple[NodeId, int], Index] = {}
        self._reads: dict[tuple[NodeId, int], int] = {}
        self._seen: dict[tuple[NodeId, int], int] = {}
        self._elected: dict[Term, Index] = {}
        self._held: dict[NodeId, Index] = {}
        self.commit: Index = 0

    def __call__(self, node: Observed) -> None:
        if not node.down:
            self.election_safety(node)
            self.monotonic(node)
            self.log_matching(node)
            self.commits(node)
            self.keeps(node)
            self.leader_completeness(node)
            self.state_machine_safety(node)
            self.reads(node)

    def election_safety(self, node: Observed) -> None:
        """At most one leader is elected in a term (5.2)."""
        raft = node.raft
        if raft.role is Role.LEADER:
            one = self.leaders.setdefault(raft.term, raft.id)
            must(one == raft.id, "election-safety", raft.term, one, raft.id)

    def monotonic(self, node: Observed) -> None:
        """No term goes back and no vote of a term changes, as far as it was durable; no commit goes
        back within a life."""
        hard, known = node.disk.hard, self._terms.get(node.raft.id, (0, None))
        must(hard.term >= known[0], "monotonic-term", node.raft.id, hard, known)
        if hard.term == known[0] and known[1] is not None:
            must(hard.vote == known[1], "monotonic-vote", node.raft.id, hard, known)
        self._terms[node.raft.id] = (hard.term, hard.vote)
        life = (node.raft.id, node.life)
        must(node.raft.log.commit >= self._commits.get(life, 0), "monotonic-commit", life)
        self._commits[life] = node.raft.log.commit

    def log_matching(self, node: Observed) -> None:
        """The same index and term mean the same entry after the same entry (5.3)."""
        log, shadow = node.raft.log, self._logs.setdefault(node.raft.id, {})
        for index in range(log.last, log.snapshot.index, -1):
            entry = log.entries(index, index, 0)[0]
            if shadow.get(index) is entry:
                break
            shadow[index] = entry
            before = log.term_at(index - 1)
            assert before is not None
            this = (before, entry.kind, entry.data)
            one = self.entries.setdefault((index, entry.term), this)
            must(one == this and entry.index == index, "log-matching", entry, one, this)

    def commits(self, node: Observed) -> None:
        """What a leader commits is on a majority of disks; at most one configuration is not
        committed."""
        raft = node.raft
        commit, term = raft.log.commit, raft.log.term_at(raft.log.commit)
        assert term is not None
        known = max(commit, self.commit)
        pending = [index for index, _ in raft.members._known if index > known]
        must(len(pending) <= 1, "one-change", raft.id, pending)
        if raft.role is Role.LEADER:
            before = self._elected.setdefault(raft.term, commit)
            if commit > self.highest.get(raft.term, (before, 0))[0]:
                voters = raft.members.voters
                holders = [node for node in voters if self.holds(node, commit, term)]
                must(2 * len(holders) > len(voters), "durable-quorum", raft.id, commit, holders)
                self.highest[raft.term] = (commit, term)
        for index in range(commit, raft.log.snapshot.index, -1):
            if index in self.committed:
                one = self.committed[index]
                must(one == raft.log.term_at(index), "commit-agreement", raft.id, index)
                break
            self.committed[index] = raft.log.term_at(index) or 0
        self.commit = max(self.commit, commit)

    def keeps(self, node: Observed) -> None:
        """What is committed and was on a disk is there for ever."""
        held, term = self._held.get(node.raft.id, 0), self.committed.get(self.commit)
        if term is not None and self.commit > held and node.disk.has(self.commit, term):
            self._held[node.raft.id] = self.commit
        elif held:
            kept = node.disk.has(held, self.committed[held])
            must(kept, "committed-kept", node.raft.id, held)

    def holds(self, node: NodeId, index: Index, term: Term) -> bool:
        """Whether an entry is on the disk of a node."""
        found = self.network.nodes.get(node)
        return found is not None and found.disk.has(index, term)

    def leader_completeness(self, node: Observed) -> None:
        """What is committed in a term is in the log of every leader of a later one (5.4)."""
        raft = node.raft
        if raft.role is not Role.LEADER:
            return
        earlier = [self.highest[term] for term in self.highest if term < raft.term]
        if earlier:
            index, term = max(earlier)
            held = index <= raft.log.snapshot.index or raft.log.term_at(index) == term
            must(held, "leader-completeness", raft.id, index, term)

    def state_machine_safety(self, node: Observed) -> None:
        """No two nodes apply different entries at one index (5.4.3), and none what is not on its
        own disk."""
        place = (node.raft.id, node.life)
        for entry in node.entries[self._seen.get(place, 0) :]:
            one = self.applied.setdefault(entry.index, entry)
            must(one == entry, "state-machine-safety", node.raft.id, one, entry)
            must(node.disk.has(entry.index, entry.term), "applied-durable", node.raft.id, entry)
        self._seen[place] = len(node.entries)

    def asks(self, token: int) -> None:
        """A read is asked for: it must see all that is committed anywhere now."""
        self.asked[token] = self.commit

    def reads(self, node: Observed) -> None:
        """No read is older than its question (8)."""
        place = (node.raft.id, node.life)
        for token, index in node.answers[self._reads.get(place, 0) :]:
            if not isinstance(index, Lost):
                must(index >= self.asked[token], "stale-read", token, index, self.asked[token])
        self._reads[place] = len(node.answers)
