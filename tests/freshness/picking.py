"""Which tasks are asked for, and which workers are killed: where something could be seen."""

import random
import time

from tests.freshness.publisher import Publisher
from tests.pains.journal import Journal

TOLD = 0.6
"""Seconds a run lasts before it is chosen: its start is told by then."""


class Begun:
    """The runs that have begun and not ended, by what handlers wrote; a dead worker's stay until
    another runs their tasks."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._runs: dict[str, tuple[float, list[int]]] = {}

    def tasks(self) -> list[str]:
        """Their tasks, the one that began first at the front."""
        for what, task, _, pids, at in self._journal.read():
            self._runs.pop(task, None)
            if what == "start":
                self._runs[task] = (float(at), [int(pid) for pid in pids.split(",")])
        return list(self._runs)

    def for_a_while(self, pid: int) -> bool:
        """Whether a worker has run something for long enough to be told."""
        until = time.time() - TOLD
        return any(self._runs[t][0] < until and pid in self._runs[t][1] for t in self.tasks())


class Picking:
    """Half of the time those that have begun longest ago and not ended, where dead workers have
    left theirs; else the latest, one of a while ago, or any."""

    def __init__(self, publisher: Publisher, begun: Begun) -> None:
        self._publisher = publisher
        self._begun = begun
        self._rng = random.Random(7)

    def __call__(self) -> str | None:
        """An id that was accepted."""
        accepted = self._publisher.look().tasks
        begun = [task for task in self._begun.tasks() if task in accepted]
        if begun and self._rng.random() < 0.5:
            return self._rng.choice(begun[:3])
        if not accepted:
            return None
        back = self._rng.choice((1, 10, 40, len(accepted)))
        return self._rng.choice(list(accepted)[-back:])
