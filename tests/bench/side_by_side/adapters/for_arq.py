"""arq: 100 jobs at once in one process, no results kept."""

import asyncio
import sys
from typing import Any

from arq import create_pool, run_worker
from arq.connections import RedisSettings
from arq.worker import func

from tests.bench.side_by_side.adapters import counting

_counting = counting.Counting()


async def noop(ctx: Any, payload: Any) -> None:
    """Count."""
    _counting.seen()


class Settings:
    """Of its worker."""

    functions = (func(noop, keep_result=0),)
    redis_settings = RedisSettings.from_dsn(counting.URL)
    max_jobs = 100


async def _publish() -> None:
    pool = await create_pool(Settings.redis_settings)
    await counting.by_callers(lambda payload: pool.enqueue_job("noop", payload))
    await pool.aclose()


if __name__ == "__main__":
    if sys.argv[1:] == ["work"]:
        run_worker(Settings)
    else:
        asyncio.run(_publish())
