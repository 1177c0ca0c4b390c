"""Lines that real workers write: whose they are, whatever wrote them, and no secret in them."""

import asyncio
import json
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.clock import SystemClock
from tests.e2e.fleets import bound
from tests.processes import worker_processes
from tests.servers import NatsServer
from tests.telemetry.collector import Collector, collecting
from workers.settings import load
from workers.telemetry.masking import mask_fields, mask_line
from workers.wiring import Fleet, open_bus

TALKING = '''\
"""A role that writes lines in every way, and one that does so in a process of its own."""

import asyncio
import logging
import os

import structlog
from pydantic import BaseModel

from workers import Context, role

log = logging.getLogger("agent")
other = structlog.get_logger("agent")


class Work(BaseModel):
    word: str


async def talk(work: Work, ctx: Context) -> None:
    loop = asyncio.get_running_loop()
    ctx.log.info("by ctx", word=work.word)
    log.info("by logging %s", work.word, extra={"word": work.word})
    other.info("by structlog", word=work.word)
    await asyncio.to_thread(log.info, "by a thread", extra={"word": work.word})
    await loop.run_in_executor(None, log.warning, "by the executor " + work.word)
    await asyncio.create_task(later(work))
    try:
        raise ValueError(work.word)
    except ValueError:
        log.exception("an error")
    log.info("connected to nats://bob:" + os.environ["HUSH"] + "@127.0.0.1:1/x?y=1")
    other.info("with keys", api_key=os.environ["HUSH"], password=os.environ["HUSH"], tokens=7)


async def later(work: Work) -> None:
    log.info("by a task " + work.word)


@role("talker", listens="talk.#", concurrency=8)
async def talker(work: Work, ctx: Context) -> None:
    await talk(work, ctx)


@role("apart", listens="apart.#", isolation="process")
async def apart(work: Work, ctx: Context) -> None:
    await talk(work, ctx)
'''

LINES = 9
"""That one run writes."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of the test's own."""
    with collecting() as made:
        yield made


@pytest.fixture
def roles(tmp_path: Path) -> Path:
    """A folder with the roles `talker` and `apart`."""
    folder = tmp_path / "roles"
    folder.mkdir()
    (folder / "talking.py").write_text(TALKING, encoding="utf-8")
    return folder


def lines(folder: Path, task: str) -> list[dict[str, Any]]:
    """What was written for a task. Every line there is has to be JSON."""
    texts = [line for log in folder.glob("*.log") for line in log.read_text().splitlines()]
    return [told for told in map(json.loads, texts) if told.get("task") == task]


def written(folder: Path) -> str:
    """All that the workers wrote."""
    return "".join(log.read_text() for log in folder.glob("*.log"))


@pytest.mark.nats
@pytest.mark.slow
async def test_every_line_of_a_run_says_whose_it_is_and_tells_no_secret(
    tmp_path: Path, roles: Path, collector: Collector
) -> None:
    """By `ctx.log`, structlog and `logging`, in tasks, threads and child processes, while several
    run at once; with a broker that wants a password and a collector that refuses a token."""
    hush, token = secrets.token_hex(8), secrets.token_hex(8)
    server = NatsServer(
        tmp_path / "nats", more=f"\nauthorization {{ user: bob, password: {hush} }}\n"
    )
    server.start()
    url = server.url.replace("//", f"//bob:{hush}@")
    collector.answers = 401
    more = {
        "HUSH": hush,
        "MUSTER_LOG_LEVEL": "debug",
        "MUSTER_LOG_FORMAT": "json",
        "MUSTER_TELEMETRY_OTLP": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{token}",
    }
    try:
        with worker_processes(url, "talk", tmp_path, roles=str(roles), more=more) as workers:
            pids = [workers.start(role)[0] for role in ("talker", "apart")]
            flags = {"bus.url": url, "fleet.name": "talk"}
            bus = await open_bus(load(tmp_path, flags=flags))
            async with Fleet(bus, SystemClock()) as fleet, asyncio.timeout(20):
                await bound(fleet, "talker", "apart")
                orders = [(f"{kind}.x", {"word": f"w{n}"}) for n in range(4) for kind in KINDS]
                tasks = await fleet.publish_many(orders)
                await asyncio.gather(*(task.result() for task in tasks))
                await asyncio.to_thread(collector.until_asked)
            for pid in pids:
                workers.signal(pid, signal.SIGTERM)
                assert await asyncio.to_thread(workers.wait, pid) == 0
    finally:
        server.stop()
    assert collector.headers[0]["authorization"] == f"Bearer {token}"
    for task, (topic, payload) in zip(tasks, orders, strict=True):
        found = lines(tmp_path, task.id)
        about_it = [told for told in found if told.get("logger") != "muster.worker"]
        assert len(about_it) == LINES, [told["event"] for told in found]
        role = "talker" if topic == "talk.x" else "apart"
        assert {(told["role"], told["attempt"]) for told in found} == {(role, 1)}
        assert len({told["trace_id"] for told in found}) == 1
        assert all(len(told["span_id"]) == 16 for told in found)
        words = {told.get("word", payload["word"]) for told in found}
        assert words == {payload["word"]}
    everything = written(tmp_path)
    assert "spans cannot be sent" in everything
    assert "401" in everything
    assert hush not in everything
    assert token not in everything


KINDS = ("talk", "apart")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("to nats://bob:pw@h:1 now", "to nats://bob:***@h:1 now"),
        ("nats://token@h:1/", "nats://***@h:1/"),
        ("'nats://u:p:w@h','tls://x:y@z'", "'nats://u:***@h','tls://x:***@z'"),
        ("http://h/a@b and mail bob@h", "http://h/a@b and mail bob@h"),
        ("nothing", "nothing"),
    ],
)
def test_what_a_url_tells_of_its_user_is_masked(line: str, shown: str) -> None:
    assert mask_line(None, "info", line) == shown


def test_fields_that_are_named_like_secrets_are_masked() -> None:
    said = {
        "api_key": "a",
        "DB_PASSWORD": "b",
        "token": "c",
        "tokens": 9,
        "token_count": "d",
        "x": "e",
    }
    shown = {**said, "api_key": "***", "DB_PASSWORD": "***", "token": "***"}
    assert mask_fields(None, "info", dict(said)) == shown
