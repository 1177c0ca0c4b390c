"""The bytes of snapshots between nodes: the core's chunks carry none."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from consensus.node.counting import Counters
from consensus.node.writer import Writer
from consensus.raft.core import Raft
from consensus.raft.errors import NoSpace
from consensus.raft.messages import SnapChunk
from consensus.storage.store import Store

_log = logging.getLogger(__name__)


class Chunks:
    """Reads what is sent, and stages what comes, one chunk at a time."""

    def __init__(
        self, core: Raft, store: Store, writer: Writer, counters: Counters, wake: Callable[[], None]
    ) -> None:
        self._core = core
        self._store = store
        self._writer = writer
        self._counters = counters
        self._wake = wake
        self._staging: asyncio.Task[None] | None = None

    def bytes_of(self, m: SnapChunk) -> bytes | None:
        """What belongs to a chunk that is to be sent; None where the snapshot is gone, which the
        core knows then."""
        try:
            data = self._store.read_snapshot(m.meta, m.offset, m.length)
        except LookupError:
            data = b""
        if len(data) != m.length:
            self._core.report_unreachable(m.to)
            return None
        self._counters.chunks_sent += 1
        return data

    def take(self, m: SnapChunk, data: bytes) -> None:
        """Stage the bytes of a chunk, then hand it to the core.

        What the core answers without its bytes is not staged: a chunk of an older term, and of a
        snapshot that is in the log already. Nothing is staged while the core waits for a snapshot
        to become durable, for that may be the staging itself. What is not taken comes again.
        """
        core = self._core
        if m.term < core.term or m.meta.index <= core.log.commit:
            core.step(m)
            return
        unsaved = core.log.snapshot.index > self._store.snapshot.index
        if self._staging is None and not unsaved:
            self._staging = asyncio.get_running_loop().create_task(self._stage(m, data))

    async def close(self) -> None:
        """Stage nothing more."""
        if self._staging is not None:
            self._staging.cancel()
            await asyncio.wait([self._staging])

    async def _stage(self, m: SnapChunk, data: bytes) -> None:
        try:
            staged = await self._writer.call(partial(self._store.stage, m.meta, m.offset, data))
        except NoSpace:
            _log.warning("a snapshot of %d bytes has no room on the disk", m.meta.size)
        else:
            self._counters.chunks_staged += 1
            self._core.step(replace(m, staged=staged.length, staged_crc=staged.crc))
            self._wake()
        finally:
            self._staging = None
