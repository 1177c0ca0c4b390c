"""A worker whose memory runs out, in a real control group: it takes less and lives."""

import asyncio
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bus.keyvalue import keys
from contracts.clock import SystemClock
from tests.cli.running import Muster
from tests.servers import NatsServer
from workers.fleet.presence import Alive, present
from workers.settings import load
from workers.wiring import Fleet, open_bus

pytestmark = [pytest.mark.nats, pytest.mark.slow]

LIMIT = 400
"""MB of the control group. A worker needs about 60, and each task 21: for all 24 at once there is
not enough."""

HOARDER = '''\
"""A role whose tasks keep memory until a file says that they may end."""

import asyncio
from pathlib import Path

from workers import Context, role

END = Path(__file__).with_name("end")


@role("hoarder", listens="hoard.#", concurrency=24, attempts=5)
async def hoard(number: int, ctx: Context) -> int:
    """Keep 20 MiB."""
    kept = bytearray(b"x") * (20 * 2**20)
    while not END.exists():
        await asyncio.sleep(0.05)
    return len(kept)
'''


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a limit on memory, inside the one we are in."""
    made = _made()
    if made is None:
        pytest.skip("no control group can be made here: it takes root, or delegation")
    yield made
    made.rmdir()


def _made() -> Path | None:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    root = Path("/sys/fs/cgroup")
    for line in lines:
        _, kinds, path = line.split(":", 2)
        v1 = "memory" in kinds.split(",")
        limit = "memory.limit_in_bytes" if v1 else "memory.max"
        folder = (root / "memory" if v1 else root) / path.lstrip("/")
        if kinds and not v1:
            continue
        made = folder / f"muster-test-{secrets.token_hex(4)}"
        try:
            made.mkdir()
        except OSError:
            continue
        if (made / limit).exists():
            (made / limit).write_text(str(LIMIT * 10**6), encoding="ascii")
            return made
        made.rmdir()
    return None


def _worker(url: str, name: str, folder: Path, group: Path) -> "subprocess.Popen[bytes]":
    """In the group from its first instruction on."""
    inside = (
        f"echo $$ > {group}/cgroup.procs; exec {sys.executable} -m workers.cli.main work hoarder"
    )
    environment = {
        **os.environ,
        "MUSTER_BUS_URL": url,
        "MUSTER_FLEET_NAME": name,
        "MUSTER_ROLES": str(folder),
    }
    with (folder / "worker.log").open("ab") as log:
        return subprocess.Popen(["/bin/sh", "-c", inside], env=environment, stdout=log, stderr=log)


async def _until(fleet: Fleet, what: str, log: Path, seconds: float = 20.0) -> Alive:
    """The worker, as soon as it is under this pressure."""
    seen: list[Alive] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for _ in fleet.bus.store.watch(keys.alive("hoarder")):
                seen = await present(fleet.bus.store, "hoarder")
                for one in seen:
                    if one.pressure == what:
                        return one
    said = await asyncio.to_thread(log.read_text, encoding="utf-8")
    pytest.fail(f"not {what!r} within {seconds:g} s: {seen}; {said}")


async def _begun(fleet: Fleet, count: int) -> None:
    """Return when the worker shows that so many run, or that it starts no more."""
    async for _ in fleet.bus.store.watch(keys.alive("hoarder")):
        for one in await present(fleet.bus.store, "hoarder"):
            if one.running == count or one.pressure:
                return


async def test_a_worker_short_of_memory_takes_less_and_is_not_killed(
    nats_server: NatsServer, tmp_path: Path, group: Path
) -> None:
    """Twenty-four tasks of 21 MB, one after the other, where there is memory for sixteen."""
    name, url = f"e2e-{secrets.token_hex(4)}", nats_server.url
    (tmp_path / "hoarder.py").write_text(HOARDER, encoding="utf-8")
    worker, log = _worker(url, name, tmp_path, group), tmp_path / "worker.log"
    settings = load(tmp_path, flags={"bus.url": url, "fleet.name": name})
    try:
        bus = await open_bus(settings)
        async with Fleet(bus, SystemClock()) as fleet, asyncio.timeout(90):
            await _until(fleet, "", log)
            tasks = []
            for number in range(24):
                tasks.append(await fleet.publish("hoard.x", number))
                await _begun(fleet, number + 1)
            short = await _until(fleet, "memory", log)
            assert short.concurrency == 24
            assert short.places is not None
            assert short.places <= 8
            assert short.running < 18
            shown = await asyncio.to_thread(
                Muster(tmp_path, MUSTER_BUS_URL=url), "ps", "--fleet", name
            )
            assert re.search(r"hoarder .* \d+/24 \(memory\) ", shown.out), shown
            (tmp_path / "end").touch()
            assert [await task.result(20) for task in tasks] == [20 * 2**20] * 24
            assert (await _until(fleet, "", log, 40.0)).places == 24
        assert worker.poll() is None
        assert "because=memory" in log.read_text(encoding="utf-8")
    finally:
        worker.kill()
        worker.wait(10)
