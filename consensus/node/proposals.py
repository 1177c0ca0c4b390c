"""What was proposed and is not applied yet, and who waits for it."""

import asyncio
from dataclasses import dataclass

from consensus.ledger.answers import Answer
from consensus.raft.types import Index, Term
from contracts.errors import MusterError


class Superseded(MusterError):
    """Another leader's entry stands at the place of what was proposed: it was never done."""

    retryable = True


class Unknown(MusterError):
    """Leadership was lost, or a snapshot passed the place of what was proposed: it may be done."""

    retryable = True


@dataclass(slots=True)
class _Waiting:
    term: Term
    future: "asyncio.Future[Answer | None]"
    patient: bool


class Proposals:
    """Futures by the index of their entries. A future gets the answer of the entry of its index
    and term; `Superseded` where an entry of another term is applied there; `Unknown` where a
    snapshot passes it, and when leadership is lost unless it is `patient`: a client asks the next
    leader the same again, which is quicker than to wait for what became of it here."""

    def __init__(self) -> None:
        self._waiting: dict[Index, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(
        self, index: Index, term: Term, *, patient: bool = False
    ) -> "asyncio.Future[Answer | None]":
        """Wait for the entry that was appended there."""
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        if (other := self._waiting.get(index)) is not None:
            _refuse(other, Superseded("another entry was proposed at the same place"))
        self._waiting[index] = _Waiting(term, future, patient)
        return future

    def applied(self, index: Index, term: Term, answer: Answer | None) -> None:
        """The entry of this index and term was applied."""
        one = self._waiting.pop(index, None)
        if one is None or one.future.done():
            return
        if one.term == term:
            one.future.set_result(answer)
        else:
            one.future.set_exception(Superseded("the entry of another leader stands in its place"))

    def passed(self, index: Index) -> None:
        """The state machine went on from a snapshot at `index`."""
        for place in [place for place in self._waiting if place <= index]:
            _refuse(self._waiting.pop(place), Unknown("a snapshot passed it"))

    def lost(self) -> None:
        """This node leads no more."""
        for place in [place for place, one in self._waiting.items() if not one.patient]:
            _refuse(self._waiting.pop(place), Unknown("leadership was lost"))

    def end(self) -> None:
        """Nothing is applied any more."""
        for one in self._waiting.values():
            _refuse(one, Unknown("the node is closing"))
        self._waiting.clear()


def _refuse(one: _Waiting, error: MusterError) -> None:
    if not one.future.done():
        one.future.set_exception(error)
