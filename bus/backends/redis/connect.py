"""Opens a link: checks access, version and settings, and masks the password in what it says."""

import asyncio
import logging

from bus.backends.redis.dial import address_of, dial, masked
from bus.backends.redis.errors import Lost, Refused, denied, moved_to
from bus.backends.redis.examine import facts_of
from bus.backends.redis.facts import dangers_of
from bus.backends.redis.link import SILENCE, RedisLink
from bus.errors import AccessDenied, BusError, Unreachable, Unsafe
from bus.opening import Terms

_HOPS = 3
"""Nodes of a cluster that are asked for the fleet."""

_log = logging.getLogger(__name__)

_SAID = frozenset({"appendonly", "appendfsync", "maxmemory-policy", "replica"})
"""Dangers worth a line in the log of every process; `muster doctor` tells the others."""


async def connect(terms: Terms) -> RedisLink:
    """A link to the server at `terms.url`: `redis://[user][:password]@host[:port][/number]`, or
    `rediss://` for TLS, whose authorities are the system's or those of `SSL_CERT_FILE`.

    Raises `Unreachable` within `terms.patience` seconds, `AccessDenied` at once, `Unsafe` when the
    server lacks what a promise needs. The caller closes the link, after the backend and the
    key-value store that use it. One line in the log names each promise that a setting breaks.
    """
    address, url = address_of(terms.url, terms.name), masked(terms.url)
    link = RedisLink(
        address,
        terms.fleet,
        url=url,
        lease=terms.lease,
        slices=terms.slices,
        clock=terms.clock,
        lockouts=terms.lockouts,
    )
    try:
        async with asyncio.timeout(terms.patience):
            link.start(await dial(address, link.gone, silence=SILENCE))
            await _find(link)
            await _check(link, terms.max_bytes)
    except (OSError, Refused, Lost, TimeoutError) as error:
        await link.close()
        raise _failure(url, error) from error
    except BaseException:
        await link.close()
        raise
    return link


def _failure(url: str, error: Exception) -> BusError:
    why = str(error) or "no answer in time"
    if isinstance(error, Refused) and denied(error):
        return AccessDenied(
            f"Redis at {url} refused the credentials",
            details=why,
            actions=("check user and password in the url of the bus",),
        )
    if "CERTIFICATE_VERIFY_FAILED" in why:
        return Unreachable(
            f"the certificate of the Redis server at {url} is not trusted",
            details=why,
            actions=("name the file of its authority: SSL_CERT_FILE=/path/to/ca.pem",),
        )
    return Unreachable(
        f"no Redis server answers at {url}",
        details=why,
        actions=("start it", "check host and port in the url of the bus", "rediss:// is for TLS"),
    )


async def _find(link: RedisLink) -> None:
    """Go on to the node of a cluster that has the keys of the fleet."""
    for _ in range(_HOPS):
        try:
            await link.ask("GET", f"{link.prefix}:version", doing="looking for the fleet")
        except Unreachable as error:
            cause = error.__cause__
            if not isinstance(cause, Refused) or moved_to(cause) is None:
                raise
        else:
            return


async def _check(link: RedisLink, max_bytes: int | None) -> None:
    """Refuse a server on which a promise would be broken; say where one is in danger."""
    facts = await facts_of(link)
    if facts.old:
        raise Unsafe(
            f"the Redis server at {link.url} cannot keep the promises of the bus",
            details=f"its version is {facts.version}",
            actions=("use a Redis server from 7.0 on",),
        )
    for danger in dangers_of(facts):
        if danger.name in _SAID:
            _log.warning("promise %d: %s; %s", danger.promise, danger.said, danger.do)
    if max_bytes is not None:
        await link.ask("SET", f"{link.prefix}:limit", max_bytes, doing="setting the limit")
