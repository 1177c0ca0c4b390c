"""NATS JetStream: topics in an interest stream, what comes later in a work-queue stream."""

from bus.backends.nats.backend import NatsBackend
from bus.backends.nats.connect import connect
from bus.backends.nats.link import NatsLink

__all__ = ["NatsBackend", "NatsLink", "connect"]
