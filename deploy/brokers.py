"""The brokers that can be embedded, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from deploy.kafka_server import Kafka
from deploy.nats_server import Nats
from deploy.program import Program
from deploy.rabbitmq_server import RabbitMQ
from deploy.redis_server import Redis

NATS, REDIS, RABBITMQ, KAFKA = Nats(), Redis(), RabbitMQ(), Kafka()

BROKERS: Mapping[str, Program] = MappingProxyType(
    {each.folder: each for each in (NATS, REDIS, RABBITMQ, KAFKA)}
)
"""The first is the one of a folder whose settings name none."""
