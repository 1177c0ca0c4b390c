"""The files a process leaves that ended without a word, and what was durable after which step."""

import random
from dataclasses import dataclass
from pathlib import Path

from consensus.raft.types import HardState
from consensus.storage import database
from consensus.storage.errors import Refused
from consensus.storage.highwater import _encode
from consensus.storage.opening import open_store
from consensus.storage.store import Limits
from tests.consensus.storage.readies import (
    NODE,
    Drawn,
    Model,
    begin,
    commands,
    draw,
    image,
    ready,
    state_in,
)

_NO_CHECKPOINT = Limits(floor=0, ballast=0, margin=0, checkpoint=1 << 40)


@dataclass(frozen=True)
class Crash:
    """A folder as it was left, and the state after each transaction that was acknowledged."""

    folder: Path
    after: dict[int, tuple[object, ...]]
    folded: int

    @property
    def last(self) -> int:
        return max(self.after)


def crash(top: Path, *, seed: int, writes: int, fold: int | None = None) -> Crash:
    """The first `fold` transactions (half of them) are in the database, the others in the
    write-ahead log only. The last is a vote, and the log is not short then."""
    rng, model = random.Random(seed), Model()
    store = open_store(begin(top / "live"), incarnation=1, limits=_NO_CHECKPOINT)
    store.saw(NODE + 1, 7, 70)
    after, folded = {store.seq: model.state()}, store.seq
    for one in range(1, writes + 1):
        drawn = draw(model, rng)
        if one > writes - 2:
            term = model.hard.term + 1
            more = commands(model.last + 1, 50, term, size=300)
            drawn = Drawn(ready(*more, hard=HardState(term, NODE + one)))
        model.apply(drawn.ready)
        after[drawn.write(store)] = model.state()
        if one == (writes // 2 if fold is None else fold):
            database.checkpoint(store._sql)
            folded = store.seq
    left = image(top / "live", top / "left")
    store.close()
    return Crash(left, after, folded)


def outcome(folder: Path) -> tuple[int, tuple[object, ...]] | Refused:
    """What a start finds: the number of the last transaction and the state; or a refusal. A store
    that opens must also be whole when it is read again, and go on."""
    try:
        store = open_store(folder, incarnation=9, limits=_NO_CHECKPOINT)
    except Refused as refused:
        return refused
    try:
        seq, state = store.seq - 1, state_in(store)
        model = Model(store.boot.hard, store.snapshot, list(store.boot.entries), set())
        draw(model, random.Random(seq)).write(store)
        store.verify()
    finally:
        store.close()
    return seq, state


def water(seq: int, node: int = NODE) -> bytes:
    """The bytes of a high-water file."""
    return _encode(node, seq)
