"""The model: what was accepted, where it may be, and what is wrong with what happens.

It hears of each call at the moment the broker has done it and complains of what may not happen;
what must happen is for the machine to ask: `overdue`, `lag`, `letters`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Lag, Lane, Message
from bus.settling import from_message
from contracts.errors import DecodeError
from contracts.outcomes import Cancelled, Done, Outcome, Reason, Reject, Retry, Snooze
from tests.bus.machine.entries import ROUTES, WINDOW, Asked, Entry, Letter, State


@dataclass(frozen=True, slots=True)
class End:
    """What somebody wants a settle to come to: an outcome at a time, or a hand-back (None)."""

    outcome: Outcome | None
    at: float


class Model:
    """Everything accepted for every group, by the rules of the contract."""

    def __init__(self) -> None:
        self.bound: dict[str, frozenset[str]] = {}
        self.asked: dict[str, Asked] = {}
        self.entries: dict[tuple[str, str], Entry] = {}
        self.complaints: list[str] = []
        self.answers: dict[Delivery, bool] = {}
        self.asking: dict[tuple[str, str], Letter] = {}
        self.sent: dict[str, list[str]] = {}
        self.stops: dict[str, float] = {}
        self._seen: dict[str, float] = {}
        self._ends: dict[Delivery, End | None] = {}

    def complain(self, text: str) -> None:
        """Note what may not happen."""
        self.complaints.append(text)

    def is_stopped(self, entry: Entry) -> bool:
        """Whether somebody cancelled it, and nobody gave it back since."""
        return not entry.asked.poison and self.stops.get(entry.asked.id, -1.0) >= entry.replayed

    def targets(self, asked: Asked) -> list[str]:
        """The groups it is for, as they are bound now."""
        if asked.group is not None:
            return [asked.group] if asked.group in self.bound else []
        return [g for g, patterns in self.bound.items() if _matches(patterns, asked.topic)]

    def known(self, id_: str, now: float) -> bool:
        """Whether this id was accepted within the window."""
        return id_ in self._seen and now - self._seen[id_] < WINDOW

    def of(self, group: str) -> list[Entry]:
        """Everything there ever was of a group."""
        return [entry for entry in self.entries.values() if entry.group == group]

    def live(self) -> list[Entry]:
        """What has yet to end."""
        return [entry for entry in self.entries.values() if entry.live]

    def published(self, now: float, messages: Sequence[Message]) -> None:
        """The broker accepted these."""
        for message in messages:
            key = (message.group or "", message.id)
            if key in self.asking:
                self._replayed(now, self.entries[key], self.asking[key])
                continue
            asked = self.asked[message.id]
            targets = self.targets(asked)
            if not targets:
                self.complain(f"{asked.id} was accepted and nobody is bound to {asked.topic}")
            if not self.known(asked.id, now):
                self._seen[asked.id], self.sent[asked.id] = now, targets
                for group in targets:
                    self.entries[group, asked.id] = Entry(asked, group, asked.due, now)

    def unroutable(self, messages: Sequence[Message]) -> None:
        """The broker refused these."""
        if all(m.group in self.bound if m.group else self._routed(m) for m in messages):
            self.complain(f"refused though somebody is bound: {[m.id for m in messages]}")

    def handed(self, now: float, found: Sequence[Delivery], lanes: Sequence[Lane]) -> None:
        """The broker handed these to one holder."""
        for delivery in found:
            m = delivery.message
            entry = self.entries.get((delivery.group, m.id))
            if entry is None:
                self.complain(f"{m.id} was handed to {delivery.group}, for which it never was")
                continue
            wrong = _why_not(entry, delivery, now, lanes)
            if wrong:
                self.complain(f"{m.key()} was handed to {delivery.group}: {wrong}")

    def took(
        self,
        until: float,
        found: Sequence[Delivery],
        end: End | None,
        hears_of_stops: Callable[[Delivery], bool],
    ) -> None:
        """Since then these are held; what nobody answered before is to end like `end`, or as
        cancelled where the holder can know that it is. One whose view of stops is not fresh counts
        the crash: the copy it leaves does not start."""
        for delivery in found:
            entry = self.entries.get((delivery.group, delivery.message.id))
            if entry is None:
                continue
            if entry.state is State.HELD:
                entry.unanswered += 1
            if delivery.earlier != entry.unanswered:
                self.complain(f"{delivery.message.key()}: earlier is {delivery.earlier}")
            entry.state, entry.holder, entry.until = State.HELD, delivery, until
            if end is not None and delivery.earlier and not entry.asked.poison:
                stopped = self.is_stopped(entry) and hears_of_stops(delivery)
                crash = Cancelled() if stopped else Retry(0.0, last=Reason.CRASH)
                self._ends[delivery] = replace(end, outcome=crash)

    def intend(self, delivery: Delivery, outcome: Outcome | None, at: float) -> None:
        """What the next settle of this delivery shall come to."""
        self._ends[delivery] = End(outcome, at)

    def settled(self, now: float, of: Sequence[Delivery], lost: Iterable[Delivery]) -> None:
        """The broker forgot these but for those that were lost."""
        gone = set(lost)
        for delivery in of:
            entry = self.entries.get((delivery.group, delivery.message.id))
            if entry is None:
                continue
            ours = delivery.group in self.bound and entry.is_with(delivery, now)
            self.answers[delivery] = ours
            if ours == (delivery in gone):
                self.complain(f"a settle of {delivery.message.key()} was told {not ours}")
            end = self._ends.get(delivery)
            if ours and end is not None:
                self._apply(entry, end, now)

    def extended(
        self, now: float, until: float, of: Sequence[Delivery], lost: set[Delivery]
    ) -> None:
        """The broker renewed these but for those that were lost."""
        for delivery in of:
            entry = self.entries.get((delivery.group, delivery.message.id))
            if entry is None:
                continue
            ours = entry.is_with(delivery, now)
            if ours == (delivery in lost):
                self.complain(f"an extend of {delivery.message.key()} was told {not ours}")
            self.answers[delivery] = ours
            if ours:
                entry.until = until

    def dropped(self, group: str) -> None:
        """The group was unbound."""
        del self.bound[group]
        for entry in self.of(group):
            if entry.live:
                entry.ends()

    def overdue(self, group: str, lanes: Sequence[Lane], now: float, since: float) -> list[str]:
        """What who waited `since` then in these lanes should have got more than a second ago."""
        return [
            f"{entry.asked.id} of {group} since {entry.from_}"
            for entry in self.of(group)
            if entry.live and entry.lane in lanes and max(entry.from_, since) + 1.0 < now
        ]

    def lag(self, group: str, now: float) -> dict[Lane, Lag]:
        """What lies in each lane of a group."""
        found = {}
        for lane in (HIGH, RETRY, NORMAL, LOW):
            here = [e for e in self.of(group) if e.live and e.lane == lane]
            leased = sum(e.state is State.HELD and now < e.until for e in here)
            delayed = sum(e.state is State.WAITING and now < e.due for e in here)
            found[lane] = Lag(len(here) - leased - delayed, delayed, leased)
        return found

    def letters(self) -> Mapping[tuple[str, str], Letter]:
        """Every dead letter there must be."""
        return {k: e.letter for k, e in self.entries.items() if e.letter is not None}

    def _routed(self, message: Message) -> bool:
        return bool(self.targets(self.asked[message.id]))

    def _replayed(self, now: float, entry: Entry, letter: Letter) -> None:
        entry.suspect = entry.suspect or letter.reason is Reason.CRASH
        entry.attempt, entry.begun, entry.replays = 0, None, letter.replays
        entry.replayed = now
        entry.copy = letter.copy - 1
        entry.again(now)

    def _apply(self, entry: Entry, end: End, now: float) -> None:
        match end.outcome:
            case None:
                entry.again(now)
            case Done() | Cancelled():
                entry.ends()
            case Snooze(after=after):
                entry.again(now, due=end.at + after if after else 0.0)
            case Retry(last=Reason.CRASH):
                self._crashed(entry, now)
            case Retry(after=after) if not entry.is_last():
                entry.again(now, due=end.at + after if after else 0.0, used=1)
            case Retry():
                entry.dies(Reason.EXHAUSTED, entry.attempt + 1)
            case Reject(kind=kind):
                entry.dies(kind, 0 if entry.asked.poison else entry.attempt + 1)

    def _crashed(self, entry: Entry, now: float) -> None:
        """One attempt is used up, however often it was handed over; a last one, if it began."""
        entry.suspect = True
        if not entry.is_last():
            entry.again(now, used=1)
        elif entry.begun == entry.copy:
            entry.dies(Reason.CRASH, entry.attempt + 1)
        else:
            entry.again(now)


def _matches(patterns: Iterable[str], topic: str) -> bool:
    return any(topic in ROUTES[pattern] for pattern in patterns)


def _why_not(entry: Entry, delivery: Delivery, now: float, lanes: Sequence[Lane]) -> str:
    """Why this may not be handed out now; nothing if it may."""
    return next(_reasons(entry, delivery, now, lanes), "")


def _reasons(entry: Entry, delivery: Delivery, now: float, lanes: Sequence[Lane]) -> Iterator[str]:
    m, asked = delivery.message, entry.asked
    if not entry.live:
        yield f"it is {entry.state}"
    if entry.state is State.HELD and now < entry.until:
        yield f"it is held until {entry.until}, now is {now}"
    if m.copy != entry.copy:
        yield f"copy {entry.copy} is the one that lives"
    if now < entry.due:
        yield f"it is due at {entry.due}, now is {now}"
    if entry.lane not in lanes:
        yield f"it lies in {entry.lane}"
    if (m.topic, m.body) != (asked.topic, asked.body):
        yield "its topic or body has changed"
    if asked.poison:
        return
    try:
        task = from_message(m)
    except DecodeError as error:
        yield str(error)
        return
    told = (task.id, task.topic, task.body, task.priority, task.copy, task.attempt, task.suspect)
    must = (asked.id, asked.topic, asked.body, asked.priority)
    if told != (*must, entry.copy, entry.attempt, entry.suspect):
        yield f"it says {told[4:]}, not {(entry.copy, entry.attempt, entry.suspect)}"
