"""Whom a node believes: one process of each id, which never has less than it had."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from consensus.node.judging import Judge
from consensus.node.writer import Writer
from consensus.raft.messages import Heartbeat
from consensus.raft.types import Configuration, Member
from consensus.storage.opening import open_store
from consensus.storage.record import Bootstrap, write_record
from consensus.storage.sqlite import SqliteStore
from consensus.wire.errors import Refused, Why
from consensus.wire.hello import Party, Speaker
from consensus.wire.messages import Parcel
from contracts.clock import ManualClock
from tests.consensus.node.cluster import SMALL

PEER = Speaker(party=Party.PEER, cluster=1, node=2, name="b:1", incarnation=5, seq=40)
WORKER = Speaker(party=Party.WORKER, cluster=1)


def said(seq: int) -> Parcel:
    return Parcel(Heartbeat(2, 1, 1, 0, 0), seq)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    members = Configuration((Member(1, "a:1"), Member(2, "b:1")))
    write_record(tmp_path, Bootstrap(1, 1, members, 1))
    made = open_store(tmp_path, incarnation=1, limits=SMALL)
    yield made
    made.close()


@pytest.fixture
async def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def judge(store: SqliteStore, clock: ManualClock) -> AsyncIterator[Judge]:
    errors: list[BaseException] = []
    writer = Writer(errors.append)
    yield Judge(store, writer, clock, quiet_s=0.25)
    await writer.close()
    assert errors == []


async def test_what_a_peer_has_is_durable_before_it_is_let_in(
    judge: Judge, store: SqliteStore
) -> None:
    before = store.seq
    await judge.admit(PEER)
    assert store.peers[2].seq == 40
    assert store.seq == before + 1


async def test_another_process_of_an_id_waits_until_the_first_is_silent(
    judge: Judge, clock: ManualClock
) -> None:
    await judge.admit(PEER)
    other = replace(PEER, incarnation=6, seq=41)
    await clock.advance(0.2)
    assert judge.believes(PEER, said(41))
    await clock.advance(0.2)
    with pytest.raises(Refused) as raised:
        await judge.admit(other)
    assert raised.value.why is Why.IDENTITY
    await clock.advance(0.3)
    await judge.admit(other)
    assert not judge.believes(PEER, said(50))
    assert judge.believes(other, said(42))


async def test_a_peer_that_comes_back_with_less_is_not_let_in(
    judge: Judge, clock: ManualClock
) -> None:
    await judge.admit(PEER)
    assert judge.believes(PEER, said(45))
    await clock.advance(1)
    with pytest.raises(Refused, match="forgotten"):
        await judge.admit(replace(PEER, incarnation=6, seq=44))


async def test_a_message_that_waited_is_no_sign_of_going_back(judge: Judge) -> None:
    await judge.admit(PEER)
    assert judge.believes(PEER, said(45))
    assert judge.believes(PEER, said(44))
    assert judge.believes(PEER, said(46))


async def test_who_was_not_let_in_is_not_believed(judge: Judge) -> None:
    assert not judge.believes(PEER, said(45))
    assert judge.refused == 1


async def test_clients_are_let_in_by_their_key_alone(judge: Judge, store: SqliteStore) -> None:
    before = store.seq
    await judge.admit(WORKER)
    assert store.seq == before


async def test_ids_that_were_ever_named_are_known(judge: Judge) -> None:
    await judge.admit(replace(PEER, node=3))
    assert [judge.was_used(node) for node in (1, 2, 3, 4)] == [True, True, True, False]
