"""The plugin ends every test, whatever the broken thing in it does."""

from pathlib import Path

import pytest

from tests.bus.sabotage import catches
from tests.bus.sabotage.plugin import TIMED_OUT

STUBBORN = """
import asyncio

def test_spins() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def wait_for_ever() -> None:
        spinning = [asyncio.create_task(spin()) for _ in range(5)]
        await asyncio.Event().wait()

    asyncio.run(wait_for_ever())

def test_swallows_its_cancellation() -> None:
    async def stay() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                pass

    asyncio.run(stay())
"""


@pytest.mark.parametrize("test", ["test_spins", "test_swallows_its_cancellation"])
def test_a_test_that_goes_on_for_ever_is_ended(test: str, tmp_path: Path) -> None:
    """One alarm may hit a task nobody waits for, and the next one the end of the event loop."""
    file = tmp_path / "test_stubborn.py"
    file.write_text(STUBBORN)
    (end,) = catches.run_these(tmp_path, [f"{file}::{test}"], too_long=0.3).ends
    assert end.end == "crashed"
    assert end.why.startswith(TIMED_OUT)
