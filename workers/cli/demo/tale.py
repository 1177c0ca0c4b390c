"""What is told of the demo's tasks, kept as it is heard, for those who wait for something of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TypeVar

from contracts.clock import Clock
from contracts.events import OF_NO_RUN, TERMINAL, Event
from workers.cli.timeline import ENDS, run_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Heard:
    """An event and when it was heard, a wall time."""

    event: Event
    at: float


class Tale:
    """Every event once, in the order in which they came. For one event loop."""

    def __init__(self, clock: Clock, show: Callable[[Event], None]) -> None:
        self.heard: list[Heard] = []
        self._clock = clock
        self._show = show
        self._known: set[str] = set()
        self._news = asyncio.Event()

    async def listen(self, events: AsyncIterator[Event]) -> None:
        """Hear all of `events`."""
        async for event in events:
            if event.id not in self._known:
                self._known.add(event.id)
                self.heard.append(Heard(event, self._clock.wall()))
                self._show(event)
                self._news.set()

    async def until(self, look: Callable[[], T | None]) -> T:
        """What `look` finds, asked now and after each event, as soon as it finds anything."""
        while (found := look()) is None:
            self._news.clear()
            await self._news.wait()
        return found

    def of(self, task: str) -> list[Event]:
        """What was told of a task and of all that was called for it."""
        return [h.event for h in self.heard if task in {h.event.task, h.event.correlation}]

    def end(self, task: str, *, copy: int = 0) -> Event | None:
        """How the task ended, in this copy or a later one; None while it has not."""
        events = (h.event for h in self.heard)
        ends = (e for e in events if e.task == task and e.kind in TERMINAL and e.copy >= copy)
        return next(ends, None)

    def under_way(self, task: str) -> list[Event]:
        """The first word of each run, of a task and of what was called for it, of which no end was
        told, in the order in which they came."""
        told = [event for event in self.of(task) if event.kind not in OF_NO_RUN]
        ended = {run_of(event) for event in told if event.kind in ENDS}
        firsts = {run_of(event): event for event in reversed(told)}
        return [
            event for event in told if event is firsts[run_of(event)] and run_of(event) not in ended
        ]

    def at_work(self, task: str) -> list[Event]:
        """Those of them that have said what they do: their handlers were called."""
        return [run for run in self.under_way(task) if self.note(run)]

    def unfinished(self, task: str) -> list[Event]:
        """The last that was told of each task which has not ended, of the same tasks."""
        last = {event.task: event for event in self.of(task)}
        over = {event.task for event in self.of(task) if event.kind in TERMINAL}
        return [event for event in last.values() if event.task not in over]

    def note(self, run: Event) -> str:
        """The last that the run said of its progress; empty before it said anything."""
        said = (h.event for h in self.heard if run_of(h.event) == run_of(run))
        notes = [str(event.data.get("note", "")) for event in said]
        return next((note for note in reversed(notes) if note), "")

    def ended(self, run: Event) -> Event | None:
        """How the run that began with `run` ended; None if nobody told."""
        events = (h.event for h in self.heard)
        return next((e for e in events if run_of(e) == run_of(run) and e.kind in ENDS), None)

    def again(self, run: Event) -> Event | None:
        """The first word of a later run of the same task in the same role; None without one."""
        events = (h.event for h in self.heard if h.event.kind not in OF_NO_RUN)
        later = (e for e in events if e.task == run.task and e.copy > run.copy)
        return next((e for e in later if e.role == run.role), None)

    def settled_since(self, moment: float) -> Heard | None:
        """The first end of a run that ended after `moment`: its end was settled after it too."""
        return next((h for h in self.heard if h.event.kind in ENDS and h.event.at > moment), None)
