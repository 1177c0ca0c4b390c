"""Asks a NATS server what it is, what time it has, and how full the fleet's streams are."""

import asyncio
from datetime import datetime
from typing import Any

from bus.backends.nats.gauge import LIMIT
from bus.backends.nats.link import NatsLink
from bus.backends.nats.streams import ensure_streams
from bus.examined import Examined

_DOING = "examining the server"

_TIMES = 3
"""Questions for the time; the quickest answer tells it best."""


async def examine(link: NatsLink) -> Examined:
    """What the server tells; makes the fleet's streams if they are not there. Raises
    `Unreachable`."""
    await ensure_streams(link)
    answers = [await _timed(link) for _ in range(_TIMES)]
    ahead, doubt, tasks = min(answers, key=lambda answer: answer[1])
    later, account = await asyncio.gather(
        link.api(f"STREAM.INFO.{link.names.later}", doing=_DOING), link.api("INFO", doing=_DOING)
    )
    most = int(account.get("limits", {}).get("max_storage", -1))
    return Examined(
        program="nats-server",
        version=link.client.server_version,
        identity=link.client.server_id,
        ahead=ahead,
        doubt=doubt,
        used=int(tasks["state"]["bytes"]) + int(later["state"]["bytes"]),
        limit=int(tasks["config"]["metadata"][LIMIT]),
        storage=most if most >= 0 else None,
        stored=int(account.get("storage", 0)),
    )


async def _timed(link: NatsLink) -> tuple[float, float, dict[str, Any]]:
    """How far the server's clock is ahead, true to the second number; and what it answered."""
    before = link.clock.wall()
    info = await link.api(f"STREAM.INFO.{link.names.tasks}", doing=_DOING)
    after = link.clock.wall()
    theirs = datetime.fromisoformat(info["ts"]).timestamp()
    return theirs - (before + after) / 2, max(0.0, after - before) / 2, info
