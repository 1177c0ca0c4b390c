"""Whether what clients saw of one auction could have happened one after the other.

The search of Wing and Gong (1993, "Testing and Verifying Concurrent Objects") with the memory of
Lowe (2017, "Testing for linearizability"): an operation takes effect at one moment between its call
and its answer; one without an answer at any moment after its call, or never. The auction between
two operations may go on by itself, forwards only: rounds and awards come, and never come back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from consensus.ledger.answers import Finished, Opened, Refused, Renewed, Reopened, Taken
from consensus.ledger.commands import Adopt, Cancel, Complete, Open, Release
from contracts.auctions import Auction, Phase

NOTHING = 0
"""The phase of an auction that does not exist."""


@dataclass(eq=False, slots=True)
class Operation:
    """What a client said of a key (`command`; None: it read), and what it heard. `end` is None as
    long as there is no answer."""

    key: str
    command: Any
    begin: int
    end: int | None = None
    answer: Any = None


@dataclass
class History:
    """All operations of a run, by key. Times come from one counter: order is all that counts."""

    operations: dict[str, list[Operation]] = field(default_factory=dict)
    moment: int = 0

    def begin(self, key: str, command: Any) -> Operation:
        """A client asks."""
        self.moment += 1
        made = Operation(key, command, self.moment)
        self.operations.setdefault(key, []).append(made)
        return made

    def end(self, operation: Operation, answer: Any) -> None:
        """It has its answer."""
        self.moment += 1
        operation.end, operation.answer = self.moment, answer


@dataclass(frozen=True, slots=True)
class Place:
    """Where an auction is: `round` is the lowest it can be, `token` that of its last award, or
    where that is not `exact` the lowest it can be."""

    phase: int = NOTHING
    round: int = 0
    token: int = 0
    exact: bool = True


def reach(
    at: Place, phase: int, *, round_: int | None = None, token: int | None = None
) -> Place | None:
    """Where an auction at `at` is that has come to `phase` by itself; None if it cannot have."""
    if at.phase == NOTHING or at.phase >= Phase.COMPLETED:
        return at if at.phase == phase and _may_be(at, token) else None
    if phase not in {Phase.OPEN, Phase.AWARDED, Phase.EXPIRED}:
        return None
    low, awarded = at.round, at.phase == Phase.AWARDED
    if phase == Phase.AWARDED:
        if awarded and _may_be(at, token) and (round_ is None or round_ >= low):
            exact = token is not None or (at.exact and round_ in {None, low})
            return Place(phase, round_ or low, token or at.token, exact)
        if token is not None and token <= at.token:
            return None
    low += awarded and phase != Phase.EXPIRED
    if round_ is not None and round_ < low:
        return None
    exact = token is not None or (at.exact and phase == Phase.OPEN and not awarded)
    return Place(phase, low if round_ is None else round_, token or at.token, exact)


def _may_be(at: Place, token: int | None) -> bool:
    """Whether the last award may have this token."""
    return token is None or token == at.token or (not at.exact and token > at.token)


def outcomes(at: Place, op: Operation) -> Iterator[Place]:
    """Where the auction may be after `op`, as far as its answer tells; nothing if it cannot be."""
    if op.end is None:
        yield from _unknown(at, op.command)
        return
    found = _read(at, op.answer) if op.command is None else _done(at, op.command, op.answer)
    if found is not None:
        yield found


def _read(at: Place, auction: Auction | None) -> Place | None:
    if auction is None:
        return at if at.phase == NOTHING else None
    token = auction.award.token if auction.award else None
    return reach(at, auction.phase, round_=auction.round, token=token)


def _done(at: Place, command: Any, answer: Any) -> Place | None:
    match answer:
        case Opened():
            return Place(Phase.OPEN, 1, 0) if at.phase == NOTHING else at
        case Taken(round=round_):
            return reach(at, Phase.OPEN, round_=round_)
        case Renewed():
            return reach(at, Phase.AWARDED, token=command.token)
        case Reopened(round=round_):
            held = reach(at, Phase.AWARDED, token=command.token)
            return held and reach(held, Phase.OPEN, round_=round_)
        case Finished(phase=phase, token=token):
            return _finished(at, phase, token)
        case Refused(phase=phase, round=round_) if phase:
            return reach(at, phase, round_=round_)
        case Refused():
            return at
    raise AssertionError(f"not an answer about an auction: {answer}")


def _finished(at: Place, phase: Phase, token: int) -> Place | None:
    if at.phase >= Phase.COMPLETED:
        return reach(at, phase, token=token if phase is Phase.COMPLETED else None)
    if phase is Phase.COMPLETED:
        held = reach(at, Phase.AWARDED, token=token)
        return held and Place(phase, held.round, token)
    return None if at.phase == NOTHING else Place(phase, at.round, at.token)


def _unknown(at: Place, command: Any) -> Iterator[Place]:
    """What a command without an answer may have done; that it did nothing is tried elsewhere."""
    match command:
        case Open() if at.phase == NOTHING:
            yield Place(Phase.OPEN, 1, 0)
        case Complete(token=token) | Adopt(token=token):
            held = reach(at, Phase.AWARDED, token=token)
            if held is not None:
                yield Place(Phase.COMPLETED, held.round, token)
        case Release(token=token):
            held = reach(at, Phase.AWARDED, token=token)
            if held is not None:
                yield Place(Phase.OPEN, held.round + 1, token)
        case Cancel() if NOTHING < at.phase < Phase.COMPLETED:
            yield Place(Phase.CANCELLED, at.round, at.token)


_CHANGES = (Open, Complete, Adopt, Release, Cancel)
"""What can have done something although there was no answer."""


def linearizable(operations: Iterable[Operation]) -> bool:
    """Whether the operations on one key could have happened one after the other."""
    told = [op for op in operations if op.end is not None or isinstance(op.command, _CHANGES)]
    ops = sorted(told, key=lambda op: op.begin)
    answered = sum(1 << i for i, op in enumerate(ops) if op.end is not None)
    seen = {(0, Place())}
    todo = [(0, Place())]
    while todo:
        done, at = todo.pop()
        if done & answered == answered:
            return True
        for then in _next(ops, done, at):
            if then not in seen:
                seen.add(then)
                todo.append(then)
    return False


def _next(ops: list[Operation], done: int, at: Place) -> list[tuple[int, Place]]:
    """Where one more operation may lead. One that changes nothing is taken at once and alone:
    wherever else it could take effect, it could as well do so here."""
    found = []
    for i in _may_be_next(ops, done):
        for place in outcomes(at, ops[i]):
            if place == at and ops[i].end is not None:
                return [(done | 1 << i, at)]
            found.append((done | 1 << i, place))
    return found


def _may_be_next(ops: list[Operation], done: int) -> Iterator[int]:
    """Those that began before the first answer among all that are left."""
    first = None
    for i, op in enumerate(ops):
        if done >> i & 1:
            continue
        if first is not None and op.begin > first:
            return
        if op.end is not None and (first is None or op.end < first):
            first = op.end
        yield i
