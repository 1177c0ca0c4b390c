"""The roles that are timed: they do nothing but count and look at the clock."""

import json
import os
import signal
import sys
import time

from pydantic import BaseModel

from workers import Context, role


class Nothing(BaseModel):
    """A payload of the size that the raw drivers carry."""

    sent: float = 0.0
    pad: str = ""


_TASKS = int(os.environ.get("BENCH_TASKS", "0"))
"""How many tasks there are."""


class _Seen:
    count = 0


_seen = _Seen()


@role("noop", listens="bench.noop", concurrency=int(os.environ.get("BENCH_SLOTS", "100")))
async def noop(payload: Nothing, ctx: Context) -> None:
    """Count; print when the first one came, and after the last one let this process drain, which
    ends when every task is settled."""
    _seen.count += 1
    if _seen.count == 1:
        print(json.dumps({"first": time.time()}), flush=True)
    if _seen.count == _TASKS:
        os.kill(os.getpid(), signal.SIGTERM)


@role("clock", listens="bench.clock", concurrency=1)
async def clock(payload: Nothing, ctx: Context) -> None:
    """Print how long it took from the call of publish to here, in seconds."""
    sys.stdout.write(f"{time.time() - payload.sent}\n")
    sys.stdout.flush()
