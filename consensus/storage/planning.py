"""What a transaction does to the tables: a pure function of where the store stands and a Ready.

Here stands what never goes back. A core that asks for it is wrong, and its node must stop.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from consensus.raft.ready import Ready
from consensus.raft.types import Configuration, Entry, HardState, Index, Kind, NodeId
from consensus.storage.meta import Mark, Meta, chain
from contracts.quick import quick


class Breach(Exception):
    """The core asks for what must never be; says for what."""


@quick
@dataclass(frozen=True, slots=True)
class Plan:
    """Delete what is at or below `delete_to` and at or above `delete_from`, add `rows`, then
    replace the meta row by `meta`."""

    delete_to: Index | None
    delete_from: Index | None
    rows: list[tuple[int, int, int, bytes, int]]
    meta: Meta


def plan(meta: Meta, ready: Ready, mark_at: Callable[[Index], Mark]) -> Plan:
    """The transaction of a Ready, on a store that stands at `meta`.

    `mark_at` tells the mark of an entry in the log, or of the snapshot; it raises `Breach` where
    there is none.
    """
    after = meta
    if ready.snapshot is not None:
        after = _snapshot(after, ready, mark_at)
    cut = ready.truncate_from
    if cut is not None and cut <= after.last.index:
        after = _truncated(after, cut, mark_at)
    hard = _hard(meta.hard, ready.hard)
    rows, last = _added(ready.entries, after.last)
    if last.term > hard.term:
        raise Breach(f"entry {last.index} is of term {last.term}, above the own term {hard.term}")
    return Plan(
        None if ready.snapshot is None else ready.snapshot.index,
        cut if cut is not None and cut <= meta.last.index else None,
        rows,
        Meta(meta.identity, meta.seq + 1, hard, last, after.snapshot, after.anchor),
    )


def changes_nothing(ready: Ready) -> bool:
    """Whether there is nothing in it but messages."""
    saves = ready.entries or ready.hard is not None or ready.snapshot is not None
    return not saves and ready.truncate_from is None


def used_by(ready: Ready) -> Iterator[NodeId]:
    """Every id that a configuration in it names."""
    if ready.snapshot is not None:
        for member in ready.snapshot.configuration.members:
            yield member.id
    for entry in ready.entries:
        if entry.kind is Kind.CONFIGURATION:
            for member in Configuration.decode(entry.data).members:
                yield member.id


def _snapshot(meta: Meta, ready: Ready, mark_at: Callable[[Index], Mark]) -> Meta:
    snapshot, cut = ready.snapshot, ready.truncate_from
    if snapshot is None or snapshot.index < meta.snapshot.index:
        raise Breach("a snapshot of less than the one of record")
    if cut is not None and cut <= snapshot.index + 1:
        last, anchor = Mark(snapshot.index, snapshot.term, 0), 0
    else:
        at = mark_at(snapshot.index)
        if at.term != snapshot.term:
            raise Breach(f"the entry at the snapshot is of term {at.term}, not {snapshot.term}")
        last, anchor = meta.last, at.chain
    return Meta(meta.identity, meta.seq, meta.hard, last, snapshot, anchor)


def _truncated(meta: Meta, cut: Index, mark_at: Callable[[Index], Mark]) -> Meta:
    last = mark_at(cut - 1)
    return Meta(meta.identity, meta.seq, meta.hard, last, meta.snapshot, meta.anchor)


def _hard(old: HardState, new: HardState | None) -> HardState:
    if new is None:
        return old
    if new.term < old.term:
        raise Breach(f"the term is to go back from {old.term} to {new.term}")
    if new.term == old.term and old.vote not in {None, new.vote}:
        raise Breach(f"a second vote in term {old.term}")
    return new


def _added(
    entries: Sequence[Entry], last: Mark
) -> tuple[list[tuple[int, int, int, bytes, int]], Mark]:
    index, term, running = last.index, last.term, last.chain
    rows = []
    for entry in entries:
        if entry.index != index + 1 or entry.term < term:
            raise Breach(f"entry {entry.index} of term {entry.term} follows {index} of {term}")
        index, term, running = entry.index, entry.term, chain(entry, running)
        rows.append((index, term, int(entry.kind), entry.data, running))
    return rows, Mark(index, term, running)
