"""What leaves a node when: at once, or only after what it depends on is durable."""

from consensus.raft.log import Log
from consensus.raft.messages import Message
from consensus.raft.ready import Ready
from consensus.raft.types import HardState, Term


class Outbox:
    """Messages that wait, and the one Ready that storage works on.

    `durable`: the term and vote on disk; `stalled`: for how many ticks storage has been at work.
    """

    def __init__(self, hard: HardState) -> None:
        self.durable = hard
        self.stalled = 0
        self._asked = hard
        self._now: list[Message] = []
        self._after: list[Message] = []
        self._flight: Ready | None = None
        self._seq = 0

    def tick(self) -> None:
        """A tick passed."""
        self.stalled = 0 if self._flight is None else self.stalled + 1

    def send(self, message: Message) -> None:
        """Let it leave now."""
        self._now.append(message)

    def send_after(self, message: Message) -> None:
        """Let it leave when all that is unsaved now is durable."""
        self._after.append(message)

    def take(self) -> list[Message]:
        """Those that may leave now, each once."""
        taken, self._now = self._now, []
        return taken

    def is_clean(self, hard: HardState, log: Log) -> bool:
        """Whether all there is, is durable."""
        return self._flight is None and hard == self._asked and not log.unsaved

    def ready(self, hard: HardState, log: Log) -> Ready | None:
        """What is to be saved, if anything, and nothing else is being saved."""
        if self._flight is not None or (self.is_clean(hard, log) and not self._after):
            return None
        changed = hard if hard != self._asked else None
        snapshot, cut, entries = log.take_unsaved()
        self._seq += 1
        self._asked = hard
        self._flight = Ready(self._seq, changed, cut, entries, snapshot, tuple(self._after))
        self._after.clear()
        return self._flight

    def advance(self, seq: int, term: Term, log: Log) -> list[Message]:
        """What is in flight is durable: those that waited for it, without those of terms before
        `term`. `ValueError` if another or nothing is in flight."""
        flight = self._flight
        if flight is None or flight.seq != seq:
            raise ValueError(f"no Ready {seq} is in flight")
        self._flight, self.stalled = None, 0
        self.durable = self._asked
        log.saved()
        return [message for message in flight.after if message.term >= term]

    def release(self, term: Term) -> list[Message]:
        """Those that wait although nothing is unsaved any more."""
        waiting, self._after = self._after, []
        return [message for message in waiting if message.term >= term]
