"""Any message that a core may say, and any speaker."""

from dataclasses import replace

from hypothesis import strategies as st

from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapChunk,
    SnapReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.types import LIMIT, Configuration, Entry, Kind, Member, SnapshotMeta
from consensus.wire.hello import NONCE, Hello, Party, Speaker
from consensus.wire.messages import Parcel

numbers = st.integers(0, LIMIT - 1)
ids = st.integers(1, LIMIT - 1)
small = st.integers(0, 1 << 40)
crcs = st.integers(0, (1 << 32) - 1)


@st.composite
def appends(draw: st.DrawFn) -> Append:
    prev = draw(small)
    made = draw(st.lists(st.tuples(numbers, st.sampled_from(Kind), st.binary(max_size=40))))
    entries = tuple(Entry(prev + place, *one) for place, one in enumerate(made, start=1))
    return Append(draw(ids), draw(ids), draw(numbers), prev, draw(numbers), entries, draw(numbers))


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    members = draw(st.dictionaries(ids, st.tuples(st.text(max_size=20), st.booleans()), max_size=5))
    return Configuration(tuple(Member(node, *members[node]) for node in sorted(members)))


@st.composite
def chunks(draw: st.DrawFn) -> Parcel:
    data, offset, more = draw(st.binary(max_size=60)), draw(small), draw(small)
    size = offset + len(data) + more
    meta = SnapshotMeta(draw(numbers), draw(numbers), draw(configurations()), size, draw(crcs))
    chunk = SnapChunk(draw(ids), draw(ids), draw(numbers), meta, offset, len(data))
    return Parcel(chunk, draw(numbers), data)


flat = st.one_of(
    *(
        st.builds(of, **dict.fromkeys(names.split(), numbers))
        for of, names in (
            (VoteRequest, "sender to term last_index last_term"),
            (VoteReply, "sender to term"),
            (AppendReply, "sender to term index rejected hint_term"),
            (Heartbeat, "sender to term commit round"),
            (HeartbeatReply, "sender to term round"),
            (SnapReply, "sender to term index staged"),
            (TimeoutNow, "sender to term"),
        )
    )
)
parcels = st.one_of(st.builds(Parcel, st.one_of(flat, appends()), numbers), chunks())


@st.composite
def speakers(draw: st.DrawFn) -> Speaker:
    party = draw(st.sampled_from(Party))
    span = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    return Speaker(
        party=party,
        cluster=draw(ids),
        node=draw(ids) if party is Party.PEER else 0,
        name=draw(st.text(max_size=30)),
        incarnation=draw(numbers),
        seq=draw(numbers),
        protocols=span,
        cluster_version=draw(st.integers(0, 1 << 20)),
    )


hellos = st.builds(Hello, speakers(), st.binary(min_size=NONCE, max_size=NONCE), st.booleans())


PEER = Speaker(party=Party.PEER, cluster=7, node=1, name="127.0.0.1:1")
OTHER = replace(PEER, node=2, name="127.0.0.1:2")
WORKER = Speaker(party=Party.WORKER, cluster=7, name="worker 1")
OPERATOR = Speaker(party=Party.OPERATOR, cluster=7, name="ada")
