"""Time limits whose timers are set only for blocks that last."""

import asyncio

import pytest

from workers.engine.limit import SOON, TimeLimit, Timers


async def _limited(seconds: float, timers: Timers | None, lasts: float = 60.0) -> float:
    """How long a block lasted that was cut off."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError), TimeLimit(seconds, None, timers):
        await asyncio.sleep(lasts)
    return loop.time() - began


@pytest.mark.parametrize("seconds", [0.01, SOON, 2.5 * SOON])
async def test_a_block_is_cut_off_when_its_time_is_over(seconds: float) -> None:
    timers = Timers()
    both = await asyncio.gather(_limited(seconds, timers), _limited(seconds, None))
    assert min(both) >= seconds - 0.002


async def test_limits_that_were_entered_after_another_are_kept_too() -> None:
    timers = Timers()
    first = asyncio.create_task(_limited(3 * SOON, timers))
    await asyncio.sleep(SOON / 2)
    second = asyncio.create_task(_limited(3 * SOON, timers))
    with TimeLimit(60.0, None, timers):
        pass
    assert min(await asyncio.gather(first, second)) >= 3 * SOON - 0.002


async def test_a_block_that_ends_in_time_is_not_cut_off_later() -> None:
    timers = Timers()
    task = asyncio.current_task()
    with TimeLimit(1.5 * SOON, None, timers):
        pass
    await asyncio.sleep(2 * SOON)
    assert task is not None
    assert not task.cancelling()
