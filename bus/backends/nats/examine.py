"""Asks a NATS server what it is, what time it has, how full the fleet's streams are, and what was
changed on them that breaks a promise."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bus.backends.nats.dangers import dangers_of
from bus.backends.nats.errors import NOT_FOUND, code_of
from bus.backends.nats.gauge import LIMIT
from bus.backends.nats.link import NatsLink
from bus.backends.nats.streams import ensure_streams, stream_configs
from bus.errors import BusError
from bus.examined import Danger, Examined
from bus.fullness import MAX_BYTES
from bus.keyvalue.nats import bucket_config, ensure_bucket

_DOING = "examining the server"

_TIMES = 3
"""Questions for the time; the quickest answer tells it best."""


async def examine(link: NatsLink) -> Examined:
    """What the server tells; makes the fleet's streams if they are not there, and leaves them as
    they are if they are. Raises `Unreachable`."""
    infos = [await _info(link, config) for config in _made(link)]
    answers = [await _timed(link) for _ in range(_TIMES)]
    ahead, doubt = min(answers, key=lambda answer: answer[1])
    account = await link.api("INFO", doing=_DOING)
    tasks, later, _ = infos
    most = int(account.get("limits", {}).get("max_storage", -1))
    limit = (tasks["config"].get("metadata") or {}).get(LIMIT)
    return Examined(
        program="nats-server",
        version=link.client.server_version,
        identity=link.client.server_id,
        ahead=ahead,
        doubt=doubt,
        used=int(tasks["state"]["bytes"]) + int(later["state"]["bytes"]),
        limit=int(limit or MAX_BYTES),
        storage=most if most >= 0 else None,
        stored=int(account.get("storage", 0)),
        dangers=_dangers(link, infos),
        hides_sync=True,
    )


def _made(link: NatsLink) -> Sequence[Mapping[str, Any]]:
    """The streams as they are made: what is new, what comes back, and the store."""
    limit = link.max_bytes or MAX_BYTES
    return (*stream_configs(link.names, limit), bucket_config(link.names.bucket))


def _dangers(link: NatsLink, infos: Sequence[Mapping[str, Any]]) -> Sequence[Danger]:
    both = zip(infos, _made(link), strict=True)
    return [danger for info, made in both for danger in dangers_of(info, made)]


async def _info(link: NatsLink, config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the server says of a stream, which is made if it is not there."""
    question = f"STREAM.INFO.{config['name']}"
    try:
        return await link.api(question, doing=_DOING)
    except BusError as error:
        if code_of(error) not in NOT_FOUND:
            raise
    await asyncio.gather(ensure_streams(link), ensure_bucket(link))
    return await link.api(question, doing=_DOING)


async def _timed(link: NatsLink) -> tuple[float, float]:
    """How far the server's clock is ahead, true to the second number."""
    before = link.clock.wall()
    info = await link.api(f"STREAM.INFO.{link.names.tasks}", doing=_DOING)
    after = link.clock.wall()
    theirs = datetime.fromisoformat(info["ts"]).timestamp()
    return theirs - (before + after) / 2, max(0.0, after - before) / 2
