"""Asks a RabbitMQ what it is, and whether something on it breaks a promise."""

from typing import Any

from bus.backends.rabbitmq.backend import RabbitBackend
from bus.backends.rabbitmq.link import RabbitLink
from bus.examined import Danger, Examined


async def examine(link: RabbitLink, backend: RabbitBackend) -> Examined:
    """What the server tells a client. Raises `Unreachable`."""
    await link.ask()
    pair = await link.pair()
    await backend.gauge.look()
    told: dict[str, Any] = pair.consuming.server_properties
    dangers = []
    if pair.blocked:
        dangers.append(
            Danger(
                name="alarm",
                said="an alarm of its memory or its disk is on",
                why="it takes no new messages until that is over",
                do="see which: `rabbitmqctl status`; then start more workers or make room",
                promise=21,
            )
        )
    return Examined(
        program="RabbitMQ",
        version=str(told.get("version", "unknown")),
        identity=str(told.get("cluster_name", link.where)),
        used=backend.gauge.used,
        limit=backend.gauge.limit,
        dangers=dangers,
    )
