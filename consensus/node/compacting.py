"""When a node makes snapshots of its state, and when the log before them goes."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from consensus.node.counting import Counters
from consensus.node.machine import Machine, Packed
from consensus.node.settings import NodeSettings
from consensus.node.writer import Writer
from consensus.raft.core import Raft
from consensus.raft.errors import NoSpace
from consensus.raft.types import Entry, NodeId, Role, SnapshotMeta
from consensus.storage.store import Store
from contracts.clock import Clock

_log = logging.getLogger(__name__)
_LAG = 20
"""A follower keeps the log until it is this part of a period further: it may lead soon, and those
that are a little behind should need entries only."""
_SILENT = 4
"""Election timeouts after which nobody waits for a member that says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """What a part of a node works with."""

    core: Raft
    store: Store
    writer: Writer
    machine: Machine
    settings: NodeSettings
    counters: Counters
    clock: Clock
    wake: Callable[[], None]
    halt: Callable[[BaseException], None]


class Compacting:
    """Packs the state on a thread of its own, while nothing is applied here: entries still come,
    are saved and answered, so that a leader with a large state stays one. `made` is called with
    each snapshot whose index is the same on all nodes."""

    def __init__(self, around: Around, made: Callable[[Packed], None]) -> None:
        self.packing = False
        self._a = around
        self._made = made
        self._packer = ThreadPoolExecutor(1, "ledger-packer")
        self._bytes = 0
        self._heard: dict[NodeId, float] = {}
        self._saved: tuple[SnapshotMeta, float] | None = None
        self._packing: asyncio.Task[None] | None = None
        self._saving: asyncio.Task[bool] | None = None

    def applied(self, entry: Entry) -> None:
        """An entry was applied; nothing more may be while `packing`."""
        settings = self._a.settings
        self._bytes += len(entry.data)
        if entry.index % settings.snapshot_every == 0 or self._bytes >= settings.snapshot_bytes:
            self.begin()

    def begin(self) -> None:
        """Make a snapshot of the state as it is now, unless one is being made."""
        a = self._a
        index = a.machine.applied
        term = a.core.log.term_at(index)
        if self.packing or term is None or index <= a.core.log.snapshot.index:
            return
        self.packing, self._bytes = True, 0
        meta = SnapshotMeta(index, term, a.core.configuration_at(index))
        self._packing = asyncio.get_running_loop().create_task(self._pack(meta))

    def tick(self) -> None:
        """Let the log go that a saved snapshot stands for, where nobody needs it any more."""
        self._listen()
        if self._saved is not None and self._may_go(*self._saved):
            self.compact()

    def compact(self) -> None:
        """Let it go now."""
        if self._saved is not None:
            meta, self._saved = self._saved[0], None
            self._a.core.compact(meta)
            self._a.wake()

    def installed(self) -> None:
        """Another snapshot is of record: older ones go, but those that are being sent."""
        a = self._a
        keep = [peer.snapshot.index for peer in a.core.progress.values() if peer.snapshot]
        a.writer.do(partial(a.store.drop_snapshots, keep), lambda _: None)

    async def make_room(self) -> None:
        """Compact on a disk that is full: let the ballast go, make a snapshot, let the log go and
        give what that took to the system. Raises `NoSpace` where the snapshot has no room."""
        a = self._a
        await a.writer.call(a.store.let_ballast_go)
        self.begin()
        if self._packing is not None:
            await self._packing
        if self._saving is not None and not await self._saving:
            raise NoSpace
        self.compact()
        while a.store.snapshot.index < a.core.log.snapshot.index:
            await a.clock.sleep(a.settings.tick_ms / 1000)
        await a.writer.call(a.store.shrink)

    async def close(self) -> None:
        """Make none any more."""
        tasks = [task for task in (self._packing, self._saving) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._packer.shutdown(wait=True)

    def _listen(self) -> None:
        """Note which members answer: the core forgets that at each check of its quorum."""
        now, heard = self._a.clock.monotonic(), self._heard
        self._heard = {
            peer.id: now if peer.active else heard.get(peer.id, now)
            for peer in self._a.core.progress.values()
        }

    def _may_go(self, meta: SnapshotMeta, saved: float) -> bool:
        a = self._a
        if a.clock.monotonic() - saved >= a.settings.patience_s:
            return True
        if a.core.role is Role.LEADER:
            since = a.clock.monotonic() - _SILENT * a.settings.election_s
            peers = a.core.progress.values()
            return all(p.match >= meta.index for p in peers if self._heard[p.id] > since)
        return a.core.log.commit >= meta.index + a.settings.snapshot_every // _LAG

    async def _pack(self, meta: SnapshotMeta) -> None:
        a = self._a
        try:
            loop = asyncio.get_running_loop()
            packed = await loop.run_in_executor(self._packer, a.machine.pack)
        except Exception as error:  # noqa: BLE001 - a state that cannot be packed is broken
            a.halt(error)
            return
        finally:
            self.packing = False
        a.counters.snapshots += 1
        if meta.index % a.settings.snapshot_every == 0:
            a.machine.note(packed)
            self._made(packed)
        whole = SnapshotMeta(
            meta.index, meta.term, meta.configuration, len(packed.data), packed.crc
        )
        self._saving = asyncio.get_running_loop().create_task(self._save(whole, packed.data))
        a.wake()

    async def _save(self, meta: SnapshotMeta, data: bytes) -> bool:
        """Whether there was room."""
        a = self._a
        try:
            await a.writer.call(partial(a.store.save_snapshot, meta, data))
        except NoSpace:
            _log.warning("a snapshot of %d bytes has no room on the disk", meta.size)
            return False
        if meta.index > a.core.log.snapshot.index:
            self._saved = (meta, a.clock.monotonic())
        return True
