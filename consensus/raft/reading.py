"""Reads that are not stale (ReadIndex: section 8; dissertation, section 6.4).

A read waits until the leader has committed in its term, then for a round of heartbeats begun after
it that a majority echoes: so there was no newer leader when the read was asked for. It is answered
with the commit index of the beginning of its round. Reads that come while a round is open share
the next one.
"""

from consensus.raft.types import Index, Lost, NodeId


class Reading:
    """The reads of one node; `round` counts rounds and never goes back."""

    def __init__(self) -> None:
        self.round = 0
        self._index: Index = 0
        self._waiting: list[int] = []
        self._asked: list[int] = []
        self._done: list[tuple[int, Index | Lost]] = []

    def add(self, token: int) -> None:
        """Let a read wait for a round."""
        self._waiting.append(token)

    @property
    def may_begin(self) -> bool:
        """Whether reads wait and no round is open."""
        return bool(self._waiting) and not self._asked

    @property
    def open(self) -> bool:
        """Whether a round is open."""
        return bool(self._asked)

    def begin(self, commit: Index) -> None:
        """Open a round for all that wait."""
        self.round += 1
        self._index = commit
        self._asked, self._waiting = self._waiting, []

    def end(self) -> None:
        """The open round was echoed by a majority."""
        self._done += [(token, self._index) for token in self._asked]
        self._asked = []

    def lose(self, leader: NodeId | None) -> None:
        """Leadership is lost, and with it every read that was not answered."""
        lost = Lost(leader)
        self._done += [(token, lost) for token in [*self._asked, *self._waiting]]
        self._asked, self._waiting = [], []

    def take(self) -> list[tuple[int, Index | Lost]]:
        """Those that are answered, each once."""
        taken, self._done = self._done, []
        return taken
