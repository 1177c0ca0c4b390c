"""Asks a Kafka and its bus database what they are and which of their settings break a promise."""

from collections.abc import Iterator, Mapping

from bus.backends.kafka import statements, topics
from bus.backends.kafka.groups import Groups
from bus.backends.kafka.ingress import parked_tasks
from bus.backends.kafka.link import KafkaLink
from bus.database.database import BusDatabase
from bus.examined import Danger, Examined
from bus.fullness import MAX_BYTES
from contracts.clock import Clock

_DOING = "examining the brokers"

_TIMES = 3
"""Questions for the time; the quickest answer tells it best."""

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"


async def examine(link: KafkaLink, database: BusDatabase, clock: Clock) -> Examined:
    """What the servers tell. Leases go by the clock of the database. Raises `Unreachable`."""
    await link.refresh(_DOING)
    answers = [await _timed(database, clock) for _ in range(_TIMES)]
    ahead, doubt = min(answers, key=lambda answer: answer[1])
    row = (await database.fetch(statements.ROOM, database.fleet))[0]
    bound = (await Groups(database).current()).groups.values()
    settings = await topics.configured(link, [group.topic for group in bound])
    copies = await topics.copies(link, list(settings))
    return Examined(
        program="kafka",
        version=await topics.version(link),
        identity=link.cluster,
        ahead=ahead,
        doubt=doubt,
        used=int(row["used"]),
        limit=row["max_bytes"] or MAX_BYTES,
        dangers=[
            *(
                danger
                for topic, values in settings.items()
                for danger in dangers(topic, values, copies.get(topic, 0))
            ),
            *await parked_tasks(database),
        ],
    )


def dangers(topic: str, values: Mapping[str, str], copies: int) -> Iterator[Danger]:
    """What of a topic's settings breaks a promise; `copies`: replicas of its partitions."""
    alter = f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config"
    if values.get("unclean.leader.election.enable") == "true":
        yield Danger(
            name="unclean leader election",
            said=f"{topic} may be led by a replica that lacks records",
            why="what was accepted is lost when that happens",
            do=f"{alter} unclean.leader.election.enable=false",
            promise=1,
        )
    if copies > 1 and int(values.get("min.insync.replicas", "1")) < 2:
        yield Danger(
            name="min.insync.replicas",
            said=f"{topic} accepts what one of {copies} replicas has",
            why="with acks=all, too, that one may be the one that is lost",
            do=f"{alter} min.insync.replicas=2",
            promise=1,
        )
    if copies == 1 and values.get("flush.messages") != "1":
        yield Danger(
            name="one replica",
            said=f"{topic} has one replica and does not write through to the disk",
            why="a power cut takes what was accepted in the last seconds",
            do=f"{alter} flush.messages=1",
            promise=1,
        )
    if any(values.get(name, "-1") != "-1" for name in ("retention.ms", "retention.bytes")) or (
        values.get("cleanup.policy", "delete") != "delete"
    ):
        yield Danger(
            name="retention",
            said=f"Kafka deletes from {topic} by itself",
            why="a task that waits for longer is gone",
            do=f"{alter} retention.ms=-1,retention.bytes=-1,cleanup.policy=delete",
            promise=1,
        )


async def _timed(database: BusDatabase, clock: Clock) -> tuple[float, float]:
    """How far the database's clock is ahead, true to the second number."""
    before = clock.wall()
    theirs: float = await database.fetchval(_CLOCK)
    after = clock.wall()
    return theirs - (before + after) / 2, max(0.0, after - before) / 2
