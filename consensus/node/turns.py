"""One turn of a node: what came goes into the core, what the core wants is done.

Everything but the writing happens on the event loop, in one piece, without waiting: nothing comes
between a check of the core and what follows from it.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from consensus.node.chunks import Chunks
from consensus.node.compacting import Around, Compacting
from consensus.node.proposals import Proposals
from consensus.node.reads import Reads
from consensus.raft.messages import Append, Message, SnapChunk
from consensus.raft.ready import Ready
from consensus.raft.types import Entry
from consensus.storage.planning import changes_nothing
from consensus.wire.messages import Parcel

BATCH = 256 << 10
"""Bytes of entries that are applied in one turn: messages must not wait for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outward:
    """Where what follows from a turn goes. `send` carries a parcel; `stood` looks at where the core
    stands after each turn; `applied` is called when something was."""

    send: Callable[[Parcel], None]
    stood: Callable[[], None]
    applied: Callable[[], None]


class Turns:
    """Moves one core on. After an error nothing moves any more: the node must end."""

    def __init__(
        self,
        around: Around,
        outward: Outward,
        parts: tuple[Chunks, Compacting, Proposals, Reads],
    ) -> None:
        self.over = False
        self._a = around
        self._out = outward
        self._chunks, self._compacting, self._proposals, self._reads = parts
        self._loop = asyncio.get_running_loop()
        self._handed: deque[Entry] = deque()
        self._due = False
        self._writing = False
        self._began = 0.0
        self._room = True

    def wake(self) -> None:
        """Let there be a turn soon: everything that comes until then takes part in it."""
        if not self._due and not self.over:
            self._due = True
            self._loop.call_soon(self.turn)

    def report_space(self, *, enough: bool, room: bool) -> None:
        """Whether the disk has room for new entries; and `room` for those of a leader, too."""
        self._room = room
        self._a.core.report_space(free=enough)

    def received(self, parcel: Parcel) -> None:
        """A message of a peer that is believed."""
        message = parcel.message
        if self.over:
            return
        if isinstance(message, SnapChunk):
            self._chunks.take(message, parcel.data)
        elif isinstance(message, Append) and message.entries and not self._room:
            self._a.counters.appends_refused += 1
        else:
            self._a.core.step(message)
        self.wake()

    def turn(self) -> None:
        """One turn; also called when something became durable."""
        self._due = False
        if self.over:
            return
        try:
            self._send(self._a.core.take_messages())
            self._save()
            self._restore()
            more = self._apply()
            self._reads.answer(self._a.machine.applied)
            self._out.stood()
            self._send(self._a.core.take_messages())
        except Exception as error:  # noqa: BLE001 - a core that failed is not to be used any more
            self._a.halt(error)
            return
        if more:
            self.wake()

    def _send(self, messages: list[Message]) -> None:
        seq = self._a.store.seq
        for message in messages:
            data: bytes | None = b""
            if isinstance(message, SnapChunk):
                data = self._chunks.bytes_of(message)
            if data is not None:
                self._out.send(Parcel(message, seq, data))

    def _save(self) -> None:
        core = self._a.core
        while not self._writing and (ready := core.ready()) is not None:
            if changes_nothing(ready):
                self._send(core.advance(ready.seq))
                continue
            self._writing = True
            self._began = self._a.clock.monotonic()
            self._a.writer.do(partial(self._a.store.write, ready), partial(self._written, ready))

    def _written(self, ready: Ready, _seq: int) -> None:
        if self.over:
            return
        counters = self._a.counters
        took = int((self._a.clock.monotonic() - self._began) * 1000)
        counters.writes += 1
        counters.slowest_write_ms = max(counters.slowest_write_ms, took)
        self._writing = False
        try:
            self._send(self._a.core.advance(ready.seq))
        except Exception as error:  # noqa: BLE001 - as in `turn`
            self._a.halt(error)
            return
        if ready.snapshot is not None:
            self._compacting.installed()
        self.turn()

    def _restore(self) -> None:
        """Put a snapshot in place that is durable and further than what was applied."""
        a, meta = self._a, self._a.core.log.snapshot
        durable = a.core.log.handed >= meta.index
        if meta.index <= a.machine.applied or not durable or self._compacting.packing:
            return
        data = a.store.read_snapshot(meta, 0, meta.size)
        a.machine.restore(meta.index, data)
        a.counters.restored += bool(data)
        self._handed.clear()
        self._proposals.passed(meta.index)

    def _apply(self) -> bool:
        """Apply what may be; whether there may be more."""
        a = self._a
        if not self._handed and not self._compacting.packing:
            self._handed.extend(a.core.committed(BATCH))
        found = bool(self._handed)
        while self._handed and not self._compacting.packing:
            entry = self._handed.popleft()
            answer = a.machine.apply(entry)
            a.counters.applied += 1
            self._proposals.applied(entry.index, entry.term, answer)
            self._compacting.applied(entry)
        if found:
            self._out.applied()
        return found and not self._compacting.packing
