"""Asks a Redis server what it is, what time it has, and how full it is."""

from typing import Any

from bus.backends.redis.errors import Refused, denied
from bus.backends.redis.facts import SETTINGS, Facts, dangers_of, info_of
from bus.backends.redis.link import RedisLink
from bus.backends.redis.parked import parked_tasks
from bus.errors import AccessDenied, Unsafe
from bus.examined import Examined
from bus.fullness import MAX_BYTES

_DOING = "examining the server"

_TIMES = 3
"""Questions for the time; the quickest answer tells it best."""


async def facts_of(link: RedisLink) -> Facts:
    """What it says of itself. What its user may not see is left out."""
    try:
        said = await link.ask("INFO", doing=_DOING)
    except AccessDenied as error:
        if not _forbidden(error):
            raise
        said = b""
    try:
        found = await link.ask("CONFIG", "GET", *SETTINGS, doing=_DOING)
    except (AccessDenied, Unsafe):
        return Facts(info_of(said), None)
    words = [word.decode() for word in found]
    return Facts(info_of(said), dict(zip(words[::2], words[1::2], strict=True)))


async def examine(link: RedisLink) -> Examined:
    """What the server tells. Raises `Unreachable`."""
    answers = [await _timed(link) for _ in range(_TIMES)]
    ahead, doubt = min(answers, key=lambda answer: answer[1])
    facts = await facts_of(link)
    prefix = link.prefix
    used = await link.ask("HVALS", f"{prefix}:used", doing=_DOING)
    limit = await link.ask("GET", f"{prefix}:limit", doing=_DOING)
    most = int(facts.info.get("maxmemory", 0))
    return Examined(
        program=facts.program,
        version=facts.version,
        identity=facts.info.get("run_id", link.url),
        ahead=ahead,
        doubt=doubt,
        used=sum(map(int, used)),
        limit=int(limit or MAX_BYTES),
        storage=most or None,
        stored=int(facts.info.get("used_memory", 0)) or None,
        dangers=[*dangers_of(facts), *await parked_tasks(link)],
    )


def _forbidden(error: AccessDenied) -> bool:
    """Whether its user is known, and may not ask this."""
    cause: Any = error.__cause__
    return isinstance(cause, Refused) and denied(cause) and cause.code == "NOPERM"


async def _timed(link: RedisLink) -> tuple[float, float]:
    """How far the server's clock is ahead, true to the second number."""
    before = link.clock.wall()
    seconds, micros = await link.ask("TIME", doing=_DOING)
    after = link.clock.wall()
    theirs = int(seconds) + int(micros) / 1e6
    return theirs - (before + after) / 2, max(0.0, after - before) / 2
