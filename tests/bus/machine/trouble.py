"""What happens to a fleet: crashes, frozen processes, outages, other bindings."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bus.errors import Conflict
from contracts.outcomes import Outcome, Retry
from tests.bus.machine.entries import LEASE, ROUTES, TOPICS
from tests.bus.machine.looking import Looking
from tests.bus.machine.steps import ALL
from tests.bus.machine.working import AGAIN, GROUP, PROCESS


class Trouble(Looking):
    """Accidents, and people who change the fleet while it works."""

    @rule(by=PROCESS)
    def crash_a_process(self, by: int) -> None:
        self.crash(self.holding(by) or self.processes[by])

    @rule(by=PROCESS, outcome=AGAIN)
    def crash_amid_a_settle(self, by: int, outcome: Outcome | None) -> None:
        """At every moment of it, one after another. Nothing that dies: its letter comes first,
        and a crash in between leaves both."""
        for turns in range(4):
            process = self.holding(by)
            if process is None:
                return
            delivery = process.held[0]
            entry = self.model.entries[delivery.group, delivery.message.id]
            dies = entry.asked.poison or (isinstance(outcome, Retry) and entry.is_last())
            self.settle(process, delivery, None if dies else outcome)
            self.world.turns(turns)
            self.crash(process)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, begin=st.booleans(), twice=st.booleans())
    def die_with_a_last_attempt_in_hand(self, by: int, begin: bool, twice: bool) -> None:
        process = self.processes[by]
        if process.pull is not None or "h" not in self.model.bound:
            return
        self.publish(process, [self.asked("a.y", group="h")])
        for last in (False, True):
            self.pull(process, "h", free=9, wait=0.0, begin=begin)
            self.check()
            for delivery in list(process.held):
                if not last:
                    self.settle(process, delivery, Retry(0.0))
            self.check()
        self.crash(process)
        if twice:
            self._take_over_and_die("h")
        self.world.go(LEASE)
        self.pull(self.processes[by], "h", free=9, wait=0.0, begin=True)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, group=GROUP)
    def take_over_and_die(self, by: int, group: str) -> None:
        """A process that takes over what another left dies before it does anything with it."""
        if process := self.holding(by, group):
            self.crash(process)
            self._take_over_and_die(group)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, group=GROUP, counts=st.booleans(), outcome=AGAIN)
    def freeze(self, by: int, group: str, counts: bool, outcome: Outcome | None) -> None:
        """One stands still for longer than its lease and then goes on as if nothing were."""
        frozen, other = self.holding(by, group), self.processes[by - 1]
        if frozen is None:
            return
        stale = frozen.held[0]
        self.world.go(LEASE + 0.1)
        self.pull(other, stale.group, free=9, wait=0.0, begin=True, counts=counts)
        self.check()
        self.world.do(frozen.bus.extend(frozen.held))
        self.settle(frozen, stale, outcome)
        self.check()
        if other.held:
            self.world.do(other.bus.extend(other.held))

    @rule(seconds=st.sampled_from([0.2, 0.7, 1.3, LEASE / 2, LEASE + 0.1]))
    def time_passes(self, seconds: float) -> None:
        self.world.go(seconds)

    @precondition(lambda self: not self.down)
    @rule()
    def outage(self) -> None:
        self.world.call(self.world.broker.outage)
        self.down = True

    @precondition(lambda self: self.down)
    @rule()
    def outage_ends(self) -> None:
        self.restore()

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, group=GROUP)
    def outage_while_one_waits(self, by: int, group: str) -> None:
        """It hears of the outage, and whoever pulls next gets what comes after it."""
        process = self.processes[by]
        if group not in self.model.bound:
            return
        self.pull(process, group, free=3, wait=9.0, begin=True)
        self.check()
        self.outage()
        self.world.go(0.2)
        self.restore()
        self.publish(process, [self.asked("a.y", group=group)])
        self.pull(process, group, free=9, wait=3.0, begin=True)
        self.world.go(1.2)
        self.check()

    @precondition(lambda self: not self.down)
    @rule(
        group=GROUP,
        patterns=st.lists(st.sampled_from(sorted(ROUTES)), min_size=1, max_size=2),
        topic=st.sampled_from(TOPICS),
    )
    def bind(self, group: str, patterns: list[str], topic: str) -> None:
        """What comes before goes where it went before, what comes after where it goes now."""
        process = self.processes[0]
        due = self.world.now + 1.2
        self.publish(process, [self.asked(topic)])
        self.publish(process, [self.asked(topic, due=due)], due=due)
        self.world.do(process.bus.bind(group, patterns))
        self.publish(process, [self.asked(topic)])

    @precondition(lambda self: not self.down)
    @rule(group=GROUP, drop=st.booleans(), back=st.booleans())
    def unbind(self, group: str, drop: bool, back: bool) -> None:
        patterns = self.model.bound.get(group)
        self._unbind(group, drop=drop)
        if back and patterns and group not in self.model.bound:
            self.world.do(self.processes[0].bus.bind(group, sorted(patterns)))

    @precondition(lambda self: not self.down)
    @rule(group=GROUP, delay=st.sampled_from([0.0, 1.2]))
    def unbind_with_one_task(self, group: str, delay: float) -> None:
        self._unbind(group, drop=True)
        process = self.processes[0]
        self.world.do(process.bus.bind(group, ["a.#"]))
        due = self.world.now + delay if delay else 0.0
        self.publish(process, [self.asked("a.y", group=group, due=due)], due=due)
        self._unbind(group, drop=False)

    def _unbind(self, group: str, *, drop: bool) -> None:
        if group not in self.model.bound:
            return
        busy = any(entry.live for entry in self.model.of(group))
        try:
            self.world.do(self.processes[0].bus.unbind(group, drop=drop))
        except Conflict:
            self.must(busy and not drop, f"{group} is empty and was not unbound")
        else:
            self.must(drop or not busy, f"{group} was unbound while something waits for it")

    def _take_over_and_die(self, group: str) -> None:
        if group not in self.model.bound:
            return
        process = self.world.process()
        process.wire.counts = False
        self.world.do(process.wire.pull(group, ALL, limit=5, wait=LEASE))
        self.world.crash(process)
