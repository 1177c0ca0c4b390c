"""What lies parked beside the inlet, for a person who asks."""

from bus.backends.redis.entries import entries_of
from bus.backends.redis.link import RedisLink
from bus.backends.redis.routing import PARKED
from bus.errors import AccessDenied
from bus.examined import Danger
from bus.ingress import message_of, parked
from contracts.errors import DecodeError

_DOING = "examining the ingress"

_SHOWN = 20
"""Entries whose topics are told."""


async def parked_tasks(link: RedisLink) -> list[Danger]:
    """One, if there is something. A user who may not look is told nothing."""
    key = f"{link.prefix}{PARKED}"
    try:
        count = await link.ask("XLEN", key, doing=_DOING)
        found = await link.ask("XRANGE", key, "-", "+", "COUNT", _SHOWN, doing=_DOING)
    except AccessDenied:
        return []
    topics = []
    for entry in entries_of(found):
        try:
            topics.append(message_of(entry.headers, entry.body, place=entry.id).topic)
        except DecodeError as error:
            topics.append(error.reason)
    return list(parked(count, topics, f"redis-cli xrange '{key}' - +"))
