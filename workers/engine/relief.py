"""Lowers the concurrency of the workers of this process while the machine is short of something."""

import asyncio
from collections.abc import Mapping

import structlog

from contracts.clock import Clock
from workers.engine.gauges import Gauges
from workers.engine.pressure import (
    LOOK,
    Sample,
    State,
    Step,
    decide,
    lowered,
    raised,
    relieved,
    until_next,
)
from workers.engine.slots import Slots

_log = structlog.get_logger("muster.pressure")


class Relief:
    """Resizes `slots`, those of each role, as `pressure.decide` says, from `run` until `stop`. A
    look reads four small files."""

    def __init__(self, slots: Mapping[str, Slots], clock: Clock) -> None:
        self.state = State()
        self._slots = slots
        self._full = {role: each.size for role, each in slots.items()}
        self._clock = clock
        self._gauges = Gauges()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Look until `stop`."""
        stop, wait = asyncio.create_task(self._stopping.wait()), LOOK
        seen: Sample | None = None
        while not stop.done():
            before = self._clock.monotonic()
            pause = asyncio.create_task(self._clock.sleep(wait))
            await asyncio.wait({stop, pause}, return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
            late = self._clock.monotonic() - before - wait
            last, seen = seen, self._look(late)
            wait = until_next(last, seen)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()

    def _look(self, late: float) -> Sample:
        gauges = self._gauges
        sample = Sample(
            at=self._clock.monotonic(),
            memory=gauges.memory(),
            memory_stall=gauges.stall("memory"),
            cpu_stall=gauges.stall("cpu"),
            late=late,
        )
        self.state, step = decide(sample, self.state)
        if step is not Step.NONE:
            self._apply(step, sample)
        return sample

    def _apply(self, step: Step, sample: Sample) -> None:
        cause, before = self.state.cause, self._places()
        for role, slots in self._slots.items():
            if step is Step.LOWER:
                slots.resize(lowered(slots.size, slots.taken))
            else:
                slots.resize(raised(slots.size, self._full[role]))
        if all(slots.size == self._full[role] for role, slots in self._slots.items()):
            self.state = relieved(self.state)
        if (after := self._places()) != before:
            word = "lowered" if step is Step.LOWER else "raised"
            _log.warning(f"places {word}", because=cause, places=after, used=f"{sample.memory:.0%}")

    def _places(self) -> str:
        found = self._slots.items()
        return ", ".join(f"{role} {slots.size}/{self._full[role]}" for role, slots in found)
