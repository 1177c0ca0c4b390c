"""A cluster of three: it elects, opens sessions, auctions tasks and tells who won."""

from pathlib import Path

from contracts.auctions import Opening, Phase, Won
from tests.consensus.node.cluster import HASH, clients, opened, running, soon


async def test_three_nodes_auction_a_task_from_open_to_complete(tmp_path: Path) -> None:
    async with running(tmp_path) as cluster, clients(cluster, "ada", "bob") as (ada, bob):
        await soon(bob.join("maker", slots=1))
        heard = bob.subscribe()
        await soon(opened(ada, "k1"))
        opening = await soon(anext(heard))
        assert isinstance(opening, Opening)
        assert opening.key == "k1"
        await soon(bob.bid("k1", opening.round, score=5, cost=1, parts=b"why"))
        won = await soon(anext(heard))
        assert isinstance(won, Won)
        await soon(bob.renew("k1", won.token))
        await soon(bob.complete("k1", won.token, HASH))
        auction = await soon(ada.read("k1"))
        assert auction.phase is Phase.COMPLETED
        assert [bid.parts for bid in auction.last_round.bids] == [b"why"]
        assert (await soon(ada.ended("k1"))).phase is Phase.COMPLETED
        assert cluster.halted == {}
