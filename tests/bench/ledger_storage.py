"""How many transactions a second the storage of a ledger's node makes durable.

`python -m tests.bench.ledger_storage [FOLDER]`, on the disk of that folder, some ten seconds. A
bare `fdatasync` of 8 KiB in place, transactions of one entry and of 64 take turns, so that each
sees the same disk. A line has the median of the rounds, the slowest and the fastest.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from consensus.raft.ready import Ready
from consensus.raft.types import Configuration, Entry, HardState, Kind, Member
from consensus.storage.opening import open_store
from consensus.storage.record import Bootstrap, write_record
from consensus.storage.sqlite import SqliteStore

ROUNDS = 7
SECONDS = 0.5
DATA = bytes(200)


def main(top: Path) -> None:
    """Measure, and print a line for each."""
    with tempfile.TemporaryDirectory(dir=top) as name:
        folder = Path(name)
        members = Configuration((Member(1, "a:1"), Member(2, "b:1"), Member(3, "c:1")))
        write_record(folder, Bootstrap(1, 1, members, 1))
        store = open_store(folder, incarnation=1)
        store.write(Ready(1, HardState(1, 1), None, (), None, ()))
        bare = os.open(folder / "bare", os.O_CREAT | os.O_RDWR)
        os.pwrite(bare, bytes(1 << 20), 0)
        kinds: dict[str, Callable[[], None]] = {
            "fdatasync of 8 KiB": lambda: _bare(bare),
            "transactions of 1 entry": lambda: _write(store, 1),
            "transactions of 64 entries": lambda: _write(store, 64),
        }
        rates: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, step in kinds.items():
                rates[kind].append(_rate(step))
        for kind, found in rates.items():
            low, middle, high = min(found), statistics.median(found), max(found)
            print(f"{kind:28} {middle:8,.0f}/s  ({low:,.0f} to {high:,.0f})")
        store.close()
        os.close(bare)


def _rate(step: Callable[[], None]) -> float:
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < SECONDS:
        step()
        count += 1
    return count / passed


def _bare(file: int) -> None:
    os.pwrite(file, bytes(8192), 65536)
    os.fdatasync(file)


def _write(store: SqliteStore, count: int) -> None:
    first = store._meta.last.index + 1
    entries = [Entry(index, 1, Kind.COMMAND, DATA) for index in range(first, first + count)]
    store.write(Ready(1, None, None, entries, None, ()))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.gettempdir()))
