"""Members come, go, are replaced, and hand the leadership over."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from consensus.client.errors import OrderRefused
from consensus.node.node import Node
from tests.consensus.node.cluster import Cluster, clients, opened, operator, running, soon, until


def members(node: Node) -> dict[int, bool]:
    """Ids, and whether each votes."""
    return {int(one["id"]): bool(one["voter"]) for one in node.status().members}


async def joiner(cluster: Cluster) -> Node:
    """A node that waits to be added."""
    return await cluster.start(cluster.prepare_joiner())


async def test_a_node_is_added_catches_up_and_votes(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        for n in range(20):
            await soon(opened(ada, f"k{n}"))
        new = await joiner(cluster)
        await soon(boss.add(new.id, new.settings.address))
        leader = await cluster.leader()
        assert members(leader)[new.id] is False
        await soon(boss.promote(new.id))
        assert members(leader)[new.id] is True
        await cluster.level()
        assert new.status().auctions == 20
        assert members(new) == members(leader)


async def test_a_removed_node_is_counted_no_more_and_its_id_never_comes_back(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as cluster, operator(cluster) as boss:
        gone = (await cluster.followers())[0]
        await soon(boss.remove(gone.id))
        leader = await cluster.leader()
        assert gone.id not in members(leader)
        await soon(boss.remove(gone.id))
        with pytest.raises(OrderRefused):
            await soon(boss.add(gone.id, gone.settings.address))


async def test_a_leader_that_removes_itself_leaves_the_others_with_a_leader(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        leader = await cluster.leader()
        await soon(boss.remove(leader.id))
        core = leader._a.core
        assert core.members.index <= core.log.commit
        await until(lambda: leader.status().role != "leader")
        other = await cluster.leader(leader)
        assert leader.id not in members(other)
        await soon(opened(ada, "k"))


async def test_a_lost_node_is_replaced(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as cluster,
        operator(cluster) as boss,
        clients(cluster, "ada") as ada,
    ):
        await soon(opened(ada, "k"))
        lost = (await cluster.followers())[0]
        await cluster.stop(lost.settings.address)
        new = await joiner(cluster)
        await soon(boss.replace(lost.id, new.id, new.settings.address))
        leader = await cluster.leader()
        assert members(leader)[new.id] is True
        assert lost.id not in members(leader)
        assert len(members(leader)) == 3
        await soon(boss.replace(lost.id, new.id, new.settings.address))
        await cluster.level()
        assert new.status().auctions == 1


async def test_the_leadership_is_transferred(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, operator(cluster) as boss:
        follower = (await cluster.followers())[0]
        await soon(boss.transfer(follower.id))
        assert (await cluster.leader()) is follower
        await soon(boss.transfer(follower.id))
        with pytest.raises(OrderRefused):
            await soon(boss.transfer(12345))


async def test_anybody_tells_its_status(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, operator(cluster) as boss:
        leader = await cluster.leader()
        found: list[Mapping[str, Any]] = await soon(
            asyncio.gather(*(boss.status_of(address) for address in cluster.addresses))
        )
        assert {one["leader"] for one in found} <= {str(leader.id), None}
        assert sum(one["role"] == "leader" for one in found) == 1
        assert {len(one["members"]) for one in found} == {3}
