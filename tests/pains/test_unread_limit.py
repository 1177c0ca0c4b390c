"""Pain 15: what is told fills the broker while nobody records. Here less is told then, which is
counted, and every end is."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.unread import LIMIT
from contracts.topics import RECORDER
from tests.brokers import Broker
from tests.forms import form
from tests.pains.remembering import counted, remembering, scraped, stories
from tests.processes import MUSTER

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

TELLER = '''\
"""A role that tells how far it is, and gives back what it was given."""

import asyncio

from workers import Context, role


@role("teller", listens="tell.#", concurrency=100)
async def tell(payload: str, ctx: Context) -> str:
    await ctx.progress(0.5, "half way")
    await asyncio.sleep(0.4)  # longer than the bus waits before it tells a start by itself
    return payload
'''

AT_ONCE = form(40, 100)
"""Tasks: what they tell fills less than what lies between the limit of progress and of starts."""

UNREAD = form(600_000, LIMIT)
"""Bytes of unread events from which on less is told."""


@pytest.mark.long(600)
@pytest.mark.promise(24)
async def test_too_much_unread_leaves_out_what_happened_on_the_way_and_never_an_end(
    broker: Broker, history_url: str, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Nobody records. Past the limit progress is not told, past half as much again no start; what
    is left out is counted, to the last one. Every end comes into history. Long: the limit is the
    real one, 1 GiB."""
    name, roles, size = f"unread-{secrets.token_hex(4)}", tmp_path / "roles", form(500, 30_000)
    roles.mkdir()
    (roles / "teller.py").write_text(TELLER, encoding="utf-8")
    by = form(("tests.pains.sparing", str(UNREAD)), MUSTER)
    async with remembering(broker, history_url, name, tmp_path, roles=roles) as it:
        it.workers.start("teller", by=by)
        (worker,) = await it.seen("teller")
        tasks, left_out, before = 0, 0, 0
        async with asyncio.timeout(form(100, 500)):
            while left_out - before < 2 * AT_ONCE:  # until all of them lose starts and progress
                calls = [("tell.x", "x" * size)] * AT_ONCE
                ended = [task.result() for task in await it.fleet.publish_many(calls)]
                await asyncio.gather(*ended)
                tasks += len(calls)
                before, left_out = left_out, await left_untold(worker.health)
            it.workers.start(RECORDER)
            await it.seen(RECORDER)
            await it.read(form(30.0, 300.0))
        async with it.history() as history:
            kinds, (usage,) = await counted(history), (await history.usage(by=())).found
            whole = [set(runs) == {"succeeded"} for runs in (await stories(history)).ran.values()]
    missing = 2 * tasks - kinds["progress"] - kinds["started"]
    happened(
        f"nobody recorded: of {tasks} tasks {kinds['succeeded']} ends, {kinds['started']} starts, "
        f"{kinds['progress']} progress told; {left_out} events left out and counted, {missing} "
        f"missing in history"
    )
    assert whole == [True] * tasks
    assert (kinds["published"], kinds["succeeded"], usage.succeeded) == (tasks,) * 3
    assert kinds["progress"] < kinds["started"] < tasks
    assert left_out == missing


async def left_untold(url: str) -> int:
    """Events that a worker did not tell because too much is unread."""
    name, why = "muster_events_untold_total", {"because": "unread"}
    (found,) = [s.value for s in await scraped(url) if s.name == name and s.labels == why]
    return int(found)
