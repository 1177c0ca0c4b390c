"""What must hold of a ledger, judged from its answers alone: not from the state that it keeps."""

from dataclasses import dataclass, field

from consensus.ledger.answers import (
    Answer,
    Awarded,
    Finished,
    Opened,
    Refused,
    Reopened,
    SessionOpened,
)
from consensus.ledger.commands import (
    Adopt,
    Close,
    Complete,
    Expire,
    InSession,
    Join,
    Open,
    Release,
)
from consensus.ledger.entries import Entry
from contracts.auctions import Phase, Refusal

_NOT_DONE = (Refusal.STALE, Refusal.UNKNOWN_SESSION, Refusal.WINDOW_FULL)


class Broken(AssertionError):
    """An invariant that does not hold; the text begins with its name."""


@dataclass
class Watch:
    """Hears every entry that was applied, with its answer, and raises `Broken`."""

    roles: dict[str, str] = field(default_factory=dict)
    slots: dict[tuple[int, str], int] = field(default_factory=dict)
    live: dict[str, tuple[int, int]] = field(default_factory=dict)
    completed: dict[str, int] = field(default_factory=dict)
    answered: dict[tuple[int, int], Answer] = field(default_factory=dict)
    token: int = 0
    awards: int = 0
    completions: int = 0

    def saw(self, index: int, entry: Entry, answer: Answer) -> None:
        command = entry.command
        if self._is_repetition(entry, answer):
            return
        if isinstance(command, Open) and isinstance(answer, Opened) and answer.index == index:
            self.roles[command.key] = command.role
            self.completed.pop(command.key, None)
        if isinstance(command, Join):
            self.slots[entry.session, command.role] = command.slots
        if isinstance(answer, Awarded) and isinstance(command, Close):
            self._awarded(index, command.key, answer)
        elif isinstance(command, Expire | Release) and isinstance(answer, Reopened):
            self._given_up(entry, command)
        elif isinstance(answer, Finished):
            self._ended(entry, answer)
        elif isinstance(answer, SessionOpened):
            self.slots = {seat: n for seat, n in self.slots.items() if seat[0] != index}

    def _is_repetition(self, entry: Entry, answer: Answer) -> bool:
        if not isinstance(entry.command, InSession):
            return False
        if isinstance(answer, Refused) and answer.why in _NOT_DONE:
            return True
        first = self.answered.get((entry.session, entry.seq))
        self.answered[entry.session, entry.seq] = answer
        if first is not None and first != answer:
            raise Broken(f"done once: {entry} was answered {first}, and now {answer}")
        return first is not None

    def _awarded(self, index: int, key: str, answer: Awarded) -> None:
        if key in self.live:
            raise Broken(f"one live award: {key} has {self.live[key]}, and gets {answer.token}")
        if answer.token <= self.token or answer.token != index:
            raise Broken(f"tokens rise: {answer.token} at {index} after {self.token}")
        if key in self.completed:
            raise Broken(f"completed once: {key} is awarded again")
        role = self.roles[key]
        used = sum(
            1 for k, (_, s) in self.live.items() if (s, self.roles[k]) == (answer.session, role)
        )
        if used >= self.slots.get((answer.session, role), 0):
            raise Broken(f"slots: {answer.worker} has {used} of {role} and gets {key}")
        self.token, self.live[key] = answer.token, (answer.token, answer.session)
        self.awards += 1

    def _given_up(self, entry: Entry, command: Expire | Release) -> None:
        live = self.live.pop(command.key, None)
        if live is None or live[0] != command.token:
            raise Broken(f"fencing: token {command.token} took back {live}")
        if isinstance(command, Release) and live[1] != entry.session:
            raise Broken(f"fencing: session {entry.session} gave back {live}")

    def _ended(self, entry: Entry, answer: Finished) -> None:
        command = entry.command
        key = getattr(command, "key", "")
        if answer.phase is not Phase.COMPLETED:
            self.live.pop(key, None)
            return
        if not isinstance(command, Complete | Adopt):
            return
        live = self.live.pop(key, None)
        if key in self.completed:
            return
        if live is None or live[0] != answer.token or command.token != answer.token:
            raise Broken(f"fencing: {key} was completed under {answer.token}, live was {live}")
        if isinstance(command, Complete) and live[1] != entry.session:
            raise Broken(f"fencing: session {entry.session} completed for {live}")
        self.completed[key] = answer.token
        self.completions += 1
