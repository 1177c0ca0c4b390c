"""Asking a worker process how it is, at the address where it answers probes."""

import asyncio
import urllib.error
import urllib.request
from http import HTTPStatus

from workers.fleet.seat import Seat

_PATIENCE = 2.0
"""Seconds it has to answer."""


async def hears_bus(keeper: Seat) -> bool:
    """Whether the process of `keeper` can get tasks, by its `/readyz`. One that answers no probes
    is taken to hear the bus, one that does not answer is not."""
    if not keeper.said.health:
        return True
    return await asyncio.to_thread(_is_ready, f"{keeper.said.health}/readyz")


def _is_ready(url: str) -> bool:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=_PATIENCE) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except (urllib.error.URLError, OSError):
        return False
