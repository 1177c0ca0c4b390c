"""Disks that are full, hang or fail, and folders that are not what they were."""

import asyncio
import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from consensus.client.errors import LedgerAway
from consensus.node.node import Node
from consensus.storage.errors import NotBegun, Stopped
from consensus.storage.store import Space
from tests.consensus.node.cluster import SMALL, clients, opened, operator, running, soon, until


def fills(node: Node, *, free: int) -> None:
    """Let the disk of a node have so much room."""
    store: Any = node._a.store
    limits = store._parts.limits
    store.space = lambda: Space(free, limits.floor, 0)


async def test_a_leader_whose_disk_is_full_gives_way(tmp_path: Path) -> None:
    storage = replace(SMALL, floor=1000)
    async with running(tmp_path, storage=storage) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        full = await cluster.leader()
        fills(full, free=900)
        await until(lambda: full.status().role != "leader")
        await soon(opened(ada, "k2"))
        assert (await cluster.leader()) is not full
        assert cluster.halted == {}


async def test_where_all_disks_are_full_nothing_is_accepted_until_there_is_room(
    tmp_path: Path,
) -> None:
    storage = replace(SMALL, floor=1000)
    async with running(tmp_path, storage=storage) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        for node in cluster.nodes.values():
            fills(node, free=900)
        await until(lambda: not any(node._a.core.space for node in cluster.nodes.values()))
        with pytest.raises(LedgerAway):
            await opened(ada, "k2", timeout=1.0)
        assert cluster.halted == {}
        for node in cluster.nodes.values():
            fills(node, free=5000)
        await soon(opened(ada, "k2"))


async def test_a_follower_without_any_room_takes_no_entries(tmp_path: Path) -> None:
    storage = replace(SMALL, floor=1000)
    async with running(tmp_path, storage=storage) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        await cluster.level()
        full = (await cluster.followers())[0]
        fills(full, free=100)
        last = full.status().last
        ticks = full.counters.ticks
        await until(lambda: full.counters.ticks > ticks)
        await soon(opened(ada, "k2"))
        await until(lambda: full.status().counts["appends_refused"])
        assert full.status().last == last
        fills(full, free=5000)
        await cluster.level()
        assert full.status().auctions == 2


async def test_an_operator_makes_room(tmp_path: Path) -> None:
    storage = replace(SMALL, ballast=1 << 20)
    async with (
        running(tmp_path, storage=storage) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        await soon(asyncio.gather(*(opened(ada, f"k{n}") for n in range(50))))
        leader = await cluster.leader()
        before = leader.status()
        assert before.ballast == 1 << 20
        await soon(boss.compact(leader.settings.address))
        after = leader.status()
        assert after.snapshot > before.snapshot
        assert after.ballast == 1 << 20
        assert (leader.settings.folder / "ballast").exists()
        await soon(opened(ada, "more"))


async def test_a_leader_whose_disk_hangs_steps_down_and_comes_back(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        leader = await cluster.leader()
        store: Any = leader._a.store
        writes, gate = store.write, threading.Event()

        def hangs(ready: Any) -> int:
            gate.wait()
            return int(writes(ready))

        store.write = hangs
        await soon(opened(ada, "k2", timeout=15))
        await until(lambda: leader.status().role != "leader")
        assert (await cluster.leader(leader)) is not leader
        gate.set()
        await soon(opened(ada, "k3"))
        await cluster.level()
        assert leader.status().auctions == 3


async def test_a_node_whose_disk_fails_ends_and_the_others_go_on(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", answer_s=0.3) as ada:
        await soon(opened(ada, "k1"))
        leader = await cluster.leader()
        store: Any = leader._a.store

        def fails(_: Any) -> int:
            raise Stopped("write its log", OSError("input/output error"))

        store.write = fails
        await soon(opened(ada, "k2", timeout=15))
        assert isinstance(cluster.halted[leader.settings.address], Stopped)
        assert len(cluster.halted) == 1
        assert leader._turns.over


async def test_an_emptied_folder_does_not_start(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster:
        address = (await cluster.followers())[0].settings.address
        await soon(cluster.stop(address))
        folder = cluster.folder_of(address)
        shutil.rmtree(folder)
        folder.mkdir()
        with pytest.raises(NotBegun):
            await cluster.start(address)


async def test_a_folder_that_was_set_back_is_believed_by_nobody(tmp_path: Path) -> None:
    """Its high-water file went back with it: only its peers know better."""
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        address = (await cluster.followers())[0].settings.address
        await soon(cluster.stop(address))
        old = tmp_path / "old"
        shutil.copytree(cluster.folder_of(address), old)
        await cluster.start(address)
        await soon(asyncio.gather(*(opened(ada, f"more{n}") for n in range(20))))
        await cluster.level()
        going = cluster.nodes.pop(address)
        others = list(cluster.nodes.values())

        def heard() -> bool:
            seen = [node._a.store.peers[going.id].seq for node in others]
            return set(seen) == {going.status().seq}

        await until(heard)
        await soon(going.close())
        shutil.rmtree(cluster.folder_of(address))
        shutil.copytree(old, cluster.folder_of(address))
        back = await cluster.start(address)
        await until(lambda: all(node.status().counts["peers_refused"] > 1 for node in others))
        last = back.status().last
        await soon(opened(ada, "after"))
        assert back.status().last == last
        assert back.status().leader is None


async def test_a_copy_of_a_running_node_is_not_let_in_beside_it(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada") as ada:
        await soon(opened(ada, "k1"))
        address = (await cluster.followers())[0].settings.address
        await soon(cluster.stop(address))
        copy = tmp_path / "copy"
        shutil.copytree(cluster.folder_of(address), copy)
        await cluster.start(address)
        await cluster.level()
        leader = await cluster.leader()
        before = leader.status().counts["peers_refused"]
        elsewhere = cluster.prepare_joiner()
        twin = await cluster.start(elsewhere, folder=copy)
        assert twin.id == cluster.nodes[address].id
        await until(lambda: leader.status().counts["peers_refused"] > before)
        await soon(opened(ada, "k2"))
        assert twin.status().auctions <= 1
        assert cluster.halted == {}
