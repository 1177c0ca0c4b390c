"""Embedded servers while somebody changes his mind."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from deploy import embedded
from deploy.brokers import NATS
from deploy.program import Program
from workers.cli import services
from workers.settings import load

pytestmark = pytest.mark.nats


async def test_a_start_that_is_cancelled_leaves_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that starts one cannot be stopped: its server is ended after it has started."""
    loaded = load(tmp_path, environment={"MUSTER_HISTORY_URL": "none"})

    begun, go, start = asyncio.Event(), threading.Event(), embedded.start
    loop = asyncio.get_running_loop()

    def late(program: Program, state: Path, **options: Any) -> embedded.Embedded:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(10.0)
        return start(program, state, **options)

    monkeypatch.setattr(embedded, "start", late)

    async def run() -> None:
        async with services.running(loaded):
            raise AssertionError("it was cancelled before")

    running = asyncio.create_task(run())
    await begun.wait()
    running.cancel()
    await asyncio.wait({running}, timeout=0.2)  # long enough for one that does not wait to end
    go.set()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    await loop.shutdown_default_executor()
    assert not embedded.stop(NATS, loaded.state)
