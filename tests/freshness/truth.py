"""What really happened, by what handlers and publishers wrote, and when processes ended."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf

from tests.freshness.steps import Steps, Turn

SUCCEEDED, FAILED, RUNNING, WAITING = "succeeded", "failed", "running", "waiting"

_ENDS = {"end": SUCCEEDED, "fail": FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run of a task in a worker process. `end` and `how` None if it came to none."""

    task: str
    pid: int
    start: float
    end: float | None = None
    how: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """What publishers logged: how many tasks they were about to publish when, and which were
    accepted when."""

    asked: Sequence[tuple[float, int]]
    tasks: Mapping[str, float]


@dataclass(frozen=True)
class Truth:
    """`died`: when each worker process that ended did so."""

    accepted: Accepted
    runs: Sequence[Run]
    died: Mapping[int, float] = field(default_factory=dict)

    @cached_property
    def low(self) -> Steps:
        """Tasks that are not done: those surely accepted, without those that may be done."""
        taken = [(at, 1) for at in self.accepted.tasks.values()]
        return Steps([*taken, *((min(ends), -1) for ends in self._ends.values())])

    @cached_property
    def high(self) -> Steps:
        """Tasks that may not be done."""
        return Steps([*self.accepted.asked, *((max(ends), -1) for ends in self._ends.values())])

    @cached_property
    def _ends(self) -> Mapping[str, Sequence[float]]:
        found: defaultdict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            if run.end is not None:
                found[run.task].append(run.end)
        return found

    @cached_property
    def pids(self) -> Mapping[int, float]:
        """The workers that ran something, and since when they have."""
        found: dict[int, float] = {}
        for run in self.runs:
            found[run.pid] = min(run.start, found.get(run.pid, inf))
        return found

    def count(self, pid: int, what: str) -> Steps:
        """How many of its runs are under way, or came to such an end."""
        mine = [run for run in self.runs if run.pid == pid]
        if what != RUNNING:
            return Steps((run.end, 1) for run in mine if run.end and run.how == what)
        begun = [(run.start, 1) for run in mine]
        return Steps([*begun, *((end, -1) for run in mine if (end := self._over(run)) < inf)])

    def turns(self, task: str) -> Sequence[Turn] | None:
        """The states of a task; None where they are not certain: it ran again after an end that
        its worker did not live to tell."""
        turns = [Turn(self.accepted.tasks[task], WAITING)]
        mine = sorted((run for run in self.runs if run.task == task), key=lambda run: run.start)
        for run in mine:
            if turns[-1].state in {SUCCEEDED, FAILED, RUNNING}:
                return None
            turns.append(Turn(run.start, RUNNING))
            over = self._over(run)
            if over < inf:
                turns.append(Turn(over, run.how or WAITING))
        return turns

    def _over(self, run: Run) -> float:
        return run.end if run.end is not None else self.died.get(run.pid, inf)


def runs(lines: Iterable[Sequence[str]], workers: Iterable[int]) -> list[Run]:
    """The runs that handlers wrote of. One in a child process is that of the worker above it."""
    known = set(workers)
    begun: dict[tuple[str, str, str], Run] = {}
    for what, task, fence, pids, at in lines:
        key = (task, fence, pids)
        if what == "start":
            above = [int(pid) for pid in pids.split(",")]
            pid = next((pid for pid in above if pid in known), above[0])
            begun[key] = Run(task=task, pid=pid, start=float(at))
        else:
            run = begun[key]
            begun[key] = Run(
                task=task, pid=run.pid, start=run.start, end=float(at), how=_ENDS[what]
            )
    return list(begun.values())
