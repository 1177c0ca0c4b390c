"""Asks again and again what an operator asks: by the functions behind the commands ten times a
second, and by the commands themselves."""

import asyncio
import os
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from bus.bus import Bus
from knowledge.history.history import History
from knowledge.history.records import TaskRecord
from tests.beside import beside
from tests.cli.running import Ended, Muster
from tests.freshness.judging import Lagging, Sample, Shown, Workers
from tests.freshness.truth import FAILED, RUNNING, SUCCEEDED
from workers.cli import story
from workers.cli.bearers import Gone, missing
from workers.cli.errors import NotFound
from workers.cli.ps import Row, bound_groups
from workers.fleet.presence import Alive, present

ROLE = "sampled"
EVERY = 0.1
COMMANDS = 5.0
"""Seconds between two rounds of commands."""

_COUNTS = {
    "muster_tasks_running": RUNNING,
    "muster_tasks_succeeded_total": SUCCEEDED,
    "muster_tasks_failed_total": FAILED,
}


class Sampler:
    """Looks until its block is left. `pick` chooses the task to ask for, if there is one."""

    def __init__(self, bus: Bus, history: History, muster: Muster) -> None:
        self.pick: Callable[[], str | None] = _none
        self._bus = bus
        self._history = history
        self._muster = muster
        self._alive: list[Alive] = []
        self._watched: set[int] = set()
        self.samples: list[Sample] = []
        self.died: dict[int, float] = {}
        self.rounds = 0
        self.late = 0.0

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look as long as the block lasts."""
        looks = [(self._workers, EVERY), (self._metrics, EVERY), (self._show, EVERY)]
        looks.append((self._commands, COMMANDS))
        async with beside(*(_again(look, every) for look, every in looks), self._stand_by()):
            yield

    def living(self) -> list[int]:
        """The workers that were shown last."""
        return [one.pid for one in self._alive if one.pid not in self.died]

    async def _commands(self) -> None:
        """Each command once, as soon as there is a task to ask for."""
        while (task := self.pick()) is None:  # noqa: ASYNC110 - the log of another process
            await asyncio.sleep(EVERY)
        begin = time.time()
        found = (await self._run("ps")).json
        workers = [one for one in found["workers"] if one["role"] == ROLE]
        self._note_ps("muster ps", begin, [_counts(one, "done") for one in workers])
        begin = time.time()
        groups = (await self._run("lag")).json["groups"]
        for group in groups:
            if group["group"] == ROLE:
                parts = [*group["waiting"].values(), group["delayed"], group["leased"]]
                self.samples.append(Lagging("muster lag", (begin, time.time()), _sum(parts)))
        begin = time.time()
        self._note_shown("muster task show", begin, task, await self._run("task", "show", task))
        self.rounds += 1

    async def _run(self, *arguments: str) -> Ended:
        return await asyncio.to_thread(self._muster, *arguments, "--json")

    async def _workers(self) -> None:
        begin = time.time()
        alive = await present(self._bus.store)
        self._alive = [one for one in alive if one.role == ROLE]
        counts = [_counts(vars_of(one), "succeeded") for one in self._alive]
        self._note_ps("ps", begin, counts)
        begin = time.time()
        for row in await bound_groups(self._bus, alive):
            if row.role == ROLE:
                self.samples.append(Lagging("lag", (begin, time.time()), _lag(row)))

    async def _metrics(self) -> None:
        pages = (self._scrape(one.pid, one.health) for one in self._alive)
        await asyncio.gather(*pages)

    async def _scrape(self, pid: int, url: str) -> None:
        begin = time.time()
        try:
            page = await asyncio.to_thread(_get, f"{url}/metrics")
        except OSError:  # it has ended
            return
        window, waiting = (begin, time.time()), [0]
        found = dict.fromkeys(_COUNTS.values(), 0)
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name in _COUNTS:
                    found[_COUNTS[sample.name]] += int(sample.value)
                elif sample.name == "muster_lag_tasks" and sample.labels["group"] == ROLE:
                    waiting.append(int(sample.value))
        self.samples.append(Workers("/metrics", window, {pid: found}, whole=False))
        if len(waiting) > 1:
            self.samples.append(Lagging("/metrics", window, sum(waiting)))

    async def _show(self) -> None:
        task = self.pick()
        if task is None:
            return
        begin = time.time()
        try:
            told = await story.told(self._history, task, self._ask)
        except NotFound:
            self.samples.append(Shown("task show", (begin, time.time()), task, "unknown", False))
            return
        self._note_told("task show", begin, story.as_json(told))

    async def _ask(self, tasks: Sequence[TaskRecord]) -> Mapping[str, Gone]:
        return await missing(self._bus.store, tasks, lease=10.0)

    def _note_shown(self, by: str, begin: float, task: str, ended: Ended) -> None:
        if ended.code == 4:
            self.samples.append(Shown(by, (begin, time.time()), task, "unknown", False))
        else:
            assert ended.code == 0, ended.err
            self._note_told(by, begin, ended.json)

    def _note_told(self, by: str, begin: float, told: Mapping[str, Any]) -> None:
        for role in told["roles"]:
            shown = (told["id"], str(role["state"]), bool(role["worker_gone"]), told["behind"])
            self.samples.append(Shown(by, (begin, time.time()), *shown))

    def _note_ps(self, by: str, begin: float, workers: Sequence[tuple[int, Any]]) -> None:
        for pid, _ in workers:
            self._watch(pid)
        self.samples.append(Workers(by, (begin, time.time()), dict(workers), whole=True))

    def _watch(self, pid: int) -> None:
        """Note when a process ends, to the millisecond."""
        if pid in self._watched:
            return
        self._watched.add(pid)
        loop = asyncio.get_running_loop()
        try:
            file = os.pidfd_open(pid)
        except ProcessLookupError:
            self.died[pid] = time.time()
            return

        def ended() -> None:
            self.died[pid] = time.time()
            loop.remove_reader(file)
            os.close(file)

        loop.add_reader(file, ended)

    async def _stand_by(self) -> None:
        """Find out how late this very process was at the worst."""
        while True:
            begin = time.monotonic()
            await asyncio.sleep(0.02)
            self.late = max(self.late, time.monotonic() - begin - 0.02)


def _none() -> None:
    return None


async def _again(look: Callable[[], Awaitable[None]], every: float) -> None:
    while True:
        begin = time.monotonic()
        await look()
        await asyncio.sleep(max(0.0, begin + every - time.monotonic()))


def vars_of(one: Alive) -> dict[str, Any]:
    """What of a worker is compared."""
    return {name: getattr(one, name) for name in ("pid", "running", "succeeded", "failed")}


def _counts(one: Mapping[str, Any], done: str) -> tuple[int, dict[str, int]]:
    counts = {RUNNING: one["running"], SUCCEEDED: one[done], FAILED: one["failed"]}
    return int(one["pid"]), counts


def _lag(row: Row) -> int | None:
    return _sum([*row.waiting.values(), row.delayed, row.leased])


def _sum(parts: Sequence[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _get(url: str) -> str:
    with suppress(ValueError), urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
        return str(answer.read().decode())
    return ""
