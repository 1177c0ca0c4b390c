"""What the rules of the machine are made of: doing, noticing what came of it, draining."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from hypothesis.stateful import RuleBasedStateMachine

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Lane
from bus.errors import Closed, Unreachable, Unroutable
from bus.settling import Finished, Policy, from_message
from contracts.envelope import Envelope
from contracts.outcomes import Outcome, Reason, Reject
from tests.bus.machine.entries import ATTEMPTS, Asked, Entry
from tests.bus.machine.fleet import Process, Pull, World

ALL = (HIGH, RETRY, NORMAL, LOW)
AHEAD = (HIGH,)
"""What is read ahead in any case: of the lanes below nothing is, while more copies come back than
may be taken."""
_KNOWN = (Unreachable, Unroutable)
BODY = b'{"n":1}'


class Steps(RuleBasedStateMachine):
    """A fleet of three processes, two groups and a broker, beside the model of them."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World

    def set_up(self) -> None:
        """Everything is new."""
        self.world = World()
        self.model = self.world.model
        self.processes = [self.world.process() for _ in range(3)]
        self.down = False
        self._under_way: list[tuple[asyncio.Task[Any], Process, Callable[[Any], None]]] = []
        self._made = 0
        for group, patterns in (("g", ["a.#", "*.x"]), ("h", ["a.y"])):
            self.world.do(self.processes[0].bus.bind(group, patterns))

    def begin(
        self, of: Process, work: Coroutine[Any, Any, Any], ended: Callable[[Any], None]
    ) -> "asyncio.Task[Any]":
        """Start a call; `ended` hears its result whenever that is there."""
        task = self.world.start(work)
        self._under_way.append((task, of, ended))
        return task

    def now_or_later(
        self, of: Process, work: Coroutine[Any, Any, Any], ended: Callable[[Any], None]
    ) -> None:
        """Do it; during an outage it goes on beside what follows."""
        task = self.begin(of, work, ended)
        self.world.go()
        end = self.world.now + 40.0
        while not task.done() and not self.down and self.world.now < end:
            self.world.go(0.05)

    def check(self) -> None:
        """Let all that can happen happen, and see whether any of it may not."""
        self.world.go()
        self._notice()
        for process in self.processes:
            pull = process.pull
            if pull is not None and not self.down:
                now = self.world.now
                for late in self.model.overdue(pull.group, pull.lanes, now, pull.since):
                    self.model.complain(f"a pull that waits since {pull.since} did not get {late}")
        self.fail()

    def fail(self) -> None:
        """Fail with the first complaint, if there is any."""
        assert not self.model.complaints, self.model.complaints[0]

    def must(self, holds: bool, text: str) -> None:
        """Complain unless it holds."""
        if not holds:
            self.model.complain(text)

    def asked(self, topic: str, **given: Any) -> Asked:
        """Another task that somebody wants to publish."""
        self._made += 1
        made = Asked(f"t{self._made}", topic, body=BODY, **given)
        self.model.asked[made.id] = made
        return made

    def publish(self, by: Process, asked: Sequence[Asked], *, due: float = 0.0) -> None:
        """Publish these in one call."""
        group = asked[0].group
        tasks = [envelope(each) for each in asked]
        self.now_or_later(by, by.bus.publish(tasks, group=group, due=due), _unheard)

    def pull(
        self, by: Process, group: str, *, free: int, wait: float, begin: bool, counts: bool = True
    ) -> None:
        """Begin to pull: `free` 0 reads ahead; `counts`: crashes are taken out and counted."""
        if by.pull is not None:
            return
        ahead = 0 if free else 3
        blame = by.blame(group) if counts else None
        by.wire.counts = counts
        task = self.world.start(by.bus.pull(group, free=free, ahead=ahead, wait=wait, blame=blame))
        lanes: Sequence[Lane] = ALL if free else AHEAD
        by.pull = Pull(task, group, lanes, begin=begin, since=self.world.now)

    def settle(self, by: Process, delivery: Delivery, outcome: Outcome | None) -> None:
        """Begin to settle, or to hand back (None)."""
        if delivery in by.held:
            by.held.remove(delivery)
        entry = self.model.entries[delivery.group, delivery.message.id]
        task = None if entry.asked.poison else from_message(delivery.message)
        if task is None and outcome is not None:
            outcome = Reject("it is no task", Reason.INVALID)
        now = self.world.now
        self.model.intend(delivery, outcome, now)
        work: Coroutine[Any, Any, Any]
        if outcome is None:
            work = by.bus.hand_back(delivery, task)
        else:
            work = by.bus.settle(_finished(by, delivery, task, outcome, now))

        def ended(result: Any) -> None:
            by.settled.append(delivery)
            told = result is not None and result is not False
            if isinstance(result, Exception):
                return
            if told != self.model.answers.get(delivery):
                self.model.complain(f"a settle of {delivery.message.key()} came to {result}")

        self.begin(by, work, ended)

    def holding(self, by: int, group: str = "g") -> Process | None:
        """A process that holds something, if need be because it is given something to hold."""
        process = self.processes[by]
        if process.held or self.down:
            return process if process.held else None
        if process.pull is not None or group not in self.model.bound:
            return None
        self.pull(process, group, free=2, wait=0.0, begin=True)
        self.check()
        if not process.held:
            self.publish(process, [self.asked("a.y", group=group)])
            self.pull(process, group, free=2, wait=0.0, begin=True)
            self.check()
        return process if process.held else None

    def crash(self, process: Process) -> None:
        """Its process is gone; another one takes its place."""
        self.world.crash(process)
        self.world.go()
        self._notice()
        self.processes[self.processes.index(process)] = self.world.process()

    def restore(self) -> None:
        """The broker is back; what waited for it is done within its patience."""
        self.world.call(self.world.broker.restore)
        self.down = False
        self.wait_for_calls()

    def wait_for_calls(self) -> None:
        """Let every call under way end."""
        end = self.world.now + 40.0
        while self._under_way and self.world.now < end:
            self.world.go(0.25)
            self._notice()
        if self._under_way:
            self.model.complain("a call did not end within 40 s")

    def finish_pull(self, by: Process) -> None:
        """Let time pass until its pull has ended."""
        end = self.world.now + 60.0
        while by.pull and self.world.now < end:
            self.world.go(0.25)
            self._notice()
        self.must(by.pull is None, "a pull did not end within 60 s")
        self.fail()

    def _notice(self) -> None:
        """Hear of what has ended."""
        for ended in [call for call in self._under_way if call[0].done()]:
            self._under_way.remove(ended)
            self._hear(*ended)
        for process in self.processes:
            if process.pull is not None and process.pull.task.done():
                self._hear_pull(process, process.pull)
                process.pull = None

    def _hear(self, task: "asyncio.Task[Any]", of: Process, ended: Callable[[Any], None]) -> None:
        error = task.exception()
        if error is None:
            ended(task.result())
        elif isinstance(error, _KNOWN) or (of.dead and isinstance(error, Closed)):
            ended(error)
        else:
            self.model.complain(f"a call raised {error!r}")

    def _hear_pull(self, process: Process, pull: Pull) -> None:
        self.fail()
        if pull.task.cancelled():
            return
        error = pull.task.exception()
        if error is not None and not process.dead and not isinstance(error, _KNOWN):
            self.model.complain(f"a pull raised {error!r}")
        if error is not None or process.dead:
            return
        shown = pull.task.result()
        counts = process.wire.counts
        found = process.wire.found
        due = [d for d in found if not (counts and d.earlier) or self._is_poison(d)]
        if len(shown) != len(due) or set(shown) != set(due):  # their order is that of the lanes
            self.model.complain(f"of {process.wire.found} were shown {shown}")
        process.held += shown
        if pull.begin and not self.down:
            self._begin(process, shown)

    def _begin(self, process: Process, shown: Iterable[Delivery]) -> None:
        for delivery in shown:
            entry = self.model.entries.get((delivery.group, delivery.message.id))
            if entry is None or entry.asked.poison:
                continue
            task = from_message(delivery.message)
            if self._is_stopped(process, delivery, entry, task):
                continue
            policy = Policy(attempts=ATTEMPTS[delivery.group])
            self.world.do(process.bus.crashes.begin(delivery, task, policy))
            process.begun.add(delivery)
            if task.copy == entry.copy:  # else it has been taken over since it was handed out
                entry.begun = entry.copy if entry.is_last() else None

    def _is_stopped(
        self, process: Process, delivery: Delivery, entry: Entry, task: Envelope
    ) -> bool:
        """Judge it as a worker does before a task begins, and end it if it was cancelled."""
        stop = self.world.do(process.bus.stop_view.judge(task, delivery.group))
        if (stop is not None) != self.model.is_stopped(entry):
            self.model.complain(f"{task.id} of {delivery.group} begins: {stop is None}")
        if stop is not None:
            self.settle(process, delivery, stop)
        return stop is not None

    def _is_poison(self, delivery: Delivery) -> bool:
        return self.model.asked[delivery.message.id].poison


def envelope(asked: Asked) -> Envelope:
    """The task as it is published."""
    return Envelope(
        id=asked.id,
        topic=asked.topic,
        source="/machine",
        time=1_700_000_000.0,
        body=asked.body,
        priority=asked.priority,
    )


def _finished(
    by: Process, delivery: Delivery, task: Envelope | None, outcome: Outcome, now: float
) -> Finished:
    return Finished(
        delivery=delivery,
        task=task,
        outcome=outcome,
        policy=Policy(attempts=ATTEMPTS[delivery.group]),
        worker=by.name,
        pid=1,
        started=now,
        ended=now,
        began=delivery in by.begun,
    )


def _unheard(_: Any) -> None: ...
