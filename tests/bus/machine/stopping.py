"""People who cancel: what they cancel does not begin any more, whoever has it."""

from hypothesis.stateful import precondition, rule

from bus.stops import Kind
from tests.bus.machine.working import PICK, PROCESS, Working


class Stopping(Working):
    """Cancels of single tasks, whatever state they are in."""

    @precondition(lambda self: not self.down)
    @rule(by=PROCESS, pick=PICK)
    def cancel(self, by: int, pick: int) -> None:
        """One that has yet to end, if there is any; else one that has ended."""
        ids = [entry.asked.id for entry in self.model.live()] or sorted(self.model.asked)
        if not ids:
            return
        self.stop(by, ids[-1 - pick % len(ids)])
        self.check()

    def stop(self, by: int, task: str) -> None:
        """Set its mark."""
        mark = self.world.do(self.processes[by].bus.stops.put(Kind.TASK, task))
        self.model.stops[task] = mark.at
