"""Taskiq: its stream broker, which acknowledges; one worker process, 100 tasks at once."""

import asyncio
from typing import Any

from taskiq_redis import RedisStreamBroker

from tests.bench.side_by_side.adapters import counting

broker = RedisStreamBroker(url=counting.URL)
_counting = counting.Counting()


@broker.task(task_name="noop")
async def noop(payload: Any) -> None:
    """Count."""
    _counting.seen()


async def _publish() -> None:
    await broker.startup()
    await counting.by_callers(noop.kiq)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(_publish())
