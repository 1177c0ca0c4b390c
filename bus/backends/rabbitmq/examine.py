"""Asks a RabbitMQ and the bus database what they are, and what on them breaks a promise."""

from collections.abc import Mapping
from typing import Any

from aiormq.exceptions import ChannelPreconditionFailed

from bus.backends.rabbitmq.backend import RabbitBackend
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.management import LOSING, Told, policies
from bus.database.database import BusDatabase
from bus.examined import Danger, Examined

_TIMES = 3
"""Questions for the time; the quickest answer tells it best."""

_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_DISK = "SELECT current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'"


async def examine(link: RabbitLink, backend: RabbitBackend, database: BusDatabase) -> Examined:
    """What they tell a client; the time is the database's, which counts leases and delays. Raises
    `Unreachable`."""
    await link.ask()
    pair = await link.pair()
    await backend.gauge.look()
    told: dict[str, Any] = pair.consuming.server_properties
    ahead, doubt = min([await _timed(link, database) for _ in range(_TIMES)], key=lambda t: t[1])
    found = [_alarm()] if pair.blocked else []
    if not await database.fetchval(_DISK):
        found.append(_unsynced(database))
    classic = [queue for queue in await backend.queues() if not await _is_quorum(link, queue)]
    found += [_classic(queue) for queue in classic[:3]]
    plugin = await policies(link)
    found += [_policy(*each) for each in plugin.losing[:3]]
    return Examined(
        program="RabbitMQ",
        version=str(told.get("version", "unknown")),
        identity=str(told.get("cluster_name", link.where)),
        ahead=ahead,
        doubt=doubt,
        used=backend.gauge.used,
        limit=backend.gauge.limit,
        dangers=found,
        unseen=[_timeout(backend.lease), *([_policies(plugin)] if plugin.silent else [])],
    )


async def _timed(link: RabbitLink, database: BusDatabase) -> tuple[float, float]:
    before = link.clock.wall()
    theirs = await database.fetchval(_CLOCK)
    after = link.clock.wall()
    return float(theirs) - (before + after) / 2, max(0.0, after - before) / 2


async def _is_quorum(link: RabbitLink, queue: str) -> bool:
    """The broker refuses to declare a queue as another kind than it is."""
    async with link.channel() as channel:
        try:
            kind: dict[str, Any] = {"x-queue-type": "quorum"}
            await link.run(channel.queue_declare(queue, durable=True, arguments=kind))
        except ChannelPreconditionFailed as error:
            return "x-queue-type" not in str(error)
    return True


def _alarm() -> Danger:
    return Danger(
        name="alarm",
        said="an alarm of its memory or its disk is on",
        why="it takes no new messages until that is over",
        do="see which: `rabbitmqctl status`; then start more workers or make room",
        promise=21,
    )


def _unsynced(database: BusDatabase) -> Danger:
    return Danger(
        name="database",
        said=f"the bus database at {database.where} does not write what it commits",
        why="what waits there is lost when its machine stops",
        do="`fsync = on` and `full_page_writes = on` in postgresql.conf",
        promise=1,
    )


def _classic(queue: str) -> Danger:
    return Danger(
        name="queue",
        said=f"{queue} is no quorum queue",
        why="what it has accepted may be gone with one machine",
        do="delete it when it is empty, and start a worker of the role: it makes it anew",
        promise=1,
    )


def _policy(queue: str, policy: str, limits: Mapping[str, Any]) -> Danger:
    said = ", ".join(f"{name} {value}" for name, value in sorted(limits.items()))
    return Danger(
        name="policy",
        said=f"the policy {policy} gives {queue} {said}",
        why="messages that were accepted go without having run",
        do=f"`rabbitmqctl clear_policy {policy}`, or let its pattern not match ^muster\\.",
        promise=1,
    )


def _timeout(lease: float) -> Danger:
    """Neither clients nor the management plugin are shown it [3.10]."""
    return Danger(
        name="consumer_timeout",
        said="no client is shown consumer_timeout, which is 30 minutes unless somebody changed it",
        why=f"less than fleet.lease ({lease:g} s) takes from a worker what it runs",
        do="`consumer_timeout = 1800000` in rabbitmq.conf; what it is: `rabbitmqctl environment`",
        promise=13,
    )


def _policies(told: Told) -> Danger:
    return Danger(
        name="policies",
        said=f"policies cannot be seen: no management plugin answers at {told.at} ({told.silent})",
        why=f"one with {', '.join(sorted(LOSING))} drops what was accepted",
        do="`rabbitmq-plugins enable rabbitmq_management`, and `?management=PORT` in bus.url where"
        " that is not the usual one; or look yourself: `rabbitmqctl list_policies`",
        promise=1,
    )
