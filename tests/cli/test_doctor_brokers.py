"""`muster doctor` on real brokers: each setting that breaks a promise is told with the line that
mends it, and a broker that is set as it should be is in no danger."""

import asyncio
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import aiormq
import psutil
import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from bus.backends.nats.connect import connect
from bus.bus import Bus
from contracts.clock import SystemClock
from tests import brokers
from tests.cli.letters import on_bus
from tests.cli.running import Ended, Muster
from tests.kafka_server import KafkaServer
from tests.rabbitmq_server import RabbitServer, program, running
from tests.redis_server import RedisServer
from tests.servers import NatsServer, PostgresServer

pytestmark = pytest.mark.promise(1)

Lines: TypeAlias = Mapping[str, str]
"""What a check is called, and the beginning of what it says is to be done."""


def a_fleet(folder: Path, url: str, database: str | None = None) -> Muster:
    """The command on a fleet of its own, with a role that is bound and that nobody works on."""
    known = {"MUSTER_BUS_DATABASE": database} if database else {}
    name = f"doctor-{secrets.token_hex(4)}"
    return Muster(folder, MUSTER_BUS_URL=url, MUSTER_FLEET_NAME=name, **known)


def bound(muster: Muster) -> Muster:
    """It, once the role is bound."""

    async def bind(bus: Bus) -> None:
        await bus.bind("greeter", ["greeter.#"])

    on_bus(muster, bind)
    return muster


@pytest.fixture
def weak_nats(tmp_path: Path) -> Iterator[tuple[Muster, Lines]]:
    """One that syncs every two minutes, with streams that somebody has edited."""
    unsynced = f'jetstream {{ store_dir: "{tmp_path / "store"}", sync_interval: 2m }}\n'
    server = NatsServer(tmp_path / "nats", more=unsynced)
    server.start()
    muster = bound(a_fleet(tmp_path, server.url))
    fleet = muster.environment["MUSTER_FLEET_NAME"]
    muster.write("options", f"--monitor {server.monitor_url}")

    async def edited() -> None:
        link = await connect(server.url, fleet=fleet, clock=SystemClock())
        for stream, change in (
            (link.names.tasks, {"discard": "old", "max_age": 600 * 10**9, "max_msgs": 9}),
            (link.names.later, {"retention": "interest"}),
        ):
            info = await link.api(f"STREAM.INFO.{stream}", doing="asking")
            changed = {**info["config"], **change}
            await link.api(f"STREAM.UPDATE.{stream}", changed, doing="editing")
        await link.close()

    asyncio.run(edited())
    tasks = f"`nats stream edit MUSTER_{fleet}_TASKS"
    yield (
        muster,
        {
            "sync": "`jetstream { sync_interval: always }` in the server's file",
            "discard": f"{tasks} --discard new`",
            "max_age": f"{tasks} --max-age 0s`",
            "max_msgs": f"{tasks} --max-msgs=-1`",
            "retention": f"`nats stream edit MUSTER_{fleet}_LATER --retention limits`",
        },
    )
    server.stop()


@pytest.fixture
def well_nats(nats_server: NatsServer, tmp_path: Path) -> Muster:
    """One that syncs every write."""
    muster = bound(a_fleet(tmp_path, nats_server.url))
    muster.write("options", f"--monitor {nats_server.monitor_url}")
    return muster


@pytest.fixture
def weak_redis(own_redis: Callable[..., RedisServer], tmp_path: Path) -> tuple[Muster, Lines]:
    """One that syncs every second, and forgets when it is short of memory, which has no limit."""
    server = own_redis("appendfsync everysec", "maxmemory-policy allkeys-lru")
    return (
        bound(a_fleet(tmp_path, server.url)),
        {
            "appendfsync": "CONFIG SET appendfsync always; CONFIG REWRITE",
            "maxmemory-policy": "CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE",
            "maxmemory": f"CONFIG SET maxmemory {three_quarters()}mb; CONFIG REWRITE",
        },
    )


def three_quarters() -> int:
    """Mebibytes of the memory of this machine."""
    return psutil.virtual_memory().total * 3 // 4 // 2**20


@pytest.fixture
def well_redis(own_redis: Callable[..., RedisServer], tmp_path: Path) -> Muster:
    """One that syncs every write and knows how much it may hold."""
    return bound(a_fleet(tmp_path, own_redis("maxmemory 20gb").url))


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer
) -> Iterator[RabbitServer]:
    """A RabbitMQ that tells of its policies."""
    program()
    folder = tmp_path_factory.mktemp("rabbitmq")
    with (
        postgres_server.fresh_database() as url,
        running(RabbitServer(folder, postgres_server, url, management=True)) as server,
    ):
        yield server


