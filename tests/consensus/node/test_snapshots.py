"""Snapshots are made at the same places, sent to those that are far behind, and compared."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from consensus.node.halting import Diverged
from consensus.node.node import Node
from tests.consensus.node.cluster import SMALL as NO_ROOM
from tests.consensus.node.cluster import Cluster, clients, opened, operator, running, soon, until
from tests.consensus.node.test_disks import fills

SMALL: dict[str, Any] = {"snapshot_every": 20, "patience_s": 0.2}


async def fill(client: Any, count: int, begin: int = 0) -> None:
    """Make so many entries, some at a time."""
    for at in range(begin, begin + count, 10):
        await soon(asyncio.gather(*(opened(client, f"k{n}") for n in range(at, at + 10))))


def compacted(cluster: Cluster) -> bool:
    """Whether all nodes have let a part of their log go."""
    firsts = [record.first_index for record in cluster.records.values() if record.first_index]
    return all(node.status().snapshot > firsts[0] + 19 for node in cluster.nodes.values())


async def test_the_log_goes_when_a_snapshot_stands_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, **SMALL) as cluster, clients(cluster, "ada") as ada:
        await fill(ada, 60)
        await until(lambda: compacted(cluster))
        for node in cluster.nodes.values():
            assert node.status().snapshot % 20 == 0
            assert node.status().counts["restored"] == 0
            folder = node.settings.folder
            await until(lambda folder=folder: len(list(folder.glob("snapshot-*"))) == 1)  # type: ignore[misc]
        assert cluster.halted == {}


async def test_a_node_that_starts_again_goes_on_from_its_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path, **SMALL) as cluster, clients(cluster, "ada") as ada:
        await fill(ada, 60)
        await until(lambda: compacted(cluster))
        address = (await cluster.followers())[0].settings.address
        await soon(cluster.stop(address))
        await fill(ada, 10, begin=60)
        node = await cluster.start(address)
        assert node.status().counts["restored"] == 1
        await cluster.level()
        assert node.status().auctions == 70
        assert node._ledger.hash() == (await cluster.leader())._ledger.hash()


async def test_a_node_that_was_away_for_long_is_sent_a_snapshot(tmp_path: Path) -> None:
    async with running(tmp_path, **SMALL) as cluster, clients(cluster, "ada") as ada:
        await fill(ada, 10)
        away = (await cluster.followers())[0]
        address, before = away.settings.address, away.status().applied
        await soon(cluster.stop(address))
        await fill(ada, 100, begin=10)
        await until(lambda: compacted(cluster))
        node = await cluster.start(address)
        await until(lambda: node.status().auctions == 110)
        assert node.status().counts["chunks_staged"] >= 1
        assert node.status().snapshot > before
        await fill(ada, 10, begin=110)
        await cluster.level()
        assert node._ledger.hash() == (await cluster.leader())._ledger.hash()


async def test_a_new_node_is_sent_a_snapshot_of_many_chunks(tmp_path: Path) -> None:
    async with (
        running(tmp_path, **SMALL) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        await fill(ada, 60)
        for n in range(60, 220, 40):
            keys = [f"{n + m}-".ljust(250, "x") for m in range(40)]
            await soon(asyncio.gather(*(opened(ada, key) for key in keys)))
        leader = await cluster.leader()
        await until(lambda: compacted(cluster))
        for node in cluster.nodes.values():
            node._a.core.cfg = _with_small_chunks(node)
        new = await cluster.start(cluster.prepare_joiner())
        await soon(boss.add(new.id, new.settings.address))
        await soon(boss.promote(new.id))
        assert new.status().counts["chunks_staged"] > 10
        await cluster.level()
        assert new.status().auctions == leader.status().auctions == 220
        assert cluster.halted == {}


def _with_small_chunks(node: Node) -> Any:
    return replace(node._a.core.cfg, chunk_bytes=4_000)


async def test_a_node_whose_state_came_apart_stops(tmp_path: Path) -> None:
    async with running(tmp_path, **SMALL) as cluster, clients(cluster, "ada") as ada:
        await fill(ada, 10)
        await cluster.level()
        wrong = (await cluster.followers())[0]
        wrong._ledger.state.tasks["k3"].max_awards += 1
        await fill(ada, 60, begin=10)
        await until(lambda: wrong.halted)
        assert isinstance(wrong.halted, Diverged)
        assert list(cluster.halted) == [wrong.settings.address]
        await fill(ada, 10, begin=70)


async def test_while_the_state_is_packed_the_leader_stays_leader(tmp_path: Path) -> None:
    """A state of a day takes seconds: longer than an election."""
    async with running(tmp_path, **SMALL) as cluster, clients(cluster, "ada") as ada:
        leader = await cluster.leader()
        loop = asyncio.get_running_loop()
        packing, term = leader._a.machine.pack, leader.status().term
        gate = asyncio.Event()

        def slow() -> Any:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()
            return packing()

        leader._a.machine.pack = slow  # type: ignore[method-assign]
        filling = asyncio.create_task(fill(ada, 40))
        await until(lambda: leader._compacting.packing)
        ticks, at = leader.counters.ticks, leader.status().applied
        await until(lambda: leader.status().commit > at)
        await until(lambda: leader.counters.ticks > ticks + 60)
        assert leader.status().term == term
        assert leader.status().applied == at
        assert at % 20 == 0
        assert leader.status().role == "leader"
        gate.set()
        await soon(filling)
        assert leader.status().term == term


async def test_the_log_stays_until_those_that_are_a_little_behind_have_it(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"snapshot_every": 20, "patience_s": 60}
    storage = replace(NO_ROOM, floor=1000)
    async with (
        running(tmp_path, storage=storage, **settings) as cluster,
        clients(cluster, "ada") as ada,
    ):
        await fill(ada, 10)
        await cluster.level()
        behind = (await cluster.followers())[0]
        leader = await cluster.leader()
        fills(behind, free=100)
        ticks = behind.counters.ticks
        await until(lambda: behind.counters.ticks > ticks)
        await fill(ada, 40, begin=10)
        await until(lambda: leader._compacting._saved is not None)
        before = leader.status().snapshot
        ticks = leader.counters.ticks
        await until(lambda: leader.counters.ticks > ticks + 20)
        assert leader.status().snapshot == before
        fills(behind, free=5000)
        await until(lambda: leader.status().snapshot > before)
        await cluster.level()
        assert behind.status().counts["restored"] == 0
