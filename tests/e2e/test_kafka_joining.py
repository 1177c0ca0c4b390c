"""Long tasks on Kafka while workers come and go and partitions are added."""

import asyncio
import secrets
import signal
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.brokers import tell
from tests.e2e.fleets import bound, fleet_and_events
from tests.kafka_server import KafkaServer
from tests.pains.journal import Runs, sleepers
from tests.processes import worker_processes
from workers.wiring import Fleet

SECONDS, LEASE, LONG = 30.0, 2.0, 3

_PAUSE = 3.0
"""Seconds between one pair of workers and the next."""

QUICK = [("nap.x", {"seconds": 0.02})] * 10


async def asked(server: KafkaServer, fleet: str) -> tuple[list[tuple[object, ...]], int]:
    """The consumer groups that Kafka knows, and how many partitions the role's topic has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server.url.removeprefix("kafka://"))
    await admin.start()
    try:
        names = await admin.list_topics()
        topics = [name for name in names if name.startswith(f"muster.{fleet}.sleeper.")]
        (topic,) = await admin.describe_topics(topics)
        return await admin.list_consumer_groups(), len(topic["partitions"])
    finally:
        await admin.close()


async def worked(fleet: Fleet, runs: Runs, pids: list[int]) -> None:
    """Publish and wait for the ends, until each of these workers has had something to do."""
    while not set(pids) <= {run.pid for run in runs.look().all}:
        tasks = await fleet.publish_many(QUICK)
        await asyncio.gather(*(task.result(20) for task in tasks))


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.promise(12, 13)
async def test_workers_that_come_and_go_disturb_no_task_of_thirty_seconds(
    own_kafka: Callable[[], KafkaServer], tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """Two join at a time, with more partitions than the last ones knew; then one leaves and one is
    killed. There is no consumer group whose poll could come too late, or that could rebalance."""
    server, name, roles = own_kafka(), f"joining-{secrets.token_hex(4)}", sleepers(tmp_path)
    tell(server, tmp_path)
    runs, grown = Runs(roles), growing(server)
    with worker_processes(server.url, name, tmp_path, lease=LEASE, roles=str(roles)) as workers:
        workers.start("sleeper")
        async with fleet_and_events(server.url, name, tmp_path) as (fleet, _):
            async with asyncio.timeout(120):
                await bound(fleet, "sleeper")
                tasks = await fleet.publish_many([("nap.x", {"seconds": SECONDS})] * LONG)
                ends = asyncio.gather(*(task.outcome(SECONDS + 60.0) for task in tasks))
                _, before = await asked(server, name)
                joined = 0
                while not ends.done():
                    given = (next(grown), name, tmp_path)
                    with worker_processes(*given, lease=LEASE, roles=str(roles)) as more:
                        pids = more.start("sleeper", 2)
                        await worked(fleet, runs, pids)
                        more.signal(pids[0], signal.SIGTERM)
                        assert await asyncio.to_thread(more.wait, pids[0]) == 0
                    joined += 2
                    await asyncio.wait([ends], timeout=_PAUSE)
            found = await ends
        groups, after = await asked(server, name)
    happened(
        f"{LONG} tasks of {SECONDS:g} s at a lease of {LEASE:g} s: {joined} workers came and went, "
        f"partitions from {before} to {after}, consumer groups {groups}"
    )
    assert [(end.attempt, end.fence) for end in found] == [(1, 0)] * LONG
    assert [(runs.look().started[t.id], runs.ended[t.id]) for t in tasks] == [(1, 1)] * LONG
    assert joined >= 4
    assert after > before
    assert groups == []


def growing(server: KafkaServer) -> Iterator[str]:
    """Addresses, each of which asks for more partitions."""
    return (f"{server.url}?partitions={number}" for number in count(3))