@pytest.fixture
def well_rabbitmq(told: RabbitServer, tmp_path: Path) -> Muster:
    """One whose policies are seen."""
    url = f"{told.url}?management={told.management}"
    return bound(a_fleet(tmp_path, url, told.database))


@pytest.fixture
def weak_rabbitmq(told: RabbitServer, tmp_path: Path) -> tuple[Muster, Lines]:
    """One on which somebody has made a classic queue of our name; it does not tell of policies."""
    muster = a_fleet(tmp_path, told.url, told.database)

    async def made() -> None:
        link = await aiormq.connect(told.url)
        channel = await link.channel()
        fleet = muster.environment["MUSTER_FLEET_NAME"]
        await channel.queue_declare(f"muster.{fleet}.greeter.normal", durable=True)
        await link.close()

    asyncio.run(made())
    lines = {"queue": "delete it when it is empty, and start a worker of the role"}
    return bound(muster), lines


@pytest.fixture
def well_kafka(kafka_server: KafkaServer, tmp_path: Path) -> Muster:
    """One whose topics are as they were made."""
    return bound(a_fleet(tmp_path, kafka_server.url, kafka_server.database))


@pytest.fixture
def weak_kafka(well_kafka: Muster, kafka_server: KafkaServer) -> tuple[Muster, Lines]:
    """One whose live topic somebody has altered."""
    fleet = well_kafka.environment["MUSTER_FLEET_NAME"]
    weak = {"unclean.leader.election.enable": "true", "retention.ms": "1000", "flush.messages": "1"}

    async def altered() -> str:
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_server.url.partition("//")[2])
        await admin.start()
        found = await admin.list_topics()
        topic: str
        (topic,) = [name for name in found if name.startswith(f"muster.{fleet}.greeter.")]
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=weak)])
        await admin.close()
        return topic

    topic = asyncio.run(altered())
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config"
    return (
        well_kafka,
        {
            "unclean leader election": f"{alter} unclean.leader.election.enable=false",
            "retention": f"{alter} retention.ms=-1,retention.bytes=-1,cleanup.policy=delete",
        },
    )


UNSEEN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"rabbitmq": {"consumer_timeout": "`consumer_timeout = 1800000` in rabbitmq.conf"}}
)
"""What a broker shows no client however it is set, and the beginning of what can be done."""


def asked(muster: Muster) -> Ended:
    """What `muster doctor` says; it is well enough to work."""
    file = muster.folder / "options"
    options = file.read_text(encoding="utf-8").split() if file.exists() else []
    ended = muster("doctor", *options)
    assert ended.code == 0, ended.err
    return ended


def shown(ended: Ended, state: str) -> dict[str, str]:
    """The checks that ended so, but for those of this machine, each with what is to be done."""
    lines = ended.out.splitlines()
    heads = [(n, line[5:].partition(":")[0]) for n, line in enumerate(lines)]
    found = {
        what: next(line for line in lines[n:] if line.startswith("   do: ")).removeprefix("   do: ")
        for n, what in heads
        if lines[n].startswith(f"{state:<5}") and ": " in lines[n]
    }
    return {what: do for what, do in found.items() if what not in _ELSEWHERE}


_ELSEWHERE = frozenset({"memory", "disk", "open files", "workers"})


@pytest.mark.parametrize("name", brokers.ALONE)
def test_each_weak_setting_is_told_with_the_line_that_mends_it(
    request: pytest.FixtureRequest, name: str
) -> None:
    muster, lines = request.getfixturevalue(f"weak_{name}")
    found = shown(asked(muster), "warn")
    assert found.keys() == lines.keys()
    for what, do in lines.items():
        assert found[what].startswith(do), found


@pytest.mark.parametrize("name", brokers.ALONE)
def test_a_broker_that_is_set_as_it_should_be_is_in_no_danger(
    request: pytest.FixtureRequest, name: str
) -> None:
    ended = asked(request.getfixturevalue(f"well_{name}"))
    assert shown(ended, "warn") == {}
    assert "breaks a promise" in ended.out
    notes, unseen = shown(ended, "note"), UNSEEN.get(name, {})
    assert notes.keys() == unseen.keys()
    for what, do in unseen.items():
        assert notes[what].startswith(do), notes


@pytest.mark.rabbitmq
def test_policies_that_cannot_be_seen_are_no_policies_that_are_well(
    told: RabbitServer, tmp_path: Path
) -> None:
    """Where the management plugin does not answer it is said, with what to type."""
    port = f"?management={told.port}"
    ended = asked(bound(a_fleet(tmp_path, f"{told.url}{port}", told.database)))
    assert "note policies: policies cannot be seen: no management plugin answers at " in ended.out
    assert shown(ended, "note")["policies"].startswith(
        "`rabbitmq-plugins enable rabbitmq_management`"
    )
    assert "no setting of the broker that it shows breaks a promise" in ended.out
