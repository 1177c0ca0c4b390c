"""Leaders that were cut off, and those that do not know everything yet."""

import asyncio
from pathlib import Path
from typing import Any

from consensus.ledger.commands import KeepAlive
from consensus.ledger.entries import Entry, encode
from consensus.node.node import Node
from consensus.service.replies import Moved, decode_reply
from consensus.service.requests import CommandAsked, ReadAsked, Request, encode_request
from consensus.transport.connection import connect
from contracts.auctions import Opening
from tests.consensus.node.cluster import clients, opened, operator, running, soon, until


def cut_off(node: Node) -> None:
    """No peer hears it, and it hears none. Clients still reach it."""
    network: Any = node._network
    network.send = lambda _: None
    network.received = lambda _sender, _parcel: None


async def test_a_leader_that_is_cut_off_answers_nothing(tmp_path: Path) -> None:
    """It cannot know whether it still leads: it would read the past, or forget a session."""
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k"))
        old = await cluster.leader()
        session = ada._sessions.current
        connection = await connect(old.settings.address, ada.terms)
        cut_off(old)
        known = Entry(0, KeepAlive(), session.id, 60, session.acked_below)
        unknown = Entry(0, KeepAlive(), session.id + 99, 60, session.acked_below)
        bodies: list[Request] = [
            ReadAsked("k"),
            *(CommandAsked(session.nonce, encode(e)) for e in (known, unknown)),
        ]
        replies = await soon(
            asyncio.gather(*(connection.request(encode_request(b), timeout=15) for b in bodies))
        )
        assert [decode_reply(reply) for reply in replies] == [Moved("")] * 3
        await connection.close()
        assert await soon(ada.read("k")) is not None


async def test_a_new_leader_takes_no_command_before_it_has_applied_what_was_done(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        await soon(opened(ada, "k1"))
        await cluster.level()
        new = (await cluster.followers())[0]
        new._compacting.packing = True  # nothing is applied there
        await soon(opened(ada, "k2"))
        await soon(boss.transfer(new.id))
        command = asyncio.create_task(opened(ada, "k3"))
        await until(lambda: new.status().commit == new.status().last)
        ticks = new.counters.ticks
        await until(lambda: new.counters.ticks > ticks + 30)
        assert new.status().role == "leader"
        assert not new.status().ready
        assert not command.done()
        new._compacting.packing = False
        await soon(command)
        assert new.status().ready
        assert new.status().auctions == 3


async def test_what_waits_for_a_bidder_is_told_again_when_it_connects_again(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=2))
        heard = bob.subscribe()
        await soon(opened(ada, "k", window_ms=60_000))
        first = await soon(anext(heard))
        bob._channel.doubt(await bob._channel.leader())
        assert await soon(anext(heard)) == first
        leader = await cluster.leader()
        await soon(cluster.stop(leader.settings.address))
        again = await soon(anext(heard))
        assert isinstance(again, Opening)
        assert again == first
        await soon(bob.bid("k", first.round, score=1, cost=0))
        won = await soon(anext(heard))
        while isinstance(won, Opening):
            won = await soon(anext(heard))
        bob._channel.doubt(await bob._channel.leader())
        assert await soon(anext(heard)) == won
