"""Whatever a peer says: nothing is raised, nothing impossible is believed (`step`)."""

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.raft.core import Raft
from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    SnapChunk,
    SnapReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.soundness import is_sound
from consensus.raft.types import Configuration, Entry, Kind, Role, SnapshotMeta
from tests.consensus.raft.network import EVERYTHING, configuration
from tests.consensus.raft.single import answers, append, entries, flush, lead, log_terms, node

NUMBERS = st.integers(-2, 9) | st.integers() | st.sampled_from([2**63 - 1, 2**63, 2**64, -(2**63)])
NODES = st.integers(1, 5) | NUMBERS
DATA = st.binary(max_size=8) | st.just(configuration((1, 2, 3, 4)).encode())
ENTRIES = st.builds(Entry, NUMBERS, NUMBERS, st.sampled_from(Kind), DATA)
ROWS = st.builds(
    lambda prev, terms: entries(*terms, after=prev), st.integers(0, 6), st.lists(st.integers(0, 6))
)
METAS = st.builds(
    SnapshotMeta,
    NUMBERS,
    NUMBERS,
    st.sampled_from([Configuration(), configuration((1, 2)), configuration((7,))]),
    NUMBERS,
    NUMBERS,
)
HEAD = {"sender": NODES, "to": st.just(1) | NODES, "term": NUMBERS}
FIELDS = {
    "granted": st.booleans(), "pre": st.booleans(), "transfer": st.booleans(),
    "accepted": st.booleans(), "space": st.booleans(), "meta": METAS,
    "entries": ROWS | st.lists(ENTRIES, max_size=3).map(tuple),
}  # fmt: skip
TYPES: list[type[Message]] = [
    VoteRequest, VoteReply, Append, AppendReply, Heartbeat, HeartbeatReply, SnapChunk, SnapReply,
    TimeoutNow,
]  # fmt: skip
DRAWN: dict[str, st.SearchStrategy[Any]] = {**HEAD, **FIELDS}
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    [
        st.builds(kind, **{f.name: DRAWN.get(f.name, NUMBERS) for f in fields(kind)})
        for kind in TYPES
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.sampled_from(Role))
def test_no_message_raises_or_breaks_the_log(messages: list[Message], role: Role) -> None:
    """Of any numbers, as any role: the log stays whole, commit and term never go back, and what
    was committed stays."""
    raft = node(1, 1, 2, term=3)
    answers(raft, append((2, 1), term=3, commit=2))
    if role is Role.LEADER:
        lead(raft, 2)
    elif role is not Role.FOLLOWER:
        raft._stand(pre=role is Role.PRECANDIDATE)
    flush(raft)
    for message in messages:
        before = (raft.term, raft.log.commit)
        answers(raft, message)
        raft.tick()
        assert (raft.term, raft.log.commit) >= before
        assert raft.term >= raft.log.last_term
        assert raft.log.commit <= raft.log.last
        assert raft.log.snapshot.index > 0 or log_terms(raft)[:2] == [1, 1]
        raft.committed(EVERYTHING)
        raft.reads()


CONFIGURED = Entry(2, 3, Kind.CONFIGURATION, configuration((1, 2)).encode())


@pytest.mark.parametrize(
    "m",
    [
        Append(2, 1, 3, -1, 0, (), 0),
        Append(2, 1, 3, 1, 1, (), -1),
        Append(2, 1, 3, 1, 4, (), 0),
        Append(2, 1, 3, 1, 1, (Entry(3, 3, Kind.NOOP),), 0),
        Append(2, 1, 3, 1, 1, (Entry(2, 4, Kind.NOOP),), 0),
        Append(2, 1, 3, 1, 2, (Entry(2, 1, Kind.NOOP),), 0),
        Append(2, 1, 3, 1, 1, (Entry(2, 3, Kind.CONFIGURATION, b"x"),), 0),
        Append(2, 1, 3, 1, 1, (Entry(2, 3, Kind.CONFIGURATION, Configuration().encode()),), 0),
        Append(2, 1, 3, 2**63 - 1, 3, (Entry(2**63, 3, Kind.NOOP),), 0),
        Heartbeat(2, 1, 0, 0, 0),
        Heartbeat(0, 1, 3, 0, 0),
        Heartbeat(2, 1, 2**63, 0, 0),
        VoteRequest(2, 1, 3, 5, 3),
        SnapChunk(2, 1, 3, SnapshotMeta(5, 4, configuration((1, 2))), 0, 0),
        SnapChunk(2, 1, 3, SnapshotMeta(5, 3), 0, 0),
        SnapChunk(2, 1, 3, SnapshotMeta(5, 3, configuration((1, 2)), 9), 8, 2),
        SnapChunk(2, 1, 3, SnapshotMeta(5, 3, configuration((1, 2)), 9), 0, 9, 10),
        SnapReply(2, 1, 3, 5, -1),
        AppendReply(2, 1, 3, True, -1),
        HeartbeatReply(2, 1, 3, -1),
    ],
)
def test_what_no_correct_node_says_is_not_heard(m: Message) -> None:
    assert not is_sound(m)
    raft = node(1)
    assert answers(raft, m) == []
    assert (raft.term, raft.leader) == (1, None)


def test_what_a_correct_node_says_is_heard() -> None:
    assert is_sound(Append(2, 1, 3, 1, 1, (CONFIGURED,), 0))


@pytest.mark.parametrize("m", [Heartbeat(2, 3, 9, 0, 0), Heartbeat(1, 1, 9, 0, 0)])
def test_a_message_for_another_node_or_of_the_own_is_not_heard(m: Message) -> None:
    raft = node(1)
    assert answers(raft, m) == []
    assert raft.term == 1


@pytest.mark.parametrize(
    "m",
    [VoteReply(9, 1, 8, False), AppendReply(9, 1, 8, False, 0), HeartbeatReply(9, 1, 8, 0),
     SnapReply(9, 1, 8, 0, 0), Heartbeat(9, 1, 8, 0, 0), VoteRequest(9, 1, 8, 99, 7)],
)  # fmt: skip
def test_a_stranger_moves_no_term_of_a_leader(m: Message) -> None:
    raft = lead(node(1), 2)
    flush(raft)
    assert answers(raft, m) == []
    assert (raft.role, raft.term) == (Role.LEADER, 2)


def test_an_entry_that_conflicts_with_a_committed_one_is_not_believed(core: type[Raft]) -> None:
    """5.4: no leader has such an entry."""
    raft = node(1, 1, term=1, core=core)
    answers(raft, append((2, 1), term=1, commit=2))
    answers(raft, Append(3, 1, 5, 0, 0, entries(5), 0))
    answers(raft, Append(3, 1, 5, 2, 1, (), 0))
    assert log_terms(raft) == [1, 1]


def test_a_second_leader_of_a_term_is_not_followed() -> None:
    """5.2: there is at most one, so this is not a leader."""
    raft = node(1)
    raft.step(Heartbeat(2, 1, 2, 0, 0))
    flush(raft)
    assert answers(raft, Append(3, 1, 2, 0, 0, entries(2), 0)) == []
    assert (raft.leader, log_terms(raft)) == (2, [1])
