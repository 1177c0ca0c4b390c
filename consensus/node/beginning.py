"""Records that new nodes begin with: see `consensus.storage.record`."""

import random
from collections.abc import Sequence

from consensus.raft.types import LIMIT, Configuration, Index, Member, NodeId
from consensus.storage.record import Bootstrap
from consensus.storage.store import ClusterId


def new_cluster(
    addresses: Sequence[str], *, now_ms: Index, rng: random.Random
) -> tuple[Bootstrap, ...]:
    """One record for each node of a new cluster, in the order of their addresses. `now_ms`, the
    time in milliseconds since 1970, becomes the first index: tokens are above those of any cluster
    that was made before. `rng` must be one of the system's, such as `random.SystemRandom`."""
    if not addresses or len(set(addresses)) < len(addresses):
        raise ValueError("a cluster needs an address for each node, each once")
    ids = _ids(len(addresses), rng)
    members = sorted(zip(ids, addresses, strict=True))
    configuration = Configuration(tuple(Member(node, address) for node, address in members))
    cluster = rng.randrange(1, LIMIT)
    return tuple(Bootstrap(cluster, node, configuration, now_ms) for node in ids)


def new_node(cluster: ClusterId, *, rng: random.Random) -> Bootstrap:
    """The record of a node that is to join a cluster; its id is random and new."""
    return Bootstrap(cluster, rng.randrange(1, LIMIT))


def _ids(count: int, rng: random.Random) -> list[NodeId]:
    found: dict[NodeId, None] = {}
    while len(found) < count:
        found[rng.randrange(1, LIMIT)] = None
    return list(found)
