"""The network between nodes, and between them and their clients."""

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from consensus.raft.types import NodeId
from tests.sim.clockwork import MS, Clockwork
from tests.sim.options import Options

SPIKE = 300 * MS
"""Most late packets are late by up to this; one of eight by up to ten times as much, which is
several elections."""


class Links:
    """Carries packets: late, in any order, twice, or not at all. Clients have negative names."""

    def __init__(self, clockwork: Clockwork, rng: random.Random, options: Options) -> None:
        self._clockwork = clockwork
        self._rng = rng
        self.loss = options.loss
        self.doubles = options.doubles
        self.spikes = options.spikes
        self.delay = options.delay
        self.lose_chunks = 0.0
        self.cuts: Counter[tuple[NodeId, NodeId]] = Counter()
        self.seen: Counter[str] = Counter()

    def send(self, sender: NodeId, to: NodeId, act: Callable[..., None], *args: Any) -> None:
        """Let `act` happen at the other end."""
        random_ = self._rng.random
        if self.cuts and self.cuts[sender, to] > 0:
            return
        if self.loss and random_() < self.loss:
            self.seen["loss"] += 1
            return
        self._clockwork.after(self._latency(), act, *args)
        if self.doubles and random_() < self.doubles:
            self.seen["duplicate"] += 1
            self._clockwork.after(self._latency(), act, *args)

    def send_chunk(self, sender: NodeId, to: NodeId, act: Callable[..., None], *args: Any) -> None:
        """The same for a part of a snapshot, some of which are lost more often."""
        if self.lose_chunks and self._rng.random() < self.lose_chunks:
            self.seen["lost chunk"] += 1
            return
        self.send(sender, to, act, *args)

    def _latency(self) -> int:
        rng = self._rng
        late = int(rng.expovariate(1.0) * self.delay) + 50
        if self.spikes and rng.random() < self.spikes:
            self.seen["delay"] += 1
            late += rng.randrange(SPIKE if rng.random() < 0.875 else 10 * SPIKE)
        return late

    def cut(self, pairs: list[tuple[NodeId, NodeId]]) -> None:
        """Lose all that the first of a pair sends to the second, until `mend`."""
        self.cuts.update(pairs)

    def mend(self, pairs: list[tuple[NodeId, NodeId]]) -> None:
        """The opposite of `cut`."""
        self.cuts.subtract(pairs)

    def calm(self, loss: float) -> None:
        """Nothing is cut any more, and little is lost."""
        self.cuts.clear()
        self.loss, self.spikes, self.lose_chunks = loss, 0.0, 0.0
