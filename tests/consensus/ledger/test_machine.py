"""Anything in any order: the ledger answers what a simple model answers, and keeps its promises."""

import hashlib
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from consensus.ledger.answers import Answer
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Close,
    Command,
    Complete,
    Dismiss,
    Expire,
    ExpireSessions,
    InSession,
    Join,
    KeepAlive,
    Leave,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    Release,
    Renew,
    Tick,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry, encode
from consensus.ledger.ledger import Ledger
from tests.consensus.ledger.model import Model
from tests.consensus.ledger.watch import Watch
from tests.forms import form

KEYS = st.sampled_from(["a", "a", "b", "b", "c"])
ROLES = st.sampled_from(["review", "review", "review", "write"])
NUMBERS = st.integers(0, 30)
RESULTS = st.sampled_from([b"r" * 32, b"r" * 32, b"s" * 32])


def _nonce(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()[:16]


def walk(
    make: Callable[[], Ledger], seed: int, *, steps: int, compare: bool = True
) -> Counter[str]:
    """Let `steps` things happen to a ledger so made, the same for the same seed; what it answered
    how often. Without `compare` only its promises are judged."""
    rng = random.Random(seed)
    machine = type("Machine", (Machine,), {"make": staticmethod(make), "compares": compare})()
    machine.begin([rng.randrange(3) for _ in range(rng.randint(2, 11))])
    for _ in range(steps):
        step = rng.choice(_STEPS)
        step(machine, rng)
    return Counter(machine.seen)


class Machine(RuleBasedStateMachine):
    make: Callable[[], Ledger] = staticmethod(Ledger)
    compares = True

    def __init__(self) -> None:
        super().__init__()
        self.ledger = self.make()
        self.model = Model(self.ledger)
        self.watch = Watch()
        self.seen = Counter[str]()
        self.number = Counter[str]()
        self.index = 0
        self.now = 1_000
        self.sessions: list[int] = []
        self.seqs: dict[int, int] = {}
        self.sent: list[Entry] = []
        self.tokens: dict[str, list[int]] = {}

    @initialize(slots=st.lists(st.integers(0, 2), min_size=2, max_size=11))
    def begin(self, slots: list[int]) -> None:
        for number, count in enumerate(slots):
            self.open_session(number)
            self.say(number, Join("review", (), count + (number < 2)))

    @rule(number=st.integers(0, 14))
    def open_session(self, number: int) -> None:
        self._apply(Entry(self.now, OpenSession(_nonce(number), f"w{number % 7}")))
        session = self.ledger.views.session_of(_nonce(number)) or 0
        if session not in self.seqs:
            self.seqs[session] = 0
            self.sessions.append(session)

    @rule(who=NUMBERS, role=ROLES, slots=st.integers(0, 3))
    def join(self, who: int, role: str, slots: int) -> None:
        self.say(who, Join(role, (), slots))

    @rule(who=NUMBERS, role=ROLES, gone=st.integers(0, 3))
    def leave(self, who: int, role: str, gone: int) -> None:
        if gone == 0:
            self.say(who, Leave(role))
        self.say(who, KeepAlive())

    @rule(who=NUMBERS, key=KEYS, role=ROLES, most=st.integers(1, 2), other=st.integers(0, 9))
    def open(self, who: int, key: str, role: str, most: int, other: int) -> None:
        task = self.ledger.state.tasks.get(self._current(key))
        if task and task.phase.ended and other % 3:
            self.number[key] += 1
        key = self._current(key)
        spec = hashlib.sha256(b"other" if other == 0 else b"spec").digest()
        self.say(who, Open(key, role, 100 * (1 + len(key) % 2), 500, most, spec))

    @rule(who=NUMBERS, key=KEYS, late=st.integers(0, 5), score=st.integers(-1, 1), cost=NUMBERS)
    def bid(self, who: int, key: str, late: int, score: int, cost: int) -> None:
        key = self._current(key)
        bid = PlaceBid(key, self._round(key, late), Signed(score), cost % 2, b"")
        self.say(self._asked(key, who), bid)

    @rule(key=KEYS, passing=NUMBERS)
    def everybody_answers(self, key: str, passing: int) -> None:
        key = self._current(key)
        task = self.ledger.state.tasks.get(key)
        for session in task.roster if task else ():
            who = self._place(session)
            if session % 7 < passing % 8:
                self.say(who, PlaceBid(key, self._round(key, 1), Signed(0), 0, b""))
            else:
                self.say(who, Pass(key, self._round(key, 1), b"no"))

    @rule(key=KEYS, passing=NUMBERS)
    def somebody_wins(self, key: str, passing: int) -> None:
        self.open(passing, key, "review", 2, 1)
        self.everybody_answers(key, passing)
        self.the_leader_does_what_is_due()

    @rule(key=KEYS, passing=NUMBERS)
    def an_award_lapses(self, key: str, passing: int) -> None:
        self.somebody_wins(key, passing)
        self.now += 500
        self.expire(key, 0)

    @rule(passing=NUMBERS)
    def several_are_decided_at_once(self, passing: int) -> None:
        for key in ("a", "b", "c"):
            self.open(passing, key, "review", 2, 1)
        for key in ("a", "b", "c"):
            self.everybody_answers(key, passing)
        self.the_leader_does_what_is_due()

    @rule(key=KEYS, passing=NUMBERS, ms=st.sampled_from([1, 499, 500, 700]), kind=NUMBERS)
    def a_winner_works(self, key: str, passing: int, ms: int, kind: int) -> None:
        self.somebody_wins(key, passing)
        self.now += ms
        self.use_award(key, 0, 1, kind % 4)
        self.now += ms
        if kind % 3:
            self.complete(key, 0, 1, b"r" * 32)

    @rule(key=KEYS, late=st.integers(0, 5))
    def close(self, key: str, late: int) -> None:
        key = self._current(key)
        self._apply(Entry(self.now, Close(key, self._round(key, late))))

    @rule(key=KEYS, back=st.integers(0, 2), other=st.integers(0, 5), kind=st.integers(0, 3))
    def use_award(self, key: str, back: int, other: int, kind: int) -> None:
        key = self._current(key)
        cls: Any = (Renew, Renew, Release, Renew)[kind]
        self.say(self._holder(key, other), cls(key, self._token(key, back)))

    @rule(key=KEYS, back=st.integers(0, 2), other=st.integers(0, 5), result=RESULTS)
    def complete(self, key: str, back: int, other: int, result: bytes) -> None:
        key = self._current(key)
        self.say(self._holder(key, other), Complete(key, self._token(key, back), result))

    @rule(who=NUMBERS, key=KEYS, back=st.integers(0, 2), result=RESULTS)
    def adopt(self, who: int, key: str, back: int, result: bytes) -> None:
        key = self._current(key)
        self.say(who, Adopt(key, self._token(key, back), result))

    @rule(key=KEYS, back=st.integers(0, 2))
    def expire(self, key: str, back: int) -> None:
        key = self._current(key)
        self._apply(Entry(self.now, Expire(key, self._token(key, back))))

    @rule(who=NUMBERS, key=KEYS, sure=st.integers(0, 3))
    def cancel(self, who: int, key: str, sure: int) -> None:
        key = self._current(key)
        if not sure:
            self.say(who, Cancel(key))

    @rule(who=NUMBERS, back=st.booleans())
    def dismiss(self, who: int, back: bool) -> None:
        session = self.sessions[who % len(self.sessions)]
        found = self.ledger.agenda.dismissal(session)
        if found:
            self._apply(Entry(self.now, Dismiss(session, found.joined - back)))

    @rule(ms=st.sampled_from([1, 50, 99, 100, 400, 499, 500, 1_000, 30_000]), back=st.booleans())
    def time_passes(self, ms: int, back: bool) -> None:
        self.now += ms
        self._apply(Entry(self.now - (700 if back else 0), Tick()))

    @rule(ms=st.sampled_from([1_800_000, 3_600_000, 86_400_000]), sure=st.integers(0, 4))
    def much_time_passes(self, ms: int, sure: int) -> None:
        if not sure:
            self.now += ms
        self._apply(Entry(self.now, ExpireSessions()))
        gone = [id_ for id_ in self.sessions if id_ not in self.ledger.state.sessions]
        self.sessions = [id_ for id_ in self.sessions if id_ not in gone] + gone[:1]
        for number in range(20, 20 + min(3, len(gone))):
            self.open_session(number)
            session = self.ledger.views.session_of(_nonce(number)) or 0
            self.say(self._place(session), Join("review", (), 2))

    @precondition(lambda self: self.sent)
    @rule(which=st.integers(0, 200), ms=st.integers(0, 1))
    def a_command_comes_again(self, which: int, ms: int) -> None:
        entry = self.sent[-1 - which % len(self.sent)]
        self._apply(
            Entry(self.now + ms, entry.command, entry.session, entry.seq, entry.acked_below)
        )

    @rule(who=NUMBERS, seq=st.integers(0, 70), key=KEYS)
    def a_command_comes_out_of_order(self, who: int, seq: int, key: str) -> None:
        session = self.sessions[who % len(self.sessions)]
        at = self.seqs[session] + seq
        self._apply(Entry(self.now, Cancel(key + "?"), session, at, 0))

    @rule()
    def the_leader_does_what_is_due(self) -> None:
        due = self.ledger.agenda.due(self.now)
        for command in due:
            self._apply(Entry(self.now, command))

    @rule()
    def a_node_restarts(self) -> None:
        ledger = self.make()
        ledger.restore(self.ledger.snapshot())
        self.ledger = self.model.real = ledger

    def say(self, who: int, command: InSession) -> None:
        session = self.sessions[who % len(self.sessions)]
        seq = self.seqs[session]
        self.seqs[session] += 1
        entry = Entry(self.now, command, session, seq, max(0, seq - who % 3))
        self.sent.append(entry)
        self._apply(entry)

    def _apply(self, entry: Entry) -> None:
        self.index += 1
        before = self.ledger.snapshot()
        answer = self.ledger.apply(self.index, encode(entry))
        self.seen[type(answer).__name__] += 1
        expected = self.model.apply(self.index, entry) if self.compares else None
        self.watch.saw(self.index, entry, answer)
        self._note(entry.command, answer)
        if not self.compares:
            return
        assert answer == expected
        twin = self.make()
        twin.restore(before)
        twin.apply(self.index, encode(entry))
        assert twin.snapshot() == self.ledger.snapshot(), "a replica has another state"
        self._compare()

    def _note(self, command: Command, answer: Answer) -> None:
        token = getattr(answer, "token", 0)
        if isinstance(command, Close) and token:
            self.tokens.setdefault(command.key, []).append(token)

    def _compare(self) -> None:
        """The state says of each task what the model says, and everything due is found."""
        for key, sale in self.model.sales.items():
            task = self.ledger.state.tasks[key]
            assert (task.phase, task.round, task.roster) == (sale.phase, sale.round, sale.asked)
            assert (task.lapsed, task.pauses) == (sale.lapsed, sale.pauses) or task.phase.ended
        assert len(self.ledger.state.tasks) == len(self.model.sales)
        closes, expires, sessions = self.model.due(self.now)
        due = self.ledger.agenda.due(self.now)
        found = {(c.key, c.round) for c in due if isinstance(c, Close)}
        assert closes <= found
        assert all(self.model.eligible(self._role(key)) for key, _ in found - closes)
        assert expires == {(c.key, c.token) for c in due if isinstance(c, Expire)}
        assert sessions == (ExpireSessions() in due)

    def _current(self, key: str) -> str:
        """The task that goes by this letter now: one that has ended makes place for another."""
        return f"{key}{self.number[key]}"

    def _place(self, session: int) -> int:
        """Where in the list it is, of which some are gone."""
        if session not in self.sessions:
            self.sessions.append(session)
        return self.sessions.index(session)

    def _role(self, key: str) -> str:
        return self.ledger.state.tasks[key].role

    def _round(self, key: str, late: int) -> int:
        task = self.ledger.state.tasks.get(key)
        return max(0, task.round - (late == 0)) if task else 1

    def _token(self, key: str, back: int) -> int:
        tokens = self.tokens.get(key, [])
        return tokens[-1 - back] if back < len(tokens) else (tokens or [1])[-1]

    def _asked(self, key: str, who: int) -> int:
        task = self.ledger.state.tasks.get(key)
        roster = task.roster if task else ()
        if roster and who % 4:
            return self._place(roster[who % len(roster)])
        return who

    def _holder(self, key: str, other: int) -> int:
        task = self.ledger.state.tasks.get(key)
        if task and task.award and other:
            return self._place(task.award.session)
        return other


def _key(rng: random.Random) -> str:
    return rng.choice("aabbc")


def _any(rng: random.Random) -> int:
    return rng.randrange(31)


_ROLES = ("review", "review", "review", "write")
_RESULTS = (b"r" * 32, b"r" * 32, b"s" * 32)
_SHORT = (1, 50, 99, 100, 400, 499, 500, 1_000, 30_000)
_LONG = (1_800_000, 3_600_000, 86_400_000)
_STEPS: tuple[Callable[[Machine, random.Random], None], ...] = (
    lambda m, r: m.open_session(r.randrange(15)),
    lambda m, r: m.join(_any(r), r.choice(_ROLES), r.randrange(4)),
    lambda m, r: m.leave(_any(r), r.choice(_ROLES), r.randrange(4)),
    lambda m, r: m.open(_any(r), _key(r), r.choice(_ROLES), r.randint(1, 2), r.randrange(10)),
    lambda m, r: m.bid(_any(r), _key(r), r.randrange(6), r.randint(-1, 1), _any(r)),
    lambda m, r: m.bid(_any(r), _key(r), r.randrange(6), r.randint(-1, 1), _any(r)),
    lambda m, r: m.everybody_answers(_key(r), _any(r)),
    lambda m, r: m.somebody_wins(_key(r), _any(r)),
    lambda m, r: m.an_award_lapses(_key(r), _any(r)),
    lambda m, r: m.several_are_decided_at_once(_any(r)),
    lambda m, r: m.a_winner_works(_key(r), _any(r), r.choice((1, 499, 500, 700)), _any(r)),
    lambda m, r: m.close(_key(r), r.randrange(6)),
    lambda m, r: m.use_award(_key(r), r.randrange(3), r.randrange(6), r.randrange(4)),
    lambda m, r: m.complete(_key(r), r.randrange(3), r.randrange(6), r.choice(_RESULTS)),
    lambda m, r: m.adopt(_any(r), _key(r), r.randrange(3), r.choice(_RESULTS)),
    lambda m, r: m.expire(_key(r), r.randrange(3)),
    lambda m, r: m.cancel(_any(r), _key(r), r.randrange(20)),
    lambda m, r: m.dismiss(_any(r), r.random() < 0.5),
    lambda m, r: m.time_passes(r.choice(_SHORT), r.random() < 0.5),
    lambda m, r: m.much_time_passes(r.choice(_LONG), r.randrange(15)),
    lambda m, r: m.a_command_comes_again(r.randrange(200), r.randrange(2)),
    lambda m, r: m.a_command_comes_out_of_order(_any(r), r.randrange(70), _key(r)),
    lambda m, _: m.the_leader_does_what_is_due(),
    lambda m, _: m.a_node_restarts(),
)


@pytest.mark.long(1_800)
def test_the_ledger_answers_as_its_model() -> None:
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=form(60, 1_000),
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.long(1_800)
def test_long_walks_answer_as_the_model_too(happened: Callable[[str], None]) -> None:
    seeds = form(12, 600)
    seen = Counter[str]()
    for seed in range(seeds):
        seen += walk(Ledger, seed, steps=200)
    wanted = "Awarded Finished Renewed Taken Reopened Refused Opened Left Alive".split()
    assert not {name: seen[name] for name in wanted if seen[name] < 2 * seeds}, "hardly ever"
    happened(f"{seeds} walks: " + ", ".join(f"{n} {name}" for name, n in seen.most_common()))
