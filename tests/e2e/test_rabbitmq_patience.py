"""Tasks that run three times as long as RabbitMQ waits for an acknowledgement."""

import asyncio
import secrets
from collections.abc import Callable
from pathlib import Path

import aiormq
import pytest

from tests.brokers import tell
from tests.e2e.fleets import bound, fleet_and_events
from tests.pains.journal import Runs, sleepers
from tests.processes import worker_processes
from tests.rabbitmq_server import RabbitServer

TIMEOUT, SECONDS, LEASE = 10.0, 30.0, 10.0

STANDING = '''

@role("standing", listens="stand.#", concurrency=1, attempts=30, timeout=3600)
async def standing(nap: Nap, ctx: Context) -> int:
    """It gives the event loop of its worker no turn."""
    write("start", ctx)
    time.sleep(nap.seconds)
    write("end", ctx)
    return ctx.fence
'''


async def refused(url: str) -> str:
    """What a client is told that acknowledges nothing."""
    link = await aiormq.connect(url)
    channel = await link.channel()
    queue = "of-somebody-else"
    await channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
    await channel.basic_publish(b"{}", routing_key=queue)
    await channel.basic_consume(queue, _held)
    await asyncio.wait([channel.closing])
    end = channel.closing.exception()
    await link.close()
    return str(end)


async def _held(message: object) -> None:
    """It is not acknowledged."""


@pytest.mark.rabbitmq
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.promise(13)
async def test_a_task_of_thirty_seconds_outlives_a_consumer_timeout_of_ten(
    own_rabbitmq: Callable[..., RabbitServer], tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """One that waits and one that blocks the event loop of its worker, each beside a worker that
    has nothing to do: begun once, ended once. Who does not acknowledge is cut off meanwhile."""
    server = own_rabbitmq(consumer_timeout=TIMEOUT)
    tell(server, tmp_path)
    roles = sleepers(tmp_path)
    with (roles / "sleeper.py").open("a", encoding="utf-8") as file:
        file.write(STANDING)
    arguments, runs = (server.url, f"patience-{secrets.token_hex(4)}", tmp_path), Runs(roles)
    with worker_processes(*arguments, lease=LEASE, roles=str(roles)) as workers:
        for role in ("sleeper", "standing"):
            workers.start(role, 2)
        async with fleet_and_events(*arguments) as (fleet, heard), asyncio.timeout(120):
            await bound(fleet, "sleeper", "standing", count=2)
            work = [(topic, {"seconds": SECONDS}) for topic in ("nap.x", "stand.x")]
            tasks = await fleet.publish_many(work)
            refusal = await refused(server.url)
            ends = await asyncio.gather(*(task.outcome(SECONDS + 60.0) for task in tasks))
            letters = [letter async for letter in fleet.bus.dead.all()]
    runs.look()
    happened(
        f"two tasks of {SECONDS:g} s at a consumer_timeout of {TIMEOUT:g} s, "
        f"where another client was told {refusal!r}"
    )
    assert "timeout" in refusal
    assert [(end.attempt, end.fence) for end in ends] == [(1, 0)] * 2
    assert [(runs.started[t.id], runs.ended[t.id]) for t in tasks] == [(1, 1)] * 2
    assert [heard.starts(task.id) for task in tasks] == [1, 1]
    assert letters == []
