"""A process that writes what it draws until something ends it; it tells what is durable.

Started as `python -m tests.consensus.storage.writer FOLDER SEED WRITES [gently]`. A line for each
transaction that was acknowledged; `stopped` and the reason once the store has stopped, and what it
answers then. `gently`: the interpreter is torn down at the end, which closes the database.
"""

import os
import random
import sys
from pathlib import Path

from consensus.storage.errors import Stopped
from consensus.storage.opening import open_store
from consensus.storage.sqlite import SqliteStore
from consensus.storage.store import Limits
from tests.consensus.storage.readies import Drawn, Model, draw, ready

ARGUMENTS = 4
LIMITS = Limits(floor=0, ballast=0, margin=0, checkpoint=100_000)


def drawn(model: Model, seed: int, seq: int) -> Drawn:
    """What comes after transaction `seq`, in every process the same."""
    return draw(model, random.Random(f"{seed} {seq}"))


def follow(model: Model, seed: int, seq: int, until: int) -> None:
    """Let the model be what a store is after `until`, which was at `seq`."""
    for one in range(seq, until):
        model.apply(drawn(model, seed, one).ready)


def main(folder: Path, seed: int, writes: int, *, gently: bool) -> None:
    """Write until the end; a store that stops ends the process without another call of SQLite."""
    try:
        store = open_store(folder, incarnation=os.getpid(), limits=LIMITS)
    except Stopped as stopped:
        _tell(f"stopped {stopped.details}")
        os._exit(3)
    _tell(f"open {store.seq}")
    boot = store.boot
    model = Model(boot.hard, boot.snapshot, list(boot.entries), set())
    try:
        for _ in range(writes):
            step = drawn(model, seed, store.seq)
            _tell(str(step.write(store)))
            model.apply(step.ready)
            store.drop_snapshots(())
    except Stopped as stopped:
        _tell(f"stopped {stopped.details}")
        _tell(f"then {_answers(store)}")
    if not gently:
        os._exit(0)


def _answers(store: SqliteStore) -> str:
    try:
        store.write(ready())
    except Stopped:
        return "refused"
    return "accepted"


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), gently=len(sys.argv) > ARGUMENTS)
