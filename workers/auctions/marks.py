"""Under which key a copy of a task is auctioned, and how copies are numbered. Pure.

A task's copies have ever higher numbers, and a broker takes two with one number for the same.
While a task is auctioned its watch copies count up on their own, and whoever wins publishes what
follows without knowing how far they are. So numbers come in blocks: what is auctioned stays in the
block that it came in, a retry or a snooze begins the next one, and the dead letter is the last of
its block, so that a replay begins the next one too. A run has the number of the round that it was
won in, counted from the start of the block: of two runs of one auction the later one is higher,
as with any other task, though neither is ever published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

from contracts.envelope import Envelope

AUCTION = "muster-auction"
"""Header of a copy that belongs to an auction: the copy it was written for, `open` or `watch`, and
the key. It says nothing on any other copy, such as a replay of a dead letter that still has it, nor
on a first one."""

UNAUCTIONED = "muster-unauctioned"
"""Header of a task that runs without an auction from then on, since the ledger was away."""

BLOCK = 1 << 16
"""Numbers of one block: watch copies for 18 hours even at one a second, and 32,767 blocks fit where
history keeps a copy's number."""

MAX_KEY = 200
"""Characters of a key; the ledger takes 256."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The auction that a copy belongs to. `opened`: `open` was surely answered, so the copy is only
    there to watch; otherwise it may have been sent."""

    key: str
    opened: bool


def mark_of(task: Envelope) -> Mark | None:
    """What the header of this very copy says."""
    copy, _, rest = task.extra.get(AUCTION, "").partition(";")
    state, _, key = rest.partition(";")
    if not (key and task.copy and copy == str(task.copy) and state in {"open", "watch"}):
        return None
    return Mark(key, state == "watch")


def key_of(task: Envelope, role: str) -> str:
    """The key of an auction that this copy begins: two roles may listen to one topic."""
    key = f"{role}.{task.id}.{task.copy}"
    if len(key) <= MAX_KEY:
        return key
    return f"{role}.{sha256(task.id.encode()).hexdigest()}.{task.copy}"


def marked(task: Envelope, mark: Mark) -> Envelope:
    """`task` as it is before its next copy is made, which will belong to the auction."""
    state = "watch" if mark.opened else "open"
    return replace(task, extra={**task.extra, AUCTION: f"{task.copy + 1};{state};{mark.key}"})


def unmarked(task: Envelope) -> Envelope:
    """`task` without what belongs to one auction of it."""
    if AUCTION not in task.extra and task.fence is None:
        return task
    extra = {name: value for name, value in task.extra.items() if name != AUCTION}
    return replace(task, extra=extra, fence=None)


def unauctioned(task: Envelope) -> bool:
    """Whether this task runs without an auction."""
    return UNAUCTIONED in task.extra


def without_auction(task: Envelope) -> Envelope:
    """`task` that is never auctioned again."""
    return replace(task, extra={**task.extra, UNAUCTIONED: "1"})


def is_untouched(headers: Mapping[str, str], copy: int, earlier: int) -> bool:
    """Whether nobody can have opened an auction for it: a first copy in its first hands."""
    return not copy and not earlier and AUCTION not in headers


def run_copy(copy: int, round_: int) -> int:
    """The copy of a run that was won in this round of the auction of `copy`."""
    return copy // BLOCK * BLOCK + min(round_, BLOCK - 1)


def next_block(copy: int) -> int:
    """The copy with which what follows an auction of `copy` begins."""
    return (copy // BLOCK + 1) * BLOCK
