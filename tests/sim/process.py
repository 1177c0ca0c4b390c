"""The process of a node on its machine: its lives, its clock, what is planned for it."""

import random
from collections.abc import Callable
from enum import IntEnum
from typing import Any

from consensus.ledger.entries import UnknownCommand
from consensus.raft.ready import Ready
from consensus.raft.types import (
    BootState,
    Entry,
    Index,
    Lost,
    NodeId,
    RaftConfig,
    SnapshotMeta,
)
from tests.sim.disk import Disk
from tests.sim.greeting import GREETS
from tests.sim.options import TICK
from tests.sim.surroundings import Surroundings

NEWEST = 2
"""The version of the commands that the newest release knows; the one before it knows 1."""


class Room(IntEnum):
    """What is left on a disk."""

    NONE = 0
    """The next entries that are written end the process, in every life."""
    LITTLE = 1
    """It is told to the core."""
    ENOUGH = 2


class Process:
    """A process on a machine. `handle` is the only way in: nothing happens to a node that is down,
    and to one that is frozen it happens when it thaws."""

    def __init__(self, world: Surroundings, node: NodeId, boot: BootState, disk: Disk) -> None:
        self.world = world
        self.id = node
        options = world.options
        self.cfg = RaftConfig(
            id=node,
            chunk_bytes=options.chunk_bytes,
            max_append_bytes=options.max_append_bytes,
            max_inflight=options.max_inflight,
            max_uncommitted_bytes=options.max_uncommitted_bytes,
        )
        self.rng = random.Random(f"{options.seed} node {node}")
        self.skew = options.skews[node % len(options.skews)]
        self.disk = disk
        self.first = boot.snapshot.index
        self.life = 0
        self.down = True
        self.refused = False
        self.slow = 1
        self.hangs_until = 0
        self.fails = False
        self.room = Room.ENOUGH
        self.trusted = disk
        self.release = self.newest_run = world.release()
        self.doubted_by: frozenset[NodeId] | None = None
        self.jump_ms = 0
        self.start()

    def start(self) -> None:
        """Begin a life with what the disk has, unless that is refused."""
        if not self.down or self.refused:
            return
        boot = self.disk.open()
        if boot is None:
            self.refused = True
            return
        world = self.world
        self.life += 1
        self.down = self.frozen = self.missed_tick = False
        self.ticks = 0
        self.raft = world.core(self.cfg, boot, self.rng)
        self.ledger = world.ledger()
        self.ledger.newest = self.release
        self.releases: dict[NodeId, int] = {}
        self.flight: Ready | None = None
        self.entries: list[Entry] = []
        self.answers: list[tuple[int, Index | Lost]] = []
        self.read_answers = 0
        self.lazy = False
        self.incarnation = self.world.rng.getrandbits(62)
        self.greeter = self.world.greeter(self.disk.peers)
        self._late: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self._staging: tuple[SnapshotMeta | None, bytes] = (None, b"")
        self._compacting = False
        try:
            self._restore(boot.snapshot)
        except UnknownCommand:
            self.stopped()
            return
        self.begin()
        self._plan_tick()

    def stopped(self) -> None:
        """It met what its release does not know: it is down until somebody upgrades it."""
        self.down = True
        self.world.happened("stopped by its release")
        self.world.clockwork.after(self.rng.randrange(1_000_000), self.run_release, NEWEST)

    def run_release(self, release: int) -> None:
        """Start with this release; `older` ones can follow fewer commands."""
        self.crash()
        self.release = release
        self.newest_run = max(release, self.newest_run)
        self.start()

    def begin(self) -> None:
        """A new life of whatever is built upon the core."""

    def _restore(self, meta: SnapshotMeta) -> None:
        self.applied: Index = meta.index
        if meta.size:
            self.ledger.restore(self.disk.files[meta.index])
            self.world.restored(self)

    def crash(self) -> None:
        """The process ends. What was being written is durable, or it is not."""
        if self.down:
            return
        self.down = True
        self.life += 1
        if self.flight is not None and self.rng.random() < 0.5:
            self._keep_staged(self.flight)
            self.disk.commit(self.flight)

    def handle(self, life: int, act: Callable[..., None], *args: Any) -> None:
        """Let something happen to this life of the process."""
        if self.down or life != self.life:
            return
        if self.frozen:
            self._late.append((act, args))
            return
        try:
            act(*args)
            if self.rng.random() >= self.world.options.lazy:
                self.pump()
            elif not self.lazy:
                self.lazy = True
                self.plan(self.rng.randrange(3000), self._wake)
        except UnknownCommand:
            self.crash()
            self.stopped()
        if self.doubted_by is None:
            self.world.touched(self)

    @property
    def lost(self) -> bool:
        """Whether nobody may ever believe it again."""
        return self.refused or self.doubted_by is not None

    def plan(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Let something happen to this life later."""
        self.world.clockwork.after(delay, self.handle, self.life, act, *args)

    def _wake(self) -> None:
        self.lazy = False
        self.pump()

    def freeze(self) -> None:
        """Stop the process; the network and the disk go on."""
        self.frozen = True

    def thaw(self) -> None:
        """Go on: all that came meanwhile, and at most one tick."""
        if self.down or not self.frozen:
            return
        self.frozen = False
        late, self._late = self._late, []
        if self.missed_tick:
            self.missed_tick = False
            self.handle(self.life, self.tick)
        for act, args in late:
            self.handle(self.life, act, *args)

    def _plan_tick(self) -> None:
        delay = TICK * 1000 // self.skew
        self.world.clockwork.after(delay, self._on_tick, self.life)

    def _on_tick(self, life: int) -> None:
        if self.down or life != self.life:
            return
        self._plan_tick()
        if self.frozen:
            self.missed_tick = True
        else:
            self.handle(life, self.tick)

    def local_ms(self) -> int:
        """What the clock of this machine says."""
        return self.world.clockwork.now * self.skew // 1_000_000 + self.jump_ms

    def tick(self) -> None:
        """A tick of the clock."""
        self.ticks += 1
        self.raft.report_space(free=self.room is Room.ENOUGH)
        self.raft.tick()
        if self.ticks % GREETS == 0:
            self.greet()

    def pump(self) -> None:
        """Send, save and apply all that can be."""

    def greet(self) -> None:
        """Say that it is there."""

    def _keep_staged(self, ready: Ready) -> None:
        """The bytes of a snapshot are durable before the transaction that names it."""
