"""What all adapters share: whoever runs the tasks counts them, and tasks are published in the same
way. Standard library only: each adapter runs in the environment of its own library."""

import asyncio
import itertools
import json
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

TASKS = int(os.environ.get("BENCH_TASKS", "0"))
URL = os.environ.get("BENCH_URL", "")
PAYLOAD = {"sent": 0.0, "pad": "x" * 472}
"""500 bytes as JSON."""

CALLERS = 50
"""Publishers at the same time, where they are coroutines."""

THREADS = 8
"""The same where they are threads."""


class Counting:
    """Counts in the memory of one process; says in the file `BENCH_OUT` when the first task came
    and when the last one did."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._first = 0.0

    def seen(self) -> bool:
        """One task; True with the last. May be called from several threads."""
        number = next(self._numbers)
        if number == 1:
            self._first = time.time()
        if number == TASKS:
            out = Path(os.environ["BENCH_OUT"])
            new = out.with_suffix(".new")
            new.write_text(json.dumps({"first": self._first, "last": time.time()}))
            new.replace(out)
        return number == TASKS


def by_threads(send: Callable[[Any], object]) -> None:
    """Publish all tasks from threads, and print tasks per second."""
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(send, itertools.repeat(PAYLOAD, TASKS)):
            pass
    print(TASKS / (time.perf_counter() - start))


async def by_callers(send: Callable[[Any], Awaitable[object]]) -> None:
    """Publish all tasks from coroutines, and print tasks per second."""
    left = iter(range(TASKS))

    async def caller() -> None:
        for _ in left:
            await send(PAYLOAD)

    start = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    print(TASKS / (time.perf_counter() - start))
