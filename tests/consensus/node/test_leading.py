"""What a leader does of its own accord."""

import asyncio
import time
from pathlib import Path
from typing import Any

from consensus.node.counting import Counters
from consensus.node.ticking import Ticker
from contracts.auctions import Opening, Phase, Won
from tests.consensus.node.cluster import clients, opened, running, soon, until


async def test_a_round_nobody_answers_is_closed_at_its_deadline(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k", window_ms=100))
        first = await soon(anext(heard))
        second = await soon(anext(heard))
        assert isinstance(first, Opening)
        assert isinstance(second, Opening)
        assert second.round == first.round + 1
        assert cluster.halted == {}


async def test_an_award_that_lapses_goes_to_somebody_else(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob", "cy") as found:
        ada, bob, cy = found
        await soon(asyncio.gather(bob.join("maker", slots=1), cy.join("maker", slots=1)))
        winners = []
        await soon(opened(ada, "k", window_ms=5_000, lease_ms=150))

        async def bidding(worker: str, client: object) -> None:
            async for told in client.subscribe():  # type: ignore[attr-defined]
                if isinstance(told, Won):
                    winners.append((worker, told.token))
                else:
                    await client.bid(told.key, told.round, score=1, cost=0)  # type: ignore[attr-defined]

        tasks = [asyncio.create_task(bidding(n, c)) for n, c in (("bob", bob), ("cy", cy))]
        await until(lambda: len(winners) >= 2)
        for task in tasks:
            task.cancel()
        assert winners[0][0] != winners[1][0]
        assert winners[0][1] < winners[1][1]


async def test_an_auction_expires_after_its_awards(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k", window_ms=5_000, lease_ms=100, max_awards=1))
        end = asyncio.create_task(ada.ended("k"))
        opening = await soon(anext(heard))
        await soon(bob.bid("k", opening.round, score=1, cost=0))
        assert (await soon(end)).phase is Phase.EXPIRED


async def test_a_bidder_whose_connection_is_silent_is_dismissed_and_comes_back(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, silence_ms=300) as cluster,
        clients(cluster, "bob", ping_s=0.05) as bob,
        clients(cluster, "cy", ping_s=60) as cy,
    ):
        await soon(asyncio.gather(bob.join("maker", slots=1), cy.join("maker", slots=1)))
        leader = await cluster.leader()
        state = leader._ledger.state
        away, here = cy._sessions.current.id, bob._sessions.current.id
        await until(lambda: away not in state.bidders["maker"])
        assert here in state.bidders["maker"]
        assert leader.status().counts["dismissed"] == 1
        await soon(cy.keepalive())
        assert away in state.bidders["maker"]


async def test_a_bidder_that_was_dismissed_though_nobody_hung_up_joins_again(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, silence_ms=200) as cluster,
        clients(cluster, "bob", ping_s=0.7) as bob,
    ):
        await soon(bob.join("maker", slots=1))
        leader = await cluster.leader()
        await until(lambda: leader.status().counts["dismissed"])
        bidders = leader._ledger.state.bidders
        session = bob._sessions.current.id
        await until(lambda: session not in bidders.get("maker", {}))
        await until(lambda: session in bidders.get("maker", {}))


async def test_a_bidder_whose_session_was_forgotten_bids_in_a_new_one(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as cluster,
        clients(cluster, "bob", ping_s=0.05) as bob,
    ):
        await soon(bob.join("maker", slots=1))
        old = bob._sessions.current.id
        leader = await cluster.leader()
        for node in cluster.nodes.values():  # as if an hour had passed everywhere
            node._ledger.state.clock += 3_700_000
        clock: Any = leader._leading.clock
        clock._now = leader._ledger.state.clock
        bidders = leader._ledger.state.bidders
        await until(lambda: old not in bidders.get("maker", {}))
        await until(lambda: bidders.get("maker"))
        assert old not in bidders["maker"]


async def test_the_clock_of_the_ledger_goes_on_under_another_leader(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k", window_ms=60_000))
        leader = await cluster.leader()
        await asyncio.sleep(0.2)
        await soon(ada.keepalive())
        clock = leader.status().clock
        assert clock >= 150
        await soon(cluster.stop(leader.settings.address))
        await soon(ada.keepalive())
        assert (await cluster.leader()).status().clock >= clock


async def test_the_version_rises_when_every_member_follows_it(tmp_path: Path) -> None:
    async with running(tmp_path, newest=2) as cluster:
        leader = await cluster.leader()
        await until(lambda: leader.status().cluster_version == 2)
        await cluster.level()
        assert cluster.halted == {}


async def test_a_member_of_an_older_release_keeps_the_version_down(tmp_path: Path) -> None:
    async with running(tmp_path, newest=2) as cluster:
        pass
    async with running(tmp_path / "other") as cluster:
        for address in cluster.addresses[1:]:
            await soon(cluster.stop(address))
            await soon(cluster.start(address, newest=2))
        await asyncio.sleep(0)
        leader = await cluster.leader()
        seen = leader.counters.ticks
        await until(lambda: leader.counters.ticks > seen + 150)
        assert {node.status().cluster_version for node in cluster.nodes.values()} == {1}
        await soon(cluster.stop(cluster.addresses[0]))
        await soon(cluster.start(cluster.addresses[0], newest=2))

        def raised() -> bool:
            return {node.status().cluster_version for node in cluster.nodes.values()} == {2}

        await until(raised)


async def test_after_a_stall_there_is_one_tick() -> None:
    """However many were missed: a node that stood still has not waited for anybody."""
    counters = Counters()
    ticked = asyncio.Event()
    ticker = Ticker(200, ticked.set, counters)
    ticker.start()
    await soon(ticked.wait())
    ticked.clear()
    before, stalls = counters.ticks, counters.stalls
    time.sleep(0.7)  # noqa: ASYNC251 - the stall
    await soon(ticked.wait())
    assert counters.ticks == before + 1
    assert counters.stalls == stalls + 1
    ticker.stop()
