"""What others do meanwhile: strange records, groups that are bound, or unbound by half."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bus.backends.kafka import log, statements, topics
from bus.errors import Unroutable
from tests.bus.backends.kafka_fleet import connected, foreign, gather
from tests.bus.conformance.steps import ORDER, ids, task, tasks
from tests.kafka_server import KafkaServer

pytestmark = pytest.mark.kafka


@pytest.mark.promise(19)
async def test_a_header_whose_name_is_no_text_holds_up_nobody(kafka_server: KafkaServer) -> None:
    """19: its record is handed out as one without an id, which becomes a dead letter, and what lies
    behind it is handed out too."""
    async with connected(kafka_server, "name") as (backend, _):
        group = (await backend._groups.current()).groups["g"]
        strange = foreign(("aX", b"1"))
        for part in range(group.slots * 3):
            await log.append(backend._link, [(group.topic, part, strange)])
        await backend.publish(tasks(20))
        found = await gather(backend, 20 + group.slots * 3)
        without = [d.message for d in found if not d.message.id]
        assert [dict(m.headers) for m in without] == [{"a\\xff": "1"}] * group.slots * 3
        assert len({d.message.id for d in found}) == 21
        assert await backend.settle(found) == []


async def topics_of(server: KafkaServer, fleet: str) -> list[str]:
    """The topics of a fleet that this Kafka has."""
    admin = AIOKafkaAdminClient(bootstrap_servers=server.url.removeprefix("kafka://"))
    await admin.start()
    try:
        found = await admin.list_topics()
    finally:
        await admin.close()
    return [topic for topic in found if topic.startswith(f"muster.{fleet}.")]


async def until_there_are(count: int, server: KafkaServer, fleet: str) -> None:
    """Return when the fleet has so many topics: Kafka goes on deleting after its answer."""
    async with asyncio.timeout(10.0):
        while len(await topics_of(server, fleet)) != count:  # noqa: ASYNC110 - it asks a server
            await asyncio.sleep(0.05)


@pytest.mark.promise(22)
async def test_an_unbind_that_was_not_ended_is_undone_by_the_next_bind(
    kafka_server: KafkaServer,
) -> None:
    """22: with the same patterns, too; publishers that saw the group close see it open again, and
    what waited for it is there."""
    async with connected(kafka_server, "halfway") as (backend, _):
        await backend.publish([task("before")])
        database = backend._groups._database
        await database.fetch(statements.CLOSING, database.fleet, "g", 1)  # and then it dies
        with pytest.raises(Unroutable):
            await backend.publish([task("meanwhile")])
        async with connected(kafka_server, "halfway"):
            await backend.publish([task("after")])
        assert ids(await gather(backend, 2)) == ["after", "before"]


@pytest.mark.promise(22)
@pytest.mark.parametrize("by", ["sweep", "unbind"])
async def test_a_topic_that_an_unbind_left_behind_is_deleted(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """22: its process died when the rows were gone and the topic was not."""

    async def dies(*_: Any) -> None:
        raise ConnectionResetError

    fleet = f"left-{by}"
    async with connected(kafka_server, fleet) as (backend, _):
        await backend.bind("h", ["more.#"])
        with monkeypatch.context() as patched:
            patched.setattr(topics, "delete", dies)
            with pytest.raises(ConnectionResetError):
                await backend.unbind("g", drop=True)
        assert len(await topics_of(kafka_server, fleet)) == 2
        if by == "sweep":
            await backend._sweeper.sweep()
        else:
            await backend.unbind("h")
        await until_there_are(1 if by == "sweep" else 0, kafka_server, fleet)


@pytest.mark.promise(1, 10)
async def test_what_follows_reaches_a_group_that_another_has_just_bound(
    kafka_server: KafkaServer,
) -> None:
    """1, 10: whatever the process that settles knew of the bindings before; also when it knew of no
    group that wants it."""
    async with (
        connected(kafka_server, "just") as (backend, _),
        connected(kafka_server, "just") as (other, _),
    ):
        await backend.publish(tasks(2))
        for number, delivery in enumerate(await gather(backend, 2)):
            await other.bind(f"late{number}", [f"late{number}.#"])
            follows = replace(task(f"follows{number}"), topic=f"late{number}.x")
            assert await backend.settle([delivery], then=[follows]) == []
            found = await other.pull(f"late{number}", ORDER, limit=1, wait=5.0)
            assert ids(found) == [f"follows{number}"]
