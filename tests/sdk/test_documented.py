"""What `docs/roles.md` shows works as it stands."""

import asyncio
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contracts.outcomes import Reason
from tests.e2e.fleets import bound, fleet_and_events
from tests.processes import worker_processes
from tests.promises import ROOT
from tests.servers import NatsServer
from workers.testing import MemoryFleet

PAGE = (ROOT / "docs" / "roles.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
SCRIPT = next(block for block in BLOCKS if block.startswith("# script.py"))
ROLES = "\n".join(block for block in BLOCKS if block is not SCRIPT)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    """The names that the page defines."""
    module = ModuleType("documented_roles")
    monkeypatch.setitem(sys.modules, "documented_roles", module)
    exec(compile(ROLES, "docs/roles.md", "exec"), vars(module))  # noqa: S102 - our own page
    return vars(module)


async def test_handlers_and_outcomes(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["triage"]) as fleet:
        task = await fleet.publish("support.x", {"text": "my invoice"})
        assert await fleet.result(task) == {"queue": "billing"}
        late = await fleet.publish("support.x", {"text": "hallo", "language": "de"})
        start = fleet.clock.wall()
        assert await fleet.result(late) == {"queue": "general"}
        assert fleet.clock.wall() - start >= 60.0
        await fleet.publish("support.x", {"text": ""}, reply=False)
        await fleet.settle()
        assert [letter.reason for letter in await fleet.dead_letters()] == [Reason.REJECTED]


async def test_plain_functions(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["digest"]) as fleet:
        task = await fleet.publish("digest.x", {"text": "one two three"})
        start = fleet.clock.wall()
        assert await fleet.result(task) == 3
        assert fleet.clock.wall() - start < 1.0, "the clock waits for threads that compute"


async def test_retries(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["look"]) as fleet:
        task = await fleet.publish("look.x", "ada")
        start = fleet.clock.wall()
        assert await fleet.result(task) == "ADA"
        assert fleet.clock.wall() - start >= 90.0
        await fleet.publish("look.x", "nothing", reply=False)
        await fleet.settle()
        (letter,) = await fleet.dead_letters()
        assert (letter.reason, letter.attempts) == (Reason.REJECTED, 1)


async def test_at_most_once(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["pay"]) as fleet:
        fleet.faults.duplicate()
        task = await fleet.publish("pay.x", 7)
        assert await fleet.result(task) == "paid 7"
        await fleet.settle()
        assert (fleet.runs("payer"), await fleet.dead_letters()) == (1, [])
        await fleet.crash_worker("payer")
        again = await fleet.publish("pay.x", 8)
        assert await fleet.result(again) == "paid 8"


async def test_resources(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["greet"]) as fleet:
        task = await fleet.publish("greet.x", 7)
        assert await fleet.result(task) == "Hello, customer 7"

    class FakeDatabase:
        async def name_of(self, customer: int) -> str:
            return f"nobody like {customer}"

    stand_in = {shown["database"]: FakeDatabase()}
    async with MemoryFleet(shown["greet"], resources=stand_in) as fleet:
        task = await fleet.publish("greet.x", 7)
        assert await fleet.result(task) == "Hello, nobody like 7"


async def test_parts_of_a_result(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["tell"]) as fleet:
        reading = asyncio.create_task(shown["read"](fleet, "one two three"))
        while not reading.done():
            await fleet.advance(0.05)
        assert reading.result() == ["one", "two", "three"]


async def test_other_roles(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["edit"], shown["tell"]) as fleet:
        task = await fleet.publish("edit.x", ["one", "two"])
        assert await fleet.result(task) == ["ONE", "TWO"]
        assert (fleet.runs("editor"), fleet.runs("teller")) == (1, 2)


async def test_limits_and_processes(shown: Mapping[str, Any]) -> None:
    async with MemoryFleet(shown["scan"]) as fleet:
        start = fleet.clock.wall()
        tasks = [await fleet.publish("scan.x", "a/b") for _ in range(15)]
        assert [await fleet.result(task) for task in tasks] == [3] * 15
        assert fleet.clock.wall() - start >= 0.9, "ten a second, five at once"


@pytest.mark.nats
async def test_a_script_without_an_event_loop(nats_server: NatsServer, tmp_path: Path) -> None:
    """On a real broker with a real worker."""
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "teller.py").write_text(ROLES, encoding="utf-8")
    name = f"documented-{secrets.token_hex(4)}"
    with worker_processes(nats_server.url, name, tmp_path) as workers:
        workers.start("teller")
        async with fleet_and_events(nats_server.url, name, tmp_path) as (fleet, _):
            await bound(fleet, "teller")
        env = {"MUSTER_BUS_URL": nats_server.url, "MUSTER_FLEET_NAME": name}
        begun = time.monotonic()
        ended = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SCRIPT],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **env},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    print(f"the script took {time.monotonic() - begun:.1f} s")
    said = (ended.returncode, ended.stdout.splitlines(), ended.stderr)
    assert said == (0, ["1 one", "2 two", "3 three", "ONE TWO THREE"], "")


def test_every_part_of_the_page_is_there(shown: Mapping[str, Any]) -> None:
    """A handler for each section: an example nobody runs is no example."""
    assert len(BLOCKS) == 10
    names = {"triage", "digest", "look", "pay", "greet", "tell", "read", "edit", "scan", "database"}
    assert names <= set(shown)
