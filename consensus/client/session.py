"""A client's session: numbers for its commands, and which of them are answered. Pure."""

from dataclasses import dataclass, field

from consensus.ledger.sessions import WINDOW


@dataclass(slots=True)
class Session:
    """A session that the ledger knows as `id`. Each command takes a number and keeps it however
    often it is sent; the ledger keeps its answer until `acked_below` says that it came."""

    id: int
    nonce: bytes
    acked_below: int = 1
    _next: int = 1
    _open: dict[int, None] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether the next number would be beyond the window."""
        return self._next >= self.acked_below + WINDOW

    def take(self) -> int:
        """The number of a new command."""
        if self.full:
            raise ValueError("the window of the session is full")
        seq, self._next = self._next, self._next + 1
        self._open[seq] = None
        return seq

    def release(self, seq: int) -> None:
        """Nobody waits for the answer any more: it came, or was given up. A command that was given
        up and comes late is stale then, and not done."""
        self._open.pop(seq, None)
        self.acked_below = min(self._open, default=self._next)
