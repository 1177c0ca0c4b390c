"""Opens a node on its folder."""

import random

from consensus.node.node import Node
from consensus.node.settings import NodeSettings
from consensus.raft.types import LIMIT
from consensus.storage.opening import open_store
from contracts.clock import Clock, SystemClock


def open_node(
    settings: NodeSettings, *, clock: Clock | None = None, rng: random.Random | None = None
) -> Node:
    """The node whose folder this is: one that ran before, or one that its bootstrap record lets
    begin. Needs a running event loop, and blocks it while everything is read.

    Raises `consensus.storage.errors.Refused`, whose class says why the folder is not used, and
    `Stopped` where its first transaction fails.
    """
    drawn = rng or random.SystemRandom()
    store = open_store(
        settings.folder, incarnation=drawn.randrange(1, LIMIT), limits=settings.storage
    )
    return Node(settings, store, clock or SystemClock(), drawn)
