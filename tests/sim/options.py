"""What a seed decides: the size of the cluster, how it is tuned, and what may go wrong with it."""

import random
from dataclasses import dataclass, fields

from tests.sim.clockwork import MS

FAULTS = (
    "loss", "duplicate", "delay", "one-way cut", "partition", "client cut", "crash one",
    "crash most", "crash all", "slow disk", "hanging disk", "full disk", "failing disk", "bit flip",
    "old folder", "copied folder", "skew", "clock jump", "freeze", "lost chunk", "membership",
    "replacement", "transfer", "client crash", "older release", "bus away", "store away", "drain",
)  # fmt: skip
"""Every kind of fault, and of change that an operator makes while others go wrong."""

TICK = 25 * MS
ELECTION_TICKS = 10
HEARTBEAT_TICKS = 2
ELECTION = 2 * ELECTION_TICKS * TICK
"""The longest election timeout, in microseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """All that was drawn from a seed but the moments at which things happen. Times in µs.

    `ruin`: more may be lost for ever than a cluster recovers from; then it need only be safe.
    `hello`: nodes look at who speaks; else late packets of earlier lives are believed, and no
    folder goes back. `fallback`: tasks may run without an award while the ledger is away. `spots`:
    a leader proposes no command again that waits there already.
    """

    seed: int
    nodes: int
    faults: tuple[str, ...]
    every: int
    chaos: int
    ruin: bool
    hello: bool
    first_index: int
    loss: float
    doubles: float
    delay: int
    spikes: float
    write: int
    lazy: float
    chunk_bytes: int
    max_append_bytes: int
    max_inflight: int
    max_uncommitted_bytes: int
    compact_after: int
    apply_bytes: int
    skews: tuple[int, ...]
    clients: int
    keys: int
    window_ms: int
    lease_ms: int
    workers: int
    tasks: int
    fallback: bool
    spots: bool

    def __str__(self) -> str:
        return " ".join(f"{f.name}={_shown(getattr(self, f.name))}" for f in fields(self))


def _shown(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def draw(seed: int, nodes: int) -> Options:
    """The options of a seed."""
    rng = random.Random(f"options {seed} {nodes}")
    faults = tuple(kind for kind in FAULTS if rng.random() < 0.55)
    skewed = "skew" in faults
    return Options(
        seed=seed,
        nodes=nodes,
        faults=faults,
        every=rng.choice([150, 300, 600]) * MS,
        chaos=rng.choice([7, 8, 9]) * 1000 * MS,
        ruin=rng.random() < 0.1,
        hello=rng.random() < 0.7,
        first_index=rng.choice([0, 1_760_000_000_000]),
        loss=rng.choice([0.02, 0.1, 0.25]) if "loss" in faults else 0.0,
        doubles=rng.choice([0.02, 0.1, 0.25]) if "duplicate" in faults else 0.0,
        delay=rng.choice([200, 1000, 4000]),
        spikes=rng.choice([0.01, 0.05]) if "delay" in faults else 0.0,
        write=rng.choice([300, 1000, 5000]),
        lazy=rng.choice([0.0, 0.2]),
        chunk_bytes=rng.choice([100, 1000, 100_000]),
        max_append_bytes=rng.choice([100, 1000, 100_000]),
        max_inflight=rng.choice([1, 4, 64]),
        max_uncommitted_bytes=rng.choice([3_000, 10_000]),
        compact_after=rng.choice([15, 40, 120]),
        apply_bytes=rng.choice([100, 100_000]),
        skews=tuple(rng.choice([900, 1000, 1100]) if skewed else 1000 for _ in range(nodes)),
        clients=rng.choice([2, 4]),
        keys=rng.choice([2, 5]),
        window_ms=rng.choice([60, 150, 400]),
        lease_ms=rng.choice([300, 900]),
        workers=rng.choice([2, 3]),
        tasks=rng.choice([3, 6, 9]),
        fallback=rng.random() < 0.5,
        spots=rng.random() < 0.7,
    )
