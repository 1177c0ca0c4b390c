"""Kafka and its bus database, each killed alone; what is done is deleted, what is held stays."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from bus.backend import NORMAL, Backend, Delivery, Lane, LaneName
from bus.backends.choice import open_parts
from bus.backends.kafka import log, settle, sweep
from bus.backends.kafka.backend import KafkaBackend
from bus.backends.kafka.records import TOPIC_UNKNOWN
from bus.errors import Unreachable
from bus.opening import Terms
from contracts.clock import SystemClock
from tests.bus.backends.kafka_fleet import LEASE, connected, gather
from tests.bus.conformance.steps import ORDER, ids, task, tasks
from tests.kafka_server import KafkaServer
from tests.proxy import proxied
from tests.servers import PostgresServer

pytestmark = pytest.mark.kafka


async def settled(backend: Backend, delivery: Delivery) -> None:
    """Replace a first copy by a second one."""
    again = replace(delivery.message, copy=1, group="g")
    await backend.settle([delivery], then=[again])


async def replaced(backend: Backend, count: int) -> dict[str, int]:
    """Go on replacing first copies; how often each second copy came."""
    seen: dict[str, int] = {}
    async with asyncio.timeout(20.0):
        while len(seen) < count:
            try:
                found = await backend.pull("g", ORDER, limit=100, wait=0.5)
                first = [d for d in found if d.message.copy == 0]
                for each in found:
                    if each.message.copy:
                        seen[each.message.id] = seen.get(each.message.id, 0) + 1
                again = [replace(d.message, copy=1, group="g") for d in first]
                await backend.settle(first, then=again)
                await backend.settle([d for d in found if d.message.copy])
            except Unreachable:
                await asyncio.sleep(0.05)
    return seen


@pytest.mark.promise(10)
async def test_settling_works_while_kafka_is_away(own_kafka: Callable[[], KafkaServer]) -> None:
    """10: killed in the middle of it; also what follows is kept, and leases are renewed."""
    server = own_kafka()
    async with connected(server, "away") as (backend, _):
        await backend.publish(tasks(100))
        held = await gather(backend, 100)
        server.kill()
        for each in held[:50]:
            await settled(backend, each)
        assert await backend.extend(held[50:]) == []
        assert await backend.settle(held[50:]) == []
        server.start()
        found = await gather(backend, 50)
        assert ids(found) == ids(held[:50])
        assert {d.message.copy for d in found} == {1}


@pytest.mark.promise(9, 10)
@pytest.mark.parametrize("both", [False, True], ids=["database", "both"])
async def test_a_killed_database_loses_neither_input_nor_then(
    own_kafka: Callable[[], KafkaServer],
    happened: Callable[[str], None],
    both: bool,
) -> None:
    """10: in the middle of settles; Kafka beside it goes on, or is killed with it."""
    server = own_kafka()
    database = server.store
    async with connected(server, "killed") as (backend, _):
        await backend.publish(tasks(200))
        held = await gather(backend, 200)
        done = [asyncio.create_task(settled(backend, each)) for each in held]
        await asyncio.wait(done, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.to_thread(database.kill)
        if both:
            server.kill()
        results = await asyncio.gather(*done, return_exceptions=True)
        assert all(r is None or isinstance(r, Unreachable) for r in results)
        await asyncio.to_thread(database.start)
        if both:
            await asyncio.to_thread(server.start)
        seen = await replaced(backend, 200)
        twice = sum(count > 1 for count in seen.values())
        ended = sum(result is not None for result in results)
        happened(f"{ended} of 200 settles ended in an error; {twice} second copies came twice")


@pytest.mark.promise(16)
async def test_a_database_that_is_silent_is_noticed_and_so_is_its_return(
    kafka_server: KafkaServer, own_postgres: Callable[[], PostgresServer]
) -> None:
    """16: by who waits for a message, and by who asks whether both servers are there."""
    database = own_postgres()
    async with connected(kafka_server, "silent", database=database.url) as (backend, _):
        pull = asyncio.create_task(persisted(backend))
        await asyncio.sleep(0.2)
        database.freeze()
        async with asyncio.timeout(12.0):
            with pytest.raises(Unreachable):
                await backend.extend([])
        database.thaw()
        async with asyncio.timeout(10.0):
            await persisted_publish(backend)
            assert ids(await pull) == ["a"]


async def persisted(backend: Backend) -> list[Delivery]:
    """A pull as a worker does it."""
    while True:
        try:
            if found := await backend.pull("g", ORDER, limit=1, wait=20.0):
                return found
        except Unreachable:
            await asyncio.sleep(0.1)


async def persisted_publish(backend: Backend) -> None:
    """Publish one task, again and again."""
    while True:
        try:
            await backend.publish([task("a")])
        except Unreachable:
            await asyncio.sleep(0.05)
        else:
            return


async def first_offset(backend: KafkaBackend) -> int:
    """The oldest record there is, summed over the partitions."""
    group = (await backend._groups.current()).groups["g"]
    oldest = await log.ends(backend._link, group.topic, range(group.slots * 3), oldest=True)
    return sum(oldest.values())


@pytest.mark.promise(13, 21)
async def test_what_is_done_is_deleted_and_what_is_held_for_long_is_no_obstacle(
    kafka_server: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """13, 21: what is held keeps the log until its row has taken its message along; claims go when
    their window is over."""
    async with connected(kafka_server, "sweep") as (backend, parts):
        await backend.publish(tasks(50))
        held = sorted(await gather(backend, 50), key=lambda d: d.message.id)
        await backend.settle(held[1:])
        await backend._sweeper.sweep()
        assert await first_offset(backend) < 49
        monkeypatch.setattr(settle, "CARRY_AFTER", 0.0)
        assert await backend.extend(held[:1]) == []
        await backend._sweeper.sweep()
        assert await first_offset(backend) == 50
        monkeypatch.setattr(sweep, "WINDOW", -0.001)
        monkeypatch.setattr(sweep, "APART", 0.0)
        await backend._sweeper.sweep()
        rows = await backend._groups._database.fetch(
            "SELECT key FROM kafka_tasks JOIN kafka_groups USING (gid)"
            " WHERE fleet = $1 AND name = 'g'",
            backend._groups._database.fleet,
        )
        assert [row["key"] for row in rows] == [held[0].message.key()]
        await asyncio.sleep(LEASE)
        (back,) = await gather(backend, 1)
        assert (back.message, back.earlier) == (held[0].message, 1)
        assert (await parts.examine()).dangers == []


async def test_a_record_of_a_foreign_publisher_is_handed_out_without_an_id(
    kafka_server: KafkaServer,
) -> None:
    """It breaks no pull, and whoever reads it makes it a dead letter."""
    async with connected(kafka_server, "foreign") as (backend, _):
        builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
        builder.append(0, 0, None, b"hello", [("x", b"1")])
        group = (await backend._groups.current()).groups["g"]
        await log.append(backend._link, [(group.topic, 1, bytes(builder.build()))])
        (found,) = await gather(backend, 1)
        assert (found.message.id, found.message.body, found.message.topic) == (
            "",
            b"hello",
            TOPIC_UNKNOWN,
        )
        assert await backend.settle([found]) == []


async def test_what_somebody_deleted_from_the_log_is_handed_out_as_lost(
    kafka_server: KafkaServer,
) -> None:
    """A delivery that comes back and whose record is gone is seen by somebody; the rest goes on."""
    async with connected(kafka_server, "deleted") as (backend, _):
        await backend.publish([task("a")])
        await gather(backend, 1)
        group = (await backend._groups.current()).groups["g"]
        ends = await log.ends(backend._link, group.topic, range(group.slots * 3))
        await log.delete_below(backend._link, group.topic, ends)
        await asyncio.sleep(LEASE)
        (lost,) = await gather(backend, 1)
        assert (lost.message.id, lost.message.topic, lost.message.body) == ("a", TOPIC_UNKNOWN, b"")
        await backend.publish([task("b")])
        assert ids(await gather(backend, 1)) == ["b"]


async def test_what_is_read_but_gone_from_the_log_is_stepped_over(
    kafka_server: KafkaServer,
) -> None:
    """Nobody was handed what somebody deleted: hand-overs go on with what is there."""
    async with connected(kafka_server, "hole") as (backend, _):
        await backend.publish(tasks(10))
        group = (await backend._groups.current()).groups["g"]
        ends = await log.ends(backend._link, group.topic, range(group.slots * 3))
        await log.delete_below(backend._link, group.topic, ends)
        await backend.publish(tasks(4, "after"))
        assert ids(await gather(backend, 4)) == [f"after{n}" for n in range(4)]


@pytest.mark.promise(6)
async def test_a_message_whose_publisher_told_nobody_is_found(kafka_server: KafkaServer) -> None:
    """6: within a lease, by who waits."""
    async with connected(kafka_server, "mute") as (backend, _):
        pull = asyncio.create_task(backend.pull("g", ORDER, limit=1, wait=30.0))
        await asyncio.sleep(0.2)
        async with connected(kafka_server, "mute") as (mute, _):
            mute._bells._tell = lambda: None  # type: ignore[method-assign]
            await mute.publish([task("a")])
        async with asyncio.timeout(LEASE + 1.0):
            assert ids(await pull) == ["a"]


@pytest.mark.promise(16)
async def test_a_kafka_behind_another_address_than_it_says_is_used_there(
    kafka_server: KafkaServer,
) -> None:
    """16: the only broker of a Kafka is spoken to where it was found."""
    async with proxied(kafka_server.url) as proxy:
        terms = Terms(
            url=proxy.url,
            fleet="behind",
            clock=SystemClock(),
            lease=LEASE,
            database=kafka_server.database,
        )
        parts = await open_parts(terms)
        await parts.backend.bind("g", ["work.#"])
        assert proxy.connections >= 2
        await proxy.cut()
        with pytest.raises(Unreachable):
            await parts.backend.publish([task("a")])
        await proxy.mend()
        await parts.backend.publish([task("a")])
        assert ids(await gather(parts.backend, 1)) == ["a"]
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


@pytest.mark.promise(7, 22)
async def test_lanes_that_are_cut_anew_keep_what_waits_in_them(kafka_server: KafkaServer) -> None:
    """22: more slices are more partitions, fewer are not fewer; each process reads all of them,
    also one that is told another number."""
    sent = 0
    async with connected(kafka_server, "cut") as (whole, _):
        for slices in (4, 2, 1):
            async with connected(kafka_server, "cut", slices=slices) as (backend, _):
                for publisher in (whole, backend):
                    lanes = [Lane(NORMAL.name, number) for number in range(16)]
                    batch = [replace(task(f"t{sent + n}"), lane=lanes[n]) for n in range(16)]
                    late = [replace(m, id=f"{m.id}-late", copy=1, group="g") for m in batch]
                    await publisher.publish([*batch, *late])
                    sent += 16
        lag = await whole.lag("g")
        assert sum(each.waiting or 0 for each in lag.values()) == 2 * sent
        found: list[Delivery] = []
        async with connected(kafka_server, "cut", slices=4) as (backend, _):
            await whole.bind("g", ["work.#"])
            for number in range(3):
                turns = [Lane(name, number) for name in LaneName]
                found += await backend.pull("g", turns, limit=500, wait=0.0)
            found += await gather(whole, 2 * sent - len(found))
        names = [f"t{n}" for n in range(sent)]
        assert ids(found) == sorted([*names, *(f"{name}-late" for name in names)])


@pytest.mark.promise(18)
async def test_an_idle_member_asks_next_to_nothing(kafka_server: KafkaServer) -> None:
    """18: of either server: with a lease of 10 s, one look in that time."""
    async with connected(kafka_server, "idle") as (backend, _):
        await backend.publish([task("a")])
        await backend.settle(await gather(backend, 1))
        async with asyncio.timeout(10.0):
            while not backend._ingress.reading:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        asked: list[str] = []
        database, link = backend._groups._database, backend._link
        fetch, ask = database.fetch, link.ask

        async def counted_fetch(sql: str, *arguments: Any, sure: bool = True) -> Any:
            asked.append(sql.split(" ", 1)[0])
            return await fetch(sql, *arguments, sure=sure)

        async def counted_ask(*arguments: Any, **options: Any) -> Any:
            asked.append("kafka")
            return await ask(*arguments, **options)

        database.fetch = counted_fetch  # type: ignore[method-assign]
        link.ask = counted_ask  # type: ignore[method-assign]
        await backend._sweeper.close()
        assert await backend.pull("g", ORDER, limit=1, wait=4 * LEASE) == []
        assert len(asked) <= 2 * (4 + 2), asked


@pytest.mark.parametrize(
    "id_", ["a\x00b", "x" * 5000, "\ud800", "\n"], ids=["nul", "long", "half", "line"]
)
async def test_an_id_the_database_cannot_keep_holds_up_nobody(
    kafka_server: KafkaServer, id_: str
) -> None:
    """Handed out once, settled, and followed by a copy, as any other."""
    async with connected(kafka_server, "strange") as (backend, _):
        for _ in range(2):
            await backend.publish([task(id_), task("plain")])
        held = await gather(backend, 2)
        assert ids(held) == sorted([id_, "plain"])
        again = [replace(d.message, copy=1, group="g") for d in held]
        assert await backend.settle(held, then=again) == []
        found = await gather(backend, 2)
        assert ids(found) == sorted([id_, "plain"])
        assert await backend.settle(found) == []
        await backend.unbind("g", drop=True)


@pytest.mark.promise(22)
async def test_an_address_that_asks_for_more_partitions_gets_them(
    kafka_server: KafkaServer,
) -> None:
    """Also where nothing else of the binding is different; who asks for fewer takes none away. What
    was published before, and by one that has not heard of them, is handed out."""
    given = {"lease": 10.0}
    more = {"url": f"{kafka_server.url}?partitions=5", **given}
    async with connected(kafka_server, "grown", **given) as (old, _):
        await old.publish(tasks(40, "before"))
        async with (
            connected(kafka_server, "grown", **more),
            connected(kafka_server, "grown", **given) as (new, _),
        ):
            assert (await new._groups.current()).groups["g"].slots == 5
            await old.publish(tasks(40, "old"))
            await new.publish(tasks(40, "new"))
            found = await gather(old, 60) + await gather(new, 60)
            assert len(set(ids(found))) == 120
