"""Waiting for a ring or for a clock's time, whichever comes first."""

import asyncio

from contracts.clock import Clock

Bell = asyncio.Future[None]
"""Rung once; belongs to the loop it was made in."""


def new_bell() -> Bell:
    """A bell for the running loop."""
    return asyncio.get_running_loop().create_future()


def ring(bell: Bell) -> None:
    """Wake whoever waits at `bell`; may be called from the loop of another thread."""
    loop = bell.get_loop()
    if loop is asyncio.get_running_loop():
        _ring(bell)
    else:
        loop.call_soon_threadsafe(_ring, bell)


def _ring(bell: Bell) -> None:
    if not bell.done():
        bell.set_result(None)


async def rung(bell: Bell, clock: Clock, seconds: float) -> None:
    """Return when `bell` rings, at the latest after `seconds` of `clock`."""
    if bell.done():
        return
    sleeper = asyncio.ensure_future(clock.sleep(seconds))
    try:
        await asyncio.wait({bell, sleeper}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeper.cancel()
