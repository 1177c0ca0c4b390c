"""What must be there: lag, dead letters, and at the end everything that was accepted."""

from typing import Any

from bus.deadletters import DeadLetter, State
from bus.errors import Unroutable
from contracts.outcomes import Done
from tests.bus.machine.entries import ATTEMPTS, LEASE, Entry
from tests.bus.machine.fleet import Process
from tests.bus.machine.steps import Steps


class Looking(Steps):
    """Compares what the fleet tells with the model."""

    def read_letters(self) -> None:
        """The dead letters are exactly those that there must be."""
        if self._under_way:
            return
        found = self.world.do(_all_letters(self.processes[0]))
        must = self.model.letters()
        if set(found) != set(must):
            self.model.complain(f"dead are {sorted(found)}, must be {sorted(must)}")
            return
        for key, letter in found.items():
            wrong = self._wrong_in(letter, self.model.entries[key])
            if wrong:
                self.model.complain(f"the dead letter {key} says {wrong}")

    def tell_lag(self) -> None:
        """What lies in each lane is what must lie there."""
        if self._under_way or self.down:
            return
        for group in ATTEMPTS:
            try:
                told: Any = self.world.do(self.processes[0].bus.lag(group))
            except Unroutable:
                told = None
            must = self.model.lag(group, self.world.now) if group in self.model.bound else None
            if told != must:
                self.model.complain(f"the lag of {group} is {told}, must be {must}")

    def drain(self) -> None:
        """Everything accepted comes out in time, and then nothing is left."""
        if self.down:
            self.restore()
        self.wait_for_calls()
        for process in list(self.processes):
            self.crash(process)
        worker = self.processes[0]
        while live := self.model.live():
            first = min(live, key=lambda entry: entry.from_)
            wait = max(0.0, first.from_ - self.world.now) + 1.5
            self.pull(worker, first.group, free=50, wait=wait, begin=False)
            self.finish_pull(worker)
            for delivery in list(worker.held):
                self.settle(worker, delivery, Done())
            self.check()

    def rest(self) -> None:
        """A lease later and after a restart nothing more comes."""
        self.world.go(2 * LEASE)
        self.world.call(self.world.broker.outage)
        self.world.call(self.world.broker.restore)
        worker = self.processes[0]
        for group in self.model.bound:
            self.pull(worker, group, free=50, wait=0.0, begin=False)
            self.finish_pull(worker)
        self.tell_lag()
        self.read_letters()
        self.check()

    def _wrong_in(self, letter: DeadLetter, entry: Entry) -> str:
        must = entry.letter
        assert must is not None
        told = (letter.reason, letter.attempts, letter.copy, letter.replays)
        if told != (must.reason, must.attempts, must.copy, must.replays):
            return f"{told}, not {must}"
        if (letter.state is State.REPLAYING) != must.replaying:
            return letter.state
        if (letter.topic, letter.body) != (entry.asked.topic, entry.asked.body):
            return "another topic or body"
        if not entry.asked.poison and letter.headers.get("ce-id") != entry.asked.id:
            return "other headers"
        return ""


async def _all_letters(by: Process) -> dict[tuple[str, str], DeadLetter]:
    """All there are, after each was read."""
    for letter in [letter async for letter in by.bus.dead.all()]:
        await by.bus.dead.find(letter.id)
    found = [letter async for letter in by.bus.dead.all()]
    return {(letter.group, letter.id): letter for letter in found}
