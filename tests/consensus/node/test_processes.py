"""Nodes as real processes: killed without warning, frozen, emptied."""

import asyncio
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from consensus.client.client import LedgerClient
from consensus.client.operating import Operator
from consensus.node.halting import CODE
from contracts.auctions import AuctionError, Opening, Phase, Won
from tests.consensus.node.cluster import HASH, OF_OPERATOR, opened, soon
from tests.consensus.node.processes import Fleet, fleet, worker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


class Bidder:
    """Bids for everything, does what it wins, and remembers each award it was told."""

    def __init__(self, client: LedgerClient) -> None:
        self.client = client
        self.awards: set[tuple[str, int]] = set()
        self.done: dict[str, int] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            async for told in self.client.subscribe():
                if isinstance(told, Opening):
                    group.create_task(self._bid(told))
                elif (told.key, told.token) not in self.awards:
                    self.awards.add((told.key, told.token))
                    group.create_task(self._work(told))

    async def _bid(self, told: Opening) -> None:
        with suppress(AuctionError):  # told twice, or answered too late
            await self.client.bid(told.key, told.round, score=1, cost=0)

    async def _work(self, won: Won) -> None:
        await self.client.renew(won.key, won.token)
        await self.client.complete(won.key, won.token, HASH)
        self.done[won.key] = won.token


async def auctioned(client: LedgerClient, keys: list[str], acked: list[float]) -> None:
    """Open one auction after the other, and note when each was acknowledged."""
    for key in keys:
        await opened(client, key, window_ms=20_000)
        acked.append(time.monotonic())


async def judged(client: LedgerClient, keys: list[str], bidders: list[Bidder]) -> None:
    """Every auction is completed, by one award, which is that of exactly one bidder."""
    for key in keys:
        auction = await soon(client.ended(key, timeout=60), 60)
        assert auction.phase is Phase.COMPLETED
        tokens = [bidder.done[key] for bidder in bidders if key in bidder.done]
        assert len(tokens) <= 1
        assert auction.award is not None
        assert tokens in ([], [auction.award.token])


async def test_a_leader_is_killed_under_clients_and_every_task_is_done_once(
    tmp_path: Path,
) -> None:
    async with (
        fleet(tmp_path) as nodes,
        worker(nodes, "ada") as ada,
        worker(nodes, "bo") as bo,
        worker(nodes, "cy") as cy,
    ):
        await soon(asyncio.gather(bo.join("maker", slots=90), cy.join("maker", slots=90)))
        bidders = [Bidder(bo), Bidder(cy)]
        running = [asyncio.create_task(bidder.run()) for bidder in bidders]
        acked: list[float] = []
        keys = [f"k{n}" for n in range(120)]
        opening = asyncio.create_task(auctioned(ada, keys, acked))
        for part in (30, 70):
            while len(acked) < part:  # noqa: ASYNC110 - how far others are has no event
                await asyncio.sleep(0.005)
            killed = await nodes.leader(ada)
            assert await nodes.kill(killed) < 0
            await nodes.start(killed)
        await soon(opening, 60)
        await judged(ada, keys, bidders)
        for task in running:
            assert not task.done()
            task.cancel()
        assert all("ends:" not in nodes.said(address) for address in nodes.addresses)


async def test_a_frozen_leader_is_replaced_and_does_no_harm_when_it_thaws(tmp_path: Path) -> None:
    async with fleet(tmp_path) as nodes, worker(nodes, "ada") as ada, worker(nodes, "bo") as bo:
        await soon(opened(ada, "k1"))
        frozen = await nodes.leader(ada)
        nodes.freeze(frozen)
        await soon(opened(ada, "k2"))
        await soon(opened(bo, "k3"))
        assert await nodes.leader(ada) != frozen
        nodes.thaw(frozen)
        await soon(opened(ada, "k4"))
        async with Operator([frozen], keys=OF_OPERATOR) as boss, asyncio.timeout(20):
            while (await boss.status_of(frozen))["auctions"] != 4:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)


async def test_all_are_killed_and_nothing_that_was_acknowledged_is_lost(tmp_path: Path) -> None:
    async with fleet(tmp_path, "--snapshot-every", "50") as nodes, worker(nodes, "ada") as ada:
        keys = [f"k{n}" for n in range(100)]
        await soon(asyncio.gather(*(opened(ada, key) for key in keys)), 60)
        for address in nodes.addresses:
            await nodes.kill(address)
        for address in nodes.addresses:
            await nodes.start(address)
        for key in keys:
            assert await soon(ada.read(key)) is not None
        await soon(opened(ada, "after"))


async def test_a_node_with_an_emptied_folder_says_why_it_does_not_start(tmp_path: Path) -> None:
    async with fleet(tmp_path) as nodes, worker(nodes, "ada") as ada:
        await soon(opened(ada, "k1"))
        address = next(one for one in nodes.addresses if one != nodes.addresses[0])
        await nodes.kill(address)
        shutil.rmtree(nodes.folder_of(address))
        nodes.folder_of(address).mkdir()
        await nodes.start(address)
        process = nodes.processes.pop(address)
        assert await soon(process.wait()) == CODE
        assert "neither a ledger nor a bootstrap record" in nodes.said(address)
        assert "replace" in nodes.said(address)
        await soon(opened(ada, "k2"))


async def test_a_node_that_is_asked_to_end_hands_over_first(tmp_path: Path) -> None:
    async with fleet(tmp_path) as nodes, worker(nodes, "ada") as ada:
        await soon(opened(ada, "k1"))
        leader = await nodes.leader(ada)
        assert await soon(_ended(nodes, leader)) == 0
        await soon(opened(ada, "k2"))


async def _ended(nodes: Fleet, address: str) -> int:
    return await nodes.kill(address, 15)


async def test_a_process_is_replaced_by_one_that_needs_a_snapshot_and_then_leads(
    tmp_path: Path,
) -> None:
    options = ("--snapshot-every", "50")
    async with fleet(tmp_path, *options) as nodes, worker(nodes, "ada") as ada:
        await soon(asyncio.gather(*(opened(ada, f"k{n}") for n in range(120))), 60)
        leader = await nodes.leader(ada)
        lost = next(address for address in nodes.addresses if address != leader)
        await nodes.kill(lost)
        late = nodes.prepare_joiner()
        await nodes.start(late)
        async with Operator(nodes.addresses, keys=OF_OPERATOR) as boss:
            await soon(boss.replace(nodes.ids[lost], nodes.ids[late], late), 60)
            found = await boss.status_of(late)
            assert found["counts"]["restored"] >= 1  # a slow one is sent a newer one, too
            await soon(boss.transfer(nodes.ids[late]), 30)
            assert await nodes.leader(ada) == late
            await soon(opened(ada, "more"))
            await soon(boss.remove(nodes.ids[leader]), 30)
            ids = {member["id"] for member in (await boss.status_of(late))["members"]}
            assert len(ids) == 2
            assert str(nodes.ids[leader]) not in ids
        assert await soon(ada.read("k7")) is not None
