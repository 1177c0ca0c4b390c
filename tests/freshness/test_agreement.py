"""What an operator is shown agrees with what happened, within a second: while a fleet is scaled
up and down, its workers are killed, and when it ends."""

import asyncio
import os
import random
import secrets
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.clock import SystemClock
from tests.cli.running import Muster
from tests.forms import form
from tests.freshness import roles
from tests.freshness.fleets import SECONDS, Scale, commanded, within
from tests.freshness.judging import WITHIN, counted, judge, worst
from tests.freshness.picking import Begun, Picking
from tests.freshness.publisher import Publisher, publishing
from tests.freshness.sampler import Sampler
from tests.freshness.truth import Accepted, Truth, runs
from tests.pains.journal import Journal
from tests.servers import NatsServer
from workers.history.opening import open_history
from workers.settings import load
from workers.wiring import open_bus

LEASE = form(2.0, 5.0)

pytestmark = [pytest.mark.nats, pytest.mark.postgres]


@pytest.fixture
def muster(nats_server: NatsServer, history_url: str, tmp_path: Path) -> Muster:
    """The command in a folder with one role, on a fleet and a history of its own."""
    return Muster(
        tmp_path,
        MUSTER_BUS_URL=nats_server.url,
        MUSTER_FLEET_NAME=f"fresh-{secrets.token_hex(4)}",
        MUSTER_FLEET_LEASE=str(LEASE),
        MUSTER_FLEET_DRAIN="5",
        MUSTER_HISTORY_URL=history_url,
        MUSTER_LOG_LEVEL="warning",
    )


async def _nobody(_count: int) -> None:
    return


class Story:
    """What is done to the fleet, whose workers `order` asks for."""

    def __init__(self, sampler: Sampler, begun: Begun) -> None:
        self.order: Scale = _nobody
        self._sampler = sampler
        self._begun = begun
        self._rng = random.Random(11)
        self.killed = 0

    async def scale(self, count: int) -> None:
        """Have so many workers; return when they are there, and no others."""
        await self.order(count)
        await self._until(lambda: len(self._sampler.living()) == count)

    async def commands(self) -> None:
        """Return when each command was run once at least."""
        await self._until(lambda: self._sampler.rounds > 0)

    async def kill(self) -> None:
        """Kill a worker that runs something; return when another works in its place."""
        count = len(self._sampler.living())
        await self._until(lambda: bool(self._busy()))
        victim = self._rng.choice(self._busy())
        os.kill(victim, signal.SIGKILL)
        self.killed += 1
        await self._until(lambda: victim in self._sampler.died)
        await self._until(lambda: len(self._sampler.living()) == count)

    def _busy(self) -> list[int]:
        return [pid for pid in self._sampler.living() if self._begun.for_a_while(pid)]

    async def _until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS):
            while not holds():  # noqa: ASYNC110 - the sampler looks meanwhile
                await asyncio.sleep(0.02)


async def short(story: Story) -> None:
    """Up, a kill, down."""
    await story.scale(2)
    await story.kill()
    await story.scale(1)
    await story.commands()


async def long(story: Story) -> None:
    """The same again and again."""
    end = time.monotonic() + 120.0
    while time.monotonic() < end:
        await story.scale(4)
        for _ in range(3):
            await story.kill()
            await asyncio.sleep(2.0)  # in which things take their course
        await story.scale(1)
        await asyncio.sleep(4.0)


@pytest.mark.slow
@pytest.mark.long(400)
async def test_what_is_shown_agrees_with_what_happened_within_a_second(
    muster: Muster, happened: Callable[[str], None]
) -> None:
    """By the functions behind `ps`, `lag`, `task show` and `/metrics` ten times a second, and by
    the commands themselves, against what handlers and publishers wrote on disk."""
    file = roles.write(muster.folder)
    loaded = load(muster.folder, environment=muster.environment)
    bus, history = await open_bus(loaded), await open_history(loaded, SystemClock())
    try:
        async with asyncio.timeout(form(60, 380)):
            sampler = Sampler(bus, history, muster)
            begun = Begun(Journal(file))
            story = Story(sampler, begun)
            async with sampler.looking():
                async with form(within, commanded)(muster) as story.order:
                    with publishing(muster.folder, muster.environment, 8.0) as publisher:
                        sampler.pick = Picking(publisher, begun)
                        await form(short, long)(story)
                        await asyncio.to_thread(publisher.stop)
                    await ended(publisher, file)
                await asyncio.sleep(form(0.5, 2.0))  # in which the fleet is gone
    finally:
        await bus.close()
        await history.close()
    truth = Truth(
        Accepted(publisher.asked, publisher.tasks),
        runs(Journal(file).read(), sampler.died),
        sampler.died,
    )
    findings = judge(truth, sampler.samples)
    counts = counted(findings)
    happened(
        f"{len(truth.accepted.tasks)} tasks, {len(truth.runs)} runs, {story.killed} workers killed;"
        f" the sampler was {sampler.late:.2f} s late at most"
    )
    oldest = [f"{name} {f.age:.2f} s of {counts[name]}" for name, f in worst(findings).items()]
    happened(f"the oldest of the looks at each figure: {'; '.join(oldest)}")
    assert {"ps: who lives", "ps: running", "/metrics: running", "lag: waiting + running"} <= {
        *counts
    }
    assert any(name.startswith("task show: state") for name in counts)
    assert sampler.rounds > 0
    old = [finding for finding in findings if finding.age > WITHIN and not finding.said]
    assert not old, "\n".join(f"{f.figure}, {f.age:.2f} s: {f.about}" for f in old[:20])
    assert set(publisher.known.values()) == {"yes"}, publisher.known


async def ended(publisher: Publisher, file: Path) -> None:
    """Return when every accepted task has come to an end, by what handlers wrote."""
    journal, done = Journal(file), set[str]()
    while not publisher.tasks.keys() <= done:
        done |= {words[1] for words in journal.read() if words[0] != "start"}
        await asyncio.sleep(0.05)
