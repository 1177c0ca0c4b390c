"""Two versions of a role by turns, as in a rolling upgrade, by real processes."""

import asyncio
import secrets
from pathlib import Path

import pytest

from tests.brokers import Broker
from tests.e2e.fleets import bound, fleet_and_events
from tests.processes import worker_processes

VERSION = '''\
"""A version of a role."""

from typing import Any

from workers import Context, role


@role("shared", listens="{topic}", attempts=2)
async def shared(payload: dict[str, Any], ctx: Context) -> str:
    return ctx.topic
'''


@pytest.mark.slow
@pytest.mark.promise(22)
async def test_both_versions_of_a_role_are_served_while_both_live(
    broker: Broker, tmp_path: Path
) -> None:
    """22: one starts, then the other, then the first again: tasks of both are accepted and run."""
    arguments = (broker.url, f"two-{secrets.token_hex(4)}", tmp_path)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "shared.py"
        file.write_text(VERSION.format(topic=f"{name}.#"), encoding="utf-8")
    with (
        worker_processes(*arguments, roles=str(tmp_path / "old")) as old,
        worker_processes(*arguments, roles=str(tmp_path / "new")) as new,
    ):
        async with fleet_and_events(*arguments) as (fleet, _), asyncio.timeout(30):
            for count, processes in enumerate((old, new, old), 1):
                processes.start("shared")
                await bound(fleet, "shared", count=count)
                topics = ["old.x"] if count == 1 else ["old.x", "new.x"]
                tasks = [await fleet.publish(topic, {}) for topic in topics]
                assert [await task.result(10) for task in tasks] == topics
