"""What clients may ask of a node, what comes of it, and what they may not."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.client.client import LedgerClient
from consensus.client.errors import LedgerAway
from consensus.client.session import Session
from consensus.ledger.answers import Refused
from consensus.ledger.commands import Close, Command, KeepAlive, Release
from consensus.ledger.entries import Entry, encode
from consensus.service.replies import Answered, Invalid, Moved, Reply, decode_reply
from consensus.service.requests import CommandAsked, encode_request
from consensus.transport.connection import connect
from contracts.auctions import AuctionError, Conflict, Fenced, Opening, Refusal, UnknownSession, Won
from tests.consensus.node.cluster import (
    HASH,
    OF_WORKER,
    clients,
    opened,
    running,
    soon,
    until,
)


async def asked(client: LedgerClient, address: str, body: bytes) -> Reply:
    """What one node answers to bytes that a client would not send."""
    connection = await connect(address, client.terms)
    try:
        return decode_reply(await connection.request(body, timeout=5))
    finally:
        await connection.close()


async def win(worker: LedgerClient, heard: Any) -> Won:
    """Bid in every round that comes until one is won."""
    async for told in heard:
        if isinstance(told, Won):
            return told
        await worker.bid(told.key, told.round, score=1, cost=0)
    raise AssertionError


async def test_a_command_of_the_leader_is_refused_from_a_client(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k"))
        leader = await cluster.leader()
        nonce = ada._sessions.nonce
        forged = Entry(0, Close("k", 1))
        body = encode_request(CommandAsked(nonce, encode(forged)))
        assert isinstance(await asked(ada, leader.settings.address, body), Invalid)


async def test_a_session_cannot_be_used_without_its_nonce(tmp_path: Path) -> None:
    """Numbers of sessions can be guessed."""
    async with running(tmp_path) as cluster, clients(cluster, "ada", "eve") as (ada, eve):
        await soon(asyncio.gather(ada.keepalive(), eve.keepalive()))
        leader = await cluster.leader()
        entry = encode(Entry(0, KeepAlive(), ada._sessions.current.id, 9, 1))
        body = encode_request(CommandAsked(eve._sessions.nonce, entry))
        reply = await asked(eve, leader.settings.address, body)
        assert reply == Answered(Refused(Refusal.UNKNOWN_SESSION))


async def test_a_follower_names_the_leader(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(ada.keepalive())
        leader = await cluster.leader()
        follower = (await cluster.followers())[0]
        await until(lambda: follower.status().leader == leader.id)
        command: Command = KeepAlive()
        body = encode_request(CommandAsked(bytes(16), encode(Entry(0, command, 1, 1, 1))))
        reply = await asked(ada, follower.settings.address, body)
        assert reply == Moved(leader.settings.address)


async def test_a_command_that_is_sent_twice_is_answered_once_more_and_done_once(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k"))
        won = await soon(win(bob, heard))
        session: Session = bob._sessions.current
        seq = session.take()
        leader = await cluster.leader()
        entry = encode(Entry(0, Release("k", won.token), session.id, seq, session.acked_below))
        body = encode_request(CommandAsked(session.nonce, entry))
        first = await asked(bob, leader.settings.address, body)
        again = await asked(bob, leader.settings.address, body)
        assert first == again
        auction = await soon(ada.read("k"))
        assert auction.round == 2


async def test_refusals_are_errors_of_auctions(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k"))
        with pytest.raises(Conflict):
            await soon(opened(ada, "k", max_awards=9))
        won = await soon(win(bob, heard))
        with pytest.raises(Fenced):
            await soon(ada.complete("k", won.token, HASH))
        with pytest.raises(Fenced):
            await soon(bob.renew("k", won.token + 1))


async def test_more_commands_at_once_than_the_window_has_places_for(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(asyncio.gather(*(opened(ada, f"k{n}") for n in range(200))))
        assert len(await soon(ada.auctions(limit=64))) == 64
        assert (await cluster.leader()).status().auctions == 200


async def test_a_session_that_the_ledger_forgot_is_an_error_then_another_session(
    tmp_path: Path,
) -> None:
    """It is never said again under another session."""
    async with running(tmp_path) as cluster, clients(cluster, "bob") as bob:
        await soon(bob.join("maker", slots=2))
        before = bob._sessions.current
        bob._sessions.current = replace(before, id=before.id + 12345)
        with pytest.raises(UnknownSession):
            await soon(opened(bob, "k"))
        leader = await cluster.leader()
        assert leader.status().auctions == 0
        await soon(opened(bob, "k"))
        assert bob._sessions.current.nonce != before.nonce
        session = bob._sessions.current.id
        bidders = leader._ledger.state.bidders
        await until(lambda: session in bidders.get("maker", {}))


async def test_without_a_quorum_nothing_is_answered_and_the_caller_hears_so(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", answer_s=0.2) as ada:
        await soon(opened(ada, "k"))
        for node in await cluster.followers():
            await cluster.stop(node.settings.address)
        with pytest.raises(LedgerAway) as raised:
            await opened(ada, "k2", timeout=1.0)
        assert raised.value.retryable
        with pytest.raises(LedgerAway):
            await ada.read("k", timeout=0.5)


async def test_a_client_without_any_node_hears_that_the_ledger_is_away() -> None:
    client = LedgerClient(["127.0.0.1:1"], worker="ada", keys=OF_WORKER)
    async with client:
        with pytest.raises(LedgerAway, match=r"127\.0\.0\.1:1"):
            await client.keepalive(timeout=0.3)


async def test_a_leader_that_leaves_hands_over_and_commands_go_on(tmp_path: Path) -> None:
    """Sessions, numbers and what is told survive: nothing is done twice, nothing is missing."""
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=50))
        heard = bob.subscribe()
        tokens: dict[str, int] = {}

        async def bidding() -> None:
            async for told in heard:
                if isinstance(told, Won):
                    assert tokens.setdefault(told.key, told.token) == told.token
                elif isinstance(told, Opening) and told.key not in tokens:
                    with suppress(AuctionError):  # it may be told again while it is answered
                        await bob.bid(told.key, told.round, score=1, cost=0)

        task = asyncio.create_task(bidding())
        for n in range(30):
            await soon(opened(ada, f"k{n}", window_ms=5_000))
            if n == 10:
                leader = await cluster.leader()
                await soon(cluster.stop(leader.settings.address))
        await until(lambda: len(tokens) == 30 or task.done())
        assert not task.done()
        task.cancel()
        assert len(set(tokens.values())) == 30
        assert cluster.halted == {}


async def test_reads_wait_for_what_was_acknowledged_before(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        for n in range(20):
            await soon(opened(ada, f"k{n}"))
            assert await soon(bob.read(f"k{n}")) is not None
        assert await soon(bob.read("never")) is None
