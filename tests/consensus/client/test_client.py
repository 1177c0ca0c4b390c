"""Every method of a client does what its name says, on a real cluster."""

import asyncio
from pathlib import Path

import pytest

from consensus.client.channel import addresses_of
from contracts.auctions import (
    Closed,
    Ended,
    NotInvited,
    Opening,
    Phase,
    TooSoon,
    UnknownAuction,
    Won,
    WrongRound,
)
from contracts.errors import InvalidValue
from tests.consensus.node.cluster import HASH, clients, opened, running, soon


async def test_an_award_that_is_released_goes_on_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", skills=["b", "a", "b"], slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k", window_ms=60_000))
        first = await soon(anext(heard))
        with pytest.raises(WrongRound):
            await soon(bob.bid("k", first.round + 1, score=1, cost=0))
        with pytest.raises(NotInvited):
            await soon(ada.bid("k", first.round, score=1, cost=0))
        await soon(bob.bid("k", first.round, score=1, cost=0))
        won = await soon(anext(heard))
        assert isinstance(won, Won)
        with pytest.raises(TooSoon):
            await soon(ada.adopt("k", won.token, HASH))
        again = await soon(bob.release("k", won.token))
        assert again.round == first.round + 1
        second = await soon(anext(heard))
        assert isinstance(second, Opening)
        await soon(bob.pass_("k", second.round, parts=b"busy"))
        auction = await soon(ada.read("k"))
        assert auction.phase is Phase.OPEN
        with pytest.raises((Closed, NotInvited)):
            await soon(bob.bid("k", second.round, score=1, cost=0))


async def test_a_cancelled_auction_has_that_end_and_no_other(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k"))
        assert (await soon(ada.cancel("k"))).phase is Phase.CANCELLED
        assert (await soon(ada.cancel("k"))).phase is Phase.CANCELLED
        with pytest.raises(Ended):
            await soon(ada.renew("k", 7))
        with pytest.raises(UnknownAuction):
            await soon(ada.cancel("never"))
        assert [one.key for one in await soon(ada.auctions())] == ["k"]
        assert await soon(ada.auctions(after="k")) == []


async def test_who_leaves_bids_no_more(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "bob") as bob:
        await soon(bob.join("maker", slots=1))
        await soon(bob.join("tester", slots=2))
        assert await soon(bob.keepalive()) == ("maker", "tester")
        await soon(bob.leave("maker"))
        assert await soon(bob.keepalive()) == ("tester",)


async def test_what_is_out_of_range_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        with pytest.raises(InvalidValue, match="window_ms"):
            await soon(opened(ada, "k", window_ms=0))
        assert (await cluster.leader()).status().sessions == 0


async def test_the_status_is_that_of_the_leader(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        found = (await soon(ada.status())).body
        assert found["id"] == str((await cluster.leader()).id)
        assert found["role"] == "leader"


def test_addresses_are_a_list_or_a_text() -> None:
    assert addresses_of("a:1, b:2,") == ("a:1", "b:2")
    assert addresses_of(["a:1", " b:2 "]) == ("a:1", "b:2")


async def test_a_call_that_was_given_up_does_not_block_those_after_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(ada.keepalive())
        session = ada._sessions.current
        for _ in range(100):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await ada.keepalive()
        await soon(opened(ada, "k"))
        assert session.acked_below == session.take()


async def test_commands_outlive_the_connections_they_were_sent_in(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(ada.keepalive())
        for n in range(5):
            calls = [asyncio.create_task(opened(ada, f"k{n}-{m}")) for m in range(10)]
            connection = await soon(ada._channel.leader())
            await asyncio.sleep(0)
            connection._link.abort("somebody pulled the plug")
            await soon(asyncio.gather(*calls))
        leader = await cluster.leader()
        assert leader.status().auctions == 50
        assert leader.status().sessions == 1
