"""The whole state as bytes, the same bytes on every replica: what a snapshot holds and what is
hashed. A checksum is the business of who stores it.

After `FORMAT` (1 byte) come version, clock and index (8 bytes each), then sessions with their
answers, bidders, and tasks with their rosters, bids, award and last round. Whatever there can be
several of, or one or none, is a count (4 bytes) and its records, in the order of their keys.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from consensus.ledger.answers import pack_answer, unpack_answer
from consensus.ledger.encoding import Layout, Malformed
from consensus.ledger.state import Award, Bid, Bidder, ClosedRound, Session, State, Task
from contracts.errors import MusterError

T = TypeVar("T")

FORMAT = 1
"""Of these bytes. Another one is another release's, which has to be installed to read it."""

_HEAD = struct.Struct(">BQQQ")
_COUNT = struct.Struct(">I")
_NUMBER = struct.Struct(">Q")
_STORED = struct.Struct(">QH")
_SESSION = Layout(Session, "answers")
_BIDDER = Layout(Bidder)
_TASK = Layout(Task, "roster", "bids", "award", "closed")
_BID = Layout(Bid)
_AWARD = Layout(Award)
_CLOSED = Layout(ClosedRound, "bids")


class BadSnapshot(MusterError):
    """The bytes are no state that this node can read. It must not go on without it."""


def pack_state(state: State) -> bytes:
    """The state as bytes."""
    out = [_HEAD.pack(FORMAT, state.version, state.clock, state.applied)]
    sessions = [state.sessions[id_] for id_ in sorted(state.sessions)]
    bidders = [bidder for role in state.bidders.values() for bidder in role.values()]
    bidders.sort(key=lambda bidder: (bidder.role, bidder.session))
    _put(out, sessions, _put_session)
    _put(out, bidders, lambda out, bidder: out.append(_BIDDER.pack(bidder)))
    _put(out, [state.tasks[key] for key in sorted(state.tasks)], _put_task)
    return b"".join(out)


def unpack_state(data: bytes) -> State:
    """The state in `data`; whatever the bytes are, nothing but `BadSnapshot` is raised."""
    try:
        return _Reader(data).state()
    except (Malformed, ValueError, struct.error, IndexError) as error:
        raise BadSnapshot(
            "the snapshot of the ledger cannot be read",
            details=str(error),
            actions=("install the release that wrote it", "or replace this node under a new id"),
        ) from error


def _put(
    out: list[bytes], items: Iterable[T] | None, put: Callable[[list[bytes], T], object]
) -> None:
    found = list(items or ())
    out.append(_COUNT.pack(len(found)))
    for item in found:
        put(out, item)


def _put_session(out: list[bytes], session: Session) -> None:
    out.append(_SESSION.pack(session))
    out.append(_COUNT.pack(len(session.answers)))
    for seq in sorted(session.answers):
        answer = pack_answer(session.answers[seq])
        out += (_STORED.pack(seq, len(answer)), answer)


def _put_task(out: list[bytes], task: Task) -> None:
    out.append(_TASK.pack(task))
    _put(out, task.roster, lambda out, session: out.append(_NUMBER.pack(session)))
    _put(out, [task.bids[session] for session in sorted(task.bids)], _put_bid)
    _put(out, [task.award] if task.award else (), lambda out, a: out.append(_AWARD.pack(a)))
    _put(out, [task.closed] if task.closed else (), _put_closed)


def _put_closed(out: list[bytes], closed: ClosedRound) -> None:
    out.append(_CLOSED.pack(closed))
    _put(out, closed.bids, _put_bid)


def _put_bid(out: list[bytes], bid: Bid) -> None:
    out.append(_BID.pack(bid))


class _Reader:
    """Reads in the order in which it was written, and keeps where it is."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def state(self) -> State:
        format_, version, clock, applied = self._fixed(_HEAD)
        if format_ != FORMAT:
            raise Malformed(f"it is of format {format_}, and this release reads {FORMAT}")
        state = State(version, clock, applied)
        state.sessions = {session.id: session for session in self._several(self._session)}
        for bidder in self._several(lambda: self._record(_BIDDER)):
            state.bidders.setdefault(bidder.role, {})[bidder.session] = bidder
        state.tasks = {task.key: task for task in self._several(self._task)}
        if self._at != len(self._data):
            raise Malformed(f"{len(self._data) - self._at} bytes behind its end")
        if any(b not in state.sessions for role in state.bidders.values() for b in role):
            raise Malformed("a bidder has no session")
        return state

    def _fixed(self, form: struct.Struct) -> tuple[Any, ...]:
        found = form.unpack_from(self._data, self._at)
        self._at += form.size
        return found

    def _record(self, layout: Layout[T]) -> T:
        found, self._at = layout.unpack(self._data, self._at)
        return found

    def _several(self, read: Callable[[], T]) -> list[T]:
        return [read() for _ in range(self._fixed(_COUNT)[0])]

    def _session(self) -> Session:
        session = self._record(_SESSION)
        for _ in range(self._fixed(_COUNT)[0]):
            seq, size = self._fixed(_STORED)
            session.answers[seq] = unpack_answer(self._data[self._at : self._at + size])
            self._at += size
        return session

    def _task(self) -> Task:
        task = self._record(_TASK)
        task.roster = tuple(self._several(lambda: int(self._fixed(_NUMBER)[0])))
        task.bids = {bid.session: bid for bid in self._several(lambda: self._record(_BID))}
        award = self._several(lambda: self._record(_AWARD))
        closed = self._several(self._closed)
        task.award = award[0] if award else None
        task.closed = closed[0] if closed else None
        return task

    def _closed(self) -> ClosedRound:
        closed = self._record(_CLOSED)
        bids = self._several(lambda: self._record(_BID))
        return ClosedRound(closed.round, closed.at, closed.asked, closed.token, tuple(bids))
