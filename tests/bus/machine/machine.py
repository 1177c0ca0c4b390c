"""The machine: everything that may happen to a fleet, in any order.

A task that somebody waits for (`reply`) is not among it: what a run that was cut off left as its
outcome is then the end of the next one, which the tests of suspects show.
"""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from typing_extensions import override

from bus.errors import NotDead, ReplayRefused, Unreachable, Unroutable
from contracts.outcomes import Reject
from tests.bus.machine.entries import Entry, Letter
from tests.bus.machine.stopping import Stopping
from tests.bus.machine.trouble import Trouble
from tests.bus.machine.working import PICK, PROCESS


class Machine(Stopping, Trouble):
    """Publishers, workers, accidents, and people who decide about dead letters."""

    @initialize()
    def everything_is_new(self) -> None:
        self.set_up()

    @precondition(lambda self: not self.down)
    @rule()
    def look(self) -> None:
        self.check()
        self.tell_lag()
        self.read_letters()

    @precondition(lambda self: not self.down)
    @rule(pick=PICK, cut=st.booleans(), force=st.booleans())
    def replay(self, pick: int, cut: bool, force: bool) -> None:
        """Replay a dead letter; `cut`: the network fails before the task is out."""
        if dead := self._dead():
            self._replay(dead[pick % len(dead)], cut=cut, force=force)
            self.read_letters()

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, pick=PICK)
    def replay_what_was_cancelled(self, by: int, pick: int) -> None:
        """Giving a dead letter back is a later decision than the cancel."""
        if dead := self._dead():
            entry = dead[pick % len(dead)]
            self.stop(by, entry.asked.id)
            self.world.go(0.1)
            self._replay(entry, cut=False, force=True)
            if entry.group in self.model.bound:
                self.pull(self.processes[by], entry.group, free=9, wait=0.0, begin=True)
            self.check()

    @precondition(lambda self: not self.down)
    @rule(times=st.integers(1, 5))
    def replay_in_vain(self, times: int) -> None:
        """What is replayed is rejected again."""
        if dead := self._dead():
            entry = max(dead, key=lambda entry: entry.replays)
            for _ in range(times):
                self._replay(entry, cut=False, force=False)
                self._reject_all(entry.group)

    @precondition(lambda self: not self.down)
    @rule(pick=PICK, cut=st.booleans())
    def purge(self, pick: int, cut: bool) -> None:
        """Purge a dead letter; `cut`: while a replay of it was interrupted."""
        dead = self._dead()
        if not dead:
            return
        entry = dead[pick % len(dead)]
        if cut:
            self._replay(entry, cut=True, force=True)
        self._purge(entry)
        self._purge(entry)

    @invariant()
    def nothing_happened_that_may_not(self) -> None:
        self.check()

    @override
    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if not self.model.complaints:
                self.drain()
                self.rest()
        finally:
            self.world.close()

    def _dead(self) -> list[Entry]:
        """Those with a dead letter, if need be of a task that is rejected for it."""
        self.wait_for_calls()
        dead = [entry for entry in self.model.entries.values() if entry.letter is not None]
        process = None if dead else self.holding(0)
        if process is None:
            return dead
        self.settle(process, process.held[0], Reject("no"))
        self.check()
        self.read_letters()
        return [entry for entry in self.model.entries.values() if entry.letter is not None]

    def _reject_all(self, group: str) -> None:
        process = self.processes[0]
        if process.pull is None and group in self.model.bound:
            self.pull(process, group, free=20, wait=0.0, begin=True)
            self.check()
            for delivery in list(process.held):
                self.settle(process, delivery, Reject("again no"))
            self.check()

    def _purge(self, entry: Entry) -> None:
        may = entry.letter is not None and not entry.letter.replaying
        try:
            self.world.do(self.processes[0].bus.dead.purge(entry.group, entry.asked.id))
        except NotDead:
            self.must(not may, f"{entry.asked.id} is dead and was not purged")
        else:
            self.must(may, f"{entry.asked.id} was purged")
            entry.letter = None
            entry.ends()

    def _replay(self, entry: Entry, *, cut: bool, force: bool) -> None:
        letter = entry.letter
        if letter is None:
            return
        refused = not letter.replaying and letter.replays >= 3 and not force
        claimed = letter if refused or letter.replaying else _claimed(letter)
        bus, wire = self.processes[0].bus, self.processes[0].wire
        key = (entry.group, entry.asked.id)
        wire.refuse = cut
        self.model.asking[key] = claimed
        try:
            self.world.do(bus.dead.replay(*key, now=self.world.now, force=force), within=5.0)
        except ReplayRefused:
            self.must(refused, f"{key} was not replayed")
        except NotDead:
            self.model.complain(f"{key} is dead and was not replayed")
        except Unroutable:
            self.must(entry.group not in self.model.bound, f"{entry.group} is bound")
        except Unreachable:
            entry.letter = replace(claimed, replaying=True)
        else:
            self.must(not refused, f"{key} was replayed too often")
            entry.letter = None
        finally:
            wire.refuse = False
            self.model.asking.clear()


def _claimed(letter: Letter) -> Letter:
    return replace(letter, copy=letter.copy + 1, replays=letter.replays + 1)
