"""What is written for a Kafka of one process."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Listener:
    """Where clients connect: this port of this machine, in `protocol`, told to them as `host`."""

    port: int
    protocol: str = "PLAINTEXT"
    host: str = LOOPBACK


def properties(
    data: Path, listeners: Mapping[str, Listener], *, controller: int, more: str = ""
) -> str:
    """The text of `server.properties`: `data` has its log, `controller` is the port where it speaks
    with itself, and the first of `listeners` the one for brokers. Topics say themselves how their
    log is synced. `more`: lines."""
    first = next(iter(listeners))
    bound = [f"{name}://{LOOPBACK}:{each.port}" for name, each in listeners.items()]
    told = [f"{name}://{each.host}:{each.port}" for name, each in listeners.items()]
    protocols = [f"{name}:{each.protocol}" for name, each in listeners.items()]
    return (
        _PROPERTIES.format(
            listeners=",".join([*bound, f"CONTROLLER://{LOOPBACK}:{controller}"]),
            advertised=",".join(told),
            protocols=",".join([*protocols, "CONTROLLER:PLAINTEXT"]),
            first=first,
            voter=f"1@{LOOPBACK}:{controller}",
            data=data,
        )
        + more
    )


LOGGING = """\
status = error
appender.c.type = Console
appender.c.name = C
appender.c.layout.type = PatternLayout
appender.c.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.c.ref = C
"""

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map={protocols}
inter.broker.listener.name={first}
controller.quorum.voters={voter}
log.dirs={data}
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.partitions=2
auto.create.topics.enable=false
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=1048576
"""
