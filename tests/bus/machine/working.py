"""What publishers and workers do."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from bus.backend import Message
from contracts.envelope import Priority
from contracts.outcomes import Done, Outcome, Reject, Retry, Snooze
from tests.bus.machine.entries import ATTEMPTS, TOPICS, UNBOUND, Asked
from tests.bus.machine.fleet import Process
from tests.bus.machine.looking import Looking
from tests.bus.machine.steps import envelope

PROCESS = st.integers(0, 2)
GROUP = st.sampled_from(sorted(ATTEMPTS))
PICK = st.integers(0, 9)
DELAY = st.sampled_from([0.0, 0.0, 0.0, 0.3, 1.2, 5.0])
AGAIN = st.sampled_from([Retry(0.0), Retry(1.5), Snooze(0.0), None])
OUTCOMES: list[Outcome | None] = [
    Done(),
    Retry(0.0),
    Retry(0.0),
    Retry(1.5),
    Snooze(0.0),
    Snooze(2.0),
    Reject("no"),
    Reject("no"),
    None,
]
OUTCOME = st.sampled_from(OUTCOMES)
_TOPICS = [*TOPICS, *TOPICS, UNBOUND]
_NEW = st.lists(
    st.tuples(st.sampled_from(_TOPICS), st.sampled_from(Priority)), min_size=1, max_size=3
)


class Working(Looking):
    """Publishing, pulling and settling, as it should be."""

    @rule(by=PROCESS, new=_NEW, delay=DELAY, lose=st.booleans())
    def publish_new(self, by: int, new: Any, delay: float, lose: bool) -> None:
        due = self.world.now + delay if delay else 0.0
        process = self.processes[by]
        process.wire.lose_answer = lose and not self.down
        self.publish(process, [self.asked(t, priority=p, due=due) for t, p in new], due=due)
        process.wire.lose_answer = False

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, pick=PICK, beside=st.booleans(), restart=st.booleans())
    def publish_again(self, by: int, pick: int, beside: bool, restart: bool) -> None:
        """Repeat what is known, alone or with something new, perhaps to a broker that was away."""
        process = self.processes[by]
        if beside or not self._known(beside):
            self.publish(process, [self.asked("a.y")])
        if restart:
            self.world.call(self.world.broker.outage)
            self.restore()
        if known := self._known(beside):
            old = known[-1 - pick % len(known)]
            new = [self.asked(old.topic, due=old.due)] if beside else []
            self.publish(process, [*new, old], due=old.due)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, passes=st.sampled_from([0.1, 0.5]))
    def publish_for_later_twice(self, by: int, passes: float) -> None:
        """Once more before or when its time has come."""
        due = self.world.now + 0.3
        asked = self.asked("a.y", due=due)
        self.publish(self.processes[by], [asked], due=due)
        self.world.go(passes)
        self.publish(self.processes[by], [asked], due=due)
        self.tell_lag()

    @rule(by=PROCESS, group=GROUP, delay=DELAY)
    def publish_to_a_group(self, by: int, group: str, delay: float) -> None:
        due = self.world.now + delay if delay else 0.0
        self.publish(self.processes[by], [self.asked("a.y", group=group, due=due)], due=due)
        self.tell_lag()

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS)
    def publish_poison(self, by: int) -> None:
        """A foreign client sends bytes that are no task."""
        asked = replace(self.asked("a.y"), poison=True, body=b"\xff\x00not a task")
        self.model.asked[asked.id] = asked
        process = self.processes[by]
        message = Message(asked.id, 0, asked.topic, asked.body)
        self.now_or_later(process, process.wire.publish([message]), lambda _: None)

    @rule(
        by=PROCESS,
        group=GROUP,
        free=st.integers(0, 4),
        wait=st.sampled_from([0.0, 3.0, 9.0]),
        begin=st.booleans(),
    )
    def pull_some(self, by: int, group: str, free: int, wait: float, begin: bool) -> None:
        self.pull(self.processes[by], group, free=free, wait=wait, begin=begin)

    @precondition(lambda self: not self.down)
    @rule(group=GROUP, each=st.integers(1, 2))
    def publish_while_all_wait(self, group: str, each: int) -> None:
        """What comes is shared by those that wait for it, each of which is woken."""
        for process in self.processes:
            self.pull(process, group, free=each, wait=9.0, begin=True)
        self.check()
        self.publish(self.processes[0], [self.asked("a.y", group=group) for _ in range(3 * each)])
        self.check()
        self.world.go(1.1)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS)
    def cancel_a_pull_while_something_comes(self, by: int) -> None:
        """At every moment of its coming, one after another."""
        for turns in range(6):
            self._cancel_a_pull(self.processes[by], self.processes[by - 1], turns)
            self.check()

    @rule(by=PROCESS, group=GROUP, pick=PICK, outcome=OUTCOME)
    def finish(self, by: int, group: str, pick: int, outcome: Outcome | None) -> None:
        if process := self.holding(by, group):
            self.settle(process, process.held[pick % len(process.held)], outcome)

    @rule(by=PROCESS, outcomes=st.lists(OUTCOME, min_size=3, max_size=3))
    def finish_all_at_once(self, by: int, outcomes: list[Outcome | None]) -> None:
        if process := self.holding(by):
            for number, delivery in enumerate(list(process.held)):
                self.settle(process, delivery, outcomes[number % len(outcomes)])
            self.check()
            self.tell_lag()

    @rule(by=PROCESS, outcome=AGAIN)
    def settle_twice(self, by: int, outcome: Outcome | None) -> None:
        """What is done is settled again, and published again."""
        if process := self.holding(by):
            delivery = process.held[0]
            self.settle(process, delivery, Done())
            self.check()
            if delivery in process.settled:
                self.settle(process, delivery, outcome)
            asked = self.model.asked[delivery.message.id]
            if not self.down and asked in self._known(False):
                self.publish(process, [asked], due=asked.due)

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, times=st.integers(3, 8))
    def extend(self, by: int, times: int) -> None:
        """It is kept for as long as that is asked for."""
        if process := self.holding(by):
            for _ in range(times):
                self.world.go(1.7)
                self.world.do(process.bus.extend(process.held))
            self.tell_lag()

    @precondition(lambda self: not self.down)
    @rule(times=st.integers(22, 25))
    def hand_back_often(self, times: int) -> None:
        """One task goes to and fro; its attempts stay."""
        if process := self.holding(0):
            for _ in range(times):
                for delivery in list(process.held):
                    self.settle(process, delivery, None)
                self.check()
                self.pull(process, "g", free=1, wait=0.0, begin=False)
                self.check()

    def _cancel_a_pull(self, process: Process, other: Process, turns: int) -> None:
        if process.pull is None:
            self.pull(process, "g", free=9, wait=9.0, begin=True)
            self.check()
        pull = process.pull
        if pull is None or "g" not in self.model.bound:
            return
        task = self.asked("a.y", group="g")
        self.begin(other, other.bus.publish([envelope(task)], group="g"), lambda _: None)
        self.world.turns(turns)
        pull.task.cancel()

    def _known(self, routed: bool) -> list[Asked]:
        """What would be repeated within the window, for the same groups; `routed` by topic only."""
        return [
            asked
            for asked in self.model.asked.values()
            if self.model.sent.get(asked.id) == self.model.targets(asked)
            and not asked.poison
            and not (routed and asked.group)
            and self.model.known(asked.id, self.world.now)
        ]
