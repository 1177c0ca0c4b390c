"""One core without a network: what a test says its peers send, and what it answers."""

import random
from collections.abc import Iterable, Sequence

from consensus.raft.core import Raft
from consensus.raft.messages import Append, Message, VoteReply
from consensus.raft.types import (
    BootState,
    Entry,
    HardState,
    Index,
    Kind,
    NodeId,
    RaftConfig,
    Role,
    SnapshotMeta,
    Term,
)
from tests.consensus.raft.network import configuration


def entries(*terms: Term, after: Index = 0) -> tuple[Entry, ...]:
    """Commands of these terms, in a row."""
    return tuple(
        Entry(after + place, term, Kind.COMMAND, f"{after + place}.{term}".encode())
        for place, term in enumerate(terms, 1)
    )


def node(
    *terms: Term,
    term: Term | None = None,
    vote: NodeId | None = None,
    voters: Sequence[NodeId] = (1, 2, 3),
    learners: Sequence[NodeId] = (),
    after: Index = 0,
    after_term: Term = 0,
    core: type[Raft] = Raft,
    cfg: RaftConfig | None = None,
) -> Raft:
    """Node 1 of this cluster with entries of these terms, behind a snapshot at `after`."""
    held = configuration(voters, learners)
    hard = HardState(max([after_term, *terms]) if term is None else term, vote)
    snapshot = SnapshotMeta(after, after_term, held)
    boot = BootState(hard, snapshot, entries(*terms, after=after))
    return core(RaftConfig(id=1, timeout_ticks=10) if cfg is None else cfg, boot, random.Random(1))


def save(raft: Raft) -> list[Message]:
    """Let all be durable; the messages that waited for it."""
    free: list[Message] = []
    while (ready := raft.ready()) is not None:
        free += raft.advance(ready.seq)
    return free


def flush(raft: Raft) -> list[Message]:
    """Let all be durable and sent; what was sent."""
    sent = raft.take_messages()
    while (free := save(raft)) or raft.ready() is not None:
        sent += free
        sent += raft.take_messages()
    return sent + raft.take_messages()


def answers(raft: Raft, *messages: Message) -> list[Message]:
    """What is sent after these messages arrive, with everything durable."""
    for message in messages:
        raft.step(message)
    return flush(raft)


def only(messages: Iterable[Message]) -> Message:
    """The one message there is."""
    found = [*messages]
    assert len(found) == 1, found
    return found[0]


def lead(raft: Raft, *voters: NodeId) -> Raft:
    """Let a node win an election by the votes of others."""
    raft._stand(pre=False)
    flush(raft)
    for voter in voters:
        raft.step(VoteReply(voter, 1, raft.term, granted=True))
    assert raft.role is Role.LEADER
    return raft


def append(
    prev: tuple[Index, Term], new: Sequence[Entry] = (), *, term: Term, commit: Index = 0
) -> Append:
    """Of node 2, the leader of `term`, to node 1."""
    return Append(2, 1, term, *prev, tuple(new), commit)


def log_terms(raft: Raft) -> list[Term]:
    """The terms of all entries."""
    log = raft.log
    return [entry.term for entry in log.entries(log.first, log.last, 1 << 30)]
