"""The ledger: one committed entry after the other in, one answer each out.

What it promises, as long as every replica applies the same entries in the same order: a key has at
most one live award; each award has a token of its own, the index of the entry that made it, and
later ones have higher ones; a key completes at most once; a command of a session is done at most
once. Time is what leaders stamped on entries, and never goes back: a leader whose clock is wrong
makes windows and leases longer, not shorter.
"""

import hashlib
from collections.abc import Callable
from typing import Any

from consensus.ledger.agenda import Agenda
from consensus.ledger.answers import Answer, Done, Refused
from consensus.ledger.commands import (
    Adopt,
    Attest,
    Cancel,
    Close,
    Complete,
    Dismiss,
    Expire,
    ExpireSessions,
    Join,
    KeepAlive,
    Leave,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    RaiseVersion,
    Release,
    Renew,
    Tick,
)
from consensus.ledger.entries import NEWEST, Entry, UnknownCommand, decode, problem
from consensus.ledger.index import Index
from consensus.ledger.rules import Rules
from consensus.ledger.sessions import Sessions
from consensus.ledger.snapshot import pack_state, unpack_state
from consensus.ledger.state import Session, State
from consensus.ledger.views import Views
from contracts.auctions import Opening, Refusal, Won


class Ledger:
    """The state machine that every member runs. `rules` and `sessions` are what decides; `newest`
    is the highest version of the cluster that this node can follow."""

    def __init__(
        self,
        rules: type[Rules] = Rules,
        sessions: type[Sessions] = Sessions,
        newest: int = NEWEST,
    ) -> None:
        self._make_rules = rules
        self._make_sessions = sessions
        self.newest = newest
        self._take(State())

    def apply(self, index: int, data: bytes) -> Answer:
        """Do the command at `index`, which must be higher than any before.

        Raises `UnknownCommand`, having done nothing, for an entry that this node cannot follow: it
        must stop then. Afterwards `take_told` gives what bidders are to hear of it.
        """
        state = self.state
        entry = decode(data, state.version)
        self._check_followed(entry)
        if index <= state.applied:
            raise ValueError(f"entry {index} was applied already: the last was {state.applied}")
        state.applied = index
        state.clock = self._advanced(state.clock, entry.stamp)
        answer = self._do(entry)
        self._rules.retire()
        return answer

    def take_told(self) -> list[Opening | Won]:
        """What has happened to bidders since this was asked last; to be asked after every entry,
        on every member, and told to those that are connected to it."""
        rules = self._rules
        if not rules.begun and not rules.won:
            return []
        found: list[Opening | Won] = [o for key in rules.begun for o in self.views.openings(key)]
        found += rules.won
        rules.begun, rules.won = [], []
        return found

    def snapshot(self) -> bytes:
        """The state after the last entry; equal states give equal bytes."""
        return pack_state(self.state)

    def restore(self, data: bytes) -> None:
        """Go on from `snapshot`. Having changed nothing raises `BadSnapshot`, and `UnknownCommand`
        where the cluster goes on with a version that this node cannot follow: it must stop."""
        state = unpack_state(data)
        self._check_version(state.version)
        self._take(state)

    def hash(self) -> bytes:
        """SHA-256 of the snapshot, to compare replicas at the same index."""
        return hashlib.sha256(self.snapshot()).digest()

    def _take(self, state: State) -> None:
        index = Index(state)
        self.state = state
        self._rules = self._make_rules(state, index)
        self._sessions = self._make_sessions(state, index)
        self.agenda = Agenda(state, index)
        self.views = Views(state, index)
        rules, known = self._rules, self._sessions
        self._in_session: dict[type, Callable[[Session, Any], Answer]] = {
            KeepAlive: known.keep_alive,
            Join: known.join,
            Leave: known.leave,
            Open: rules.open,
            PlaceBid: rules.bid,
            Pass: rules.decline,
            Renew: rules.renew,
            Complete: rules.complete,
            Adopt: rules.adopt,
            Release: rules.release,
            Cancel: rules.cancel,
        }
        self._others: dict[type, Callable[[Any], Answer]] = {
            OpenSession: known.open,
            Dismiss: known.dismiss,
            ExpireSessions: known.expire,
            Close: rules.close,
            Expire: rules.expire,
            Tick: self._tick,
            Attest: self._tick,
            RaiseVersion: self._raise_version,
        }

    def _do(self, entry: Entry) -> Answer:
        command = entry.command
        do = self._others.get(type(command))
        if do is not None:
            return Refused(Refusal.INVALID) if problem(command) else do(command)
        session = self._sessions.admit(entry)
        if not isinstance(session, Session):
            return session
        if problem(command):
            answer: Answer = Refused(Refusal.INVALID)
        else:
            answer = self._in_session[type(command)](session, command)
        self._sessions.keep(session, entry.seq, answer)
        return answer

    def _check_followed(self, entry: Entry) -> None:
        if isinstance(entry.command, RaiseVersion):
            self._check_version(entry.command.version)

    def _check_version(self, version: int) -> None:
        if version > self.newest:
            raise UnknownCommand(
                f"the cluster goes on with version {version}",
                details=f"this node can follow {self.newest}",
                actions=("install the release that the other members run",),
            )

    def _advanced(self, clock: int, stamp: int) -> int:
        """A stamp from before changes nothing: time never goes back."""
        return max(clock, stamp)

    def _tick(self, _: Tick | Attest) -> Answer:
        return Done(0)

    def _raise_version(self, c: RaiseVersion) -> Answer:
        """Only ever up: commands of the higher version may be in the log."""
        if c.version <= self.state.version:
            return Done(0)
        self.state.version = c.version
        return Done(1)
