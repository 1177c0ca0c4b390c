"""Opens a link: checks access, version and limits, and masks the password in what it says."""

import asyncio
import logging
from urllib.parse import urlsplit, urlunsplit

import nats.errors

from bus.backends.nats.client import NatsClient
from bus.backends.nats.errors import denied, refuses_login
from bus.backends.nats.link import NatsLink
from bus.backends.nats.names import names_of
from bus.errors import AccessDenied, BusError, Unreachable, Unsafe
from bus.keyvalue.protocol import MAX_VALUE
from bus.lockout import Lockouts
from contracts.clock import Clock

_OLDEST = (2, 12)
"""The first server with atomic batches, message TTL and message schedules."""

_RECONNECT_EVERY = 0.25
_REFUSED_EVERY = 1.0
"""Seconds between two tries to connect, and where the server refuses the login."""

_NEVER = 86_400
"""Seconds between the client library's own pings: `Keepalive` asks, sooner and less often."""

_ROOM = MAX_VALUE + 32 * 1024
"""Bytes of the largest message sent: a key-value entry or a body with all its headers."""

_log = logging.getLogger(__name__)


async def connect(
    url: str,
    *,
    fleet: str,
    lease: float = 10.0,
    slices: int = 1,
    clock: Clock,
    name: str = "muster",
    connect_timeout: float = 5.0,
    max_bytes: int | None = None,
    lockouts: Lockouts | None = None,
) -> NatsLink:
    """A link to the server at `url` (nats:// or tls://, with user:password@ or token@).
    `max_bytes`: what the fleet's tasks may fill there; None leaves that as it is. `slices`: how
    many parts its lanes have (`Binder`). `lockouts`: see `Terms`.

    Raises `Unreachable` within `connect_timeout` seconds, `AccessDenied` at once, `Unsafe` when
    the server lacks what a promise needs. The caller closes the link, after the backend and the
    key-value store that use it. It reconnects for ever, also where nothing comes for 5 s.

    Promise 1 needs `sync_interval: always` on the server. A client cannot see that setting (it
    is in no answer of the JetStream API; the monitoring port tells it as `config.sync_always` of
    `/jsz`): checking it is for `muster doctor`.
    """
    names = names_of(fleet)
    client = NatsClient()
    said: list[Exception] = []
    link = NatsLink(client, names, url=masked(url), lease=lease, clock=clock, lockouts=lockouts)
    link.slices, link.max_bytes = slices, max_bytes
    try:
        async with asyncio.timeout(connect_timeout):
            await _open(link, url, name, connect_timeout, said)
    except (OSError, nats.errors.Error, TimeoutError, ValueError) as error:
        await client.abandon()
        raise _failure(masked(url), error, said) from error
    except BaseException:
        await client.abandon()
        raise
    await _check_or_close(link)
    return link


async def _open(
    link: NatsLink, url: str, name: str, patience: float, said: list[Exception]
) -> None:
    client = link.client

    async def on_error(error: Exception) -> None:
        said.append(error)
        del said[:-5]
        _log.debug("NATS: %s", error)
        if client.options["allow_reconnect"] and refuses_login(str(error)):
            client.options["reconnect_time_wait"] = _REFUSED_EVERY
            link.on_refused(str(error))

    async def on_back() -> None:
        client.options["reconnect_time_wait"] = _RECONNECT_EVERY
        await link.on_back()

    await client.connect(
        url,
        name=name,
        error_cb=on_error,
        disconnected_cb=link.on_lost,
        reconnected_cb=on_back,
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=_RECONNECT_EVERY,  # type: ignore[arg-type]  # it sleeps so long
        connect_timeout=patience,  # type: ignore[arg-type]
        ping_interval=_NEVER,
        pending_size=0,
    )
    client.options["allow_reconnect"] = True
    client.options["max_reconnect_attempts"] = -1
    client.options["connect_timeout"] = 2.0
    link.start()


def _failure(url: str, error: Exception, said: list[Exception]) -> BusError:
    texts = [str(e) or type(e).__name__ for e in (error, *said)]
    if any(denied(text) for text in texts):
        return AccessDenied(
            f"NATS at {url} refused the credentials",
            details=next(text for text in texts if denied(text)),
            actions=("check user, password or token in the url of the bus",),
        )
    why = next((str(e) for e in reversed(said) if str(e)), texts[0])
    if any("CERTIFICATE_VERIFY_FAILED" in text for text in texts):
        return Unreachable(
            f"the certificate of the NATS server at {url} is not trusted",
            details=next(text for text in texts if "CERTIFICATE_VERIFY_FAILED" in text),
            actions=("name the file of its authority: SSL_CERT_FILE=/path/to/ca.pem",),
        )
    return Unreachable(
        f"no NATS server answers at {url}",
        details=why,
        actions=("start it (`muster up`)", "check host and port in the url of the bus"),
    )


async def _check_or_close(link: NatsLink) -> None:
    try:
        await _check(link)
    except BaseException:
        await link.close()
        raise


async def _check(link: NatsLink) -> None:
    """Refuse a server on which a promise would be broken."""
    client = link.client
    version = client.connected_server_version
    if (version.major, version.minor) < _OLDEST:
        raise _unsafe(link, f"its version is {version}", "use a NATS server from 2.12 on")
    if client.max_payload < _ROOM:
        why = f"max_payload is {client.max_payload:,} bytes, {_ROOM:,} are needed"
        raise _unsafe(link, why, "set max_payload: 1MB on the server")
    try:
        await link.api("INFO", doing="asking for JetStream")
    except Unreachable as error:
        why = f"JetStream is not there: {error.details}"
        raise _unsafe(link, why, "start it with JetStream: `jetstream {}` in its file") from error


def _unsafe(link: NatsLink, why: str, action: str) -> Unsafe:
    return Unsafe(
        f"the NATS server at {link.url} cannot keep the promises of the bus",
        details=why,
        actions=(action,),
    )


def masked(url: str) -> str:
    """`url` without its password or token."""
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    if "@" not in parts.netloc:
        return url
    credentials, _, host = parts.netloc.rpartition("@")
    user, colon, _ = credentials.partition(":")
    shown = f"{user}:***" if colon else "***"
    return urlunsplit(parts._replace(netloc=f"{shown}@{host}"))
