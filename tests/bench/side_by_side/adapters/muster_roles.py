"""What muster's worker runs: it counts, and lets the process drain when it has seen all, which ends
when every task is settled."""

import os
import signal

from pydantic import BaseModel

from tests.bench.side_by_side.adapters.counting import Counting
from workers import Context, role


class Nothing(BaseModel):
    """The payload that all are sent."""

    sent: float
    pad: str


_counting = Counting()


@role("noop", listens="bench.noop", concurrency=100)
async def noop(payload: Nothing, ctx: Context) -> None:
    """Count."""
    if _counting.seen():
        os.kill(os.getpid(), signal.SIGTERM)
