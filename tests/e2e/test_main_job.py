"""The main job by real processes: a brief comes, whoever is killed on the way."""

import asyncio
import secrets
from collections import Counter
from pathlib import Path

import pytest

from contracts.events import Event, Kind
from tests.documents import planted
from tests.documents.running import run
from tests.e2e.fleets import Heard, bound, fleet_and_events
from tests.processes import WorkerProcesses, worker_processes
from tests.servers import NatsServer
from workers.documents.model import Brief

pytestmark = [pytest.mark.nats, pytest.mark.slow]

SHARDS = 8


def start_all(workers: WorkerProcesses, *, coordinators: int, researchers: int) -> None:
    """One process per role, more where asked."""
    workers.start("coordinator", coordinators)
    workers.start("researcher", researchers)
    for role in ("analyst", "writer", "validator"):
        workers.start(role)


@pytest.mark.promise(12)
async def test_coordinator_and_researcher_killed_in_the_middle_give_the_same_brief(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    """Both are killed with -9 after the first researcher has ended: the brief is the one that an
    undisturbed run gives, and children that had ended are not run again."""
    folder = tmp_path / "documents"
    facts = planted.plant(folder)
    fatten(folder)
    question = " ".join(fact.question for fact in facts.facts[:3])
    expected = run(folder, question, SHARDS)
    name = f"kill-{secrets.token_hex(4)}"
    with worker_processes(nats_server.url, name, tmp_path) as workers:
        start_all(workers, coordinators=2, researchers=2)
        async with fleet_and_events(nats_server.url, name, tmp_path) as (fleet, heard):
            await bound(fleet, "coordinator", "researcher", "analyst", "writer", "validator")
            job = {"folder": str(folder), "question": question, "researchers": SHARDS}
            task = await fleet.publish("brief.request", job)
            async with asyncio.timeout(30):
                coordinator = await heard.until(
                    lambda e: e.role == "coordinator" and e.kind is Kind.STARTED
                )
                await heard.until_all(lambda: in_the_middle(heard))
            ended, working = succeeded(heard), busy_ones(heard)
            assert working, "the job was over before anybody could be killed"
            busy = working[-1]
            workers.kill(coordinator.pid)
            workers.kill(busy.pid)
            brief = Brief.model_validate(await task.result(timeout=60))
            assert brief.model_dump() == expected.model_dump()
            assert heard.starts(task.id) == 2, "the coordinator was to be run once more"
            again = Counter({child: heard.starts(child) for child in ended})
            assert set(again.values()) == {1}, f"finished children ran again: {again}"
            print(
                f"killed: coordinator {coordinator.pid}, researcher {busy.pid}; "
                f"{len(ended)} of {SHARDS} children had ended; runs of the interrupted child: "
                f"{heard.starts(busy.task)}"
            )


def in_the_middle(heard: Heard) -> bool:
    """Whether one researcher has ended and another works, or it is too late for that."""
    ended = len(succeeded(heard))
    return ended == SHARDS or bool(ended and busy_ones(heard))


def succeeded(heard: Heard) -> set[str]:
    """The researchers' tasks that have ended."""
    return {e.task for e in heard.events if e.role == "researcher" and e.kind is Kind.SUCCEEDED}


def busy_ones(heard: Heard) -> list[Event]:
    """The researchers' runs that have begun and not ended; who begins tells so after a moment."""
    ended = succeeded(heard)
    starts = (e for e in heard.events if e.role == "researcher" and e.kind is Kind.STARTED)
    return [e for e in starts if e.task not in ended]


def fatten(folder: Path) -> None:
    """Add files that take a while to read, so that the middle of the job lasts."""
    lines = "\n".join(
        f"Entry {n}: the survey of station {n % 97} found nothing of note in week {n % 52}."
        for n in range(16_000)
    )
    for number in range(SHARDS):
        (folder / f"log-{number}.txt").write_text(lines + f"\nfile {number}\n", encoding="utf-8")
