"""What `muster doctor` checks of the bus, and of the fleet on it."""

import json
import shutil
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from bus.bus import Bus
from bus.errors import BusError
from bus.examined import Danger, Examined, Route
from bus.fullness import SHARE
from bus.members import deserted, last_seen
from contracts.clock import SystemClock
from contracts.errors import MusterError
from workers import own_broker
from workers.cli import times
from workers.cli.checks import Check, State, failed
from workers.cli.errors import Deserted
from workers.cli.machine import worker_files
from workers.cli.masking import masked
from workers.fleet import listening
from workers.fleet.presence import Alive, present
from workers.settings import Loaded
from workers.wiring import bus_over, bus_url, open_parts

_SKEW = 1.0
"""Seconds two clocks may differ: what is delayed is promised within one."""

_MONITOR = 8222
"""The port under which a NATS server tells of itself, where its file says nothing else."""

_SOURCE = "/muster/doctor"


async def bus(loaded: Loaded, *, monitor: str | None) -> list[Check]:
    """Whether the bus answers and can keep its promises, and whether its groups are served.
    `monitor`: where its server tells of itself, such as http://HOST:8222."""
    try:
        url = bus_url(loaded)
        began = time.monotonic()
        clock = SystemClock()
        parts = await open_parts(loaded, clock, _SOURCE)
    except MusterError as error:
        return [failed("bus", error)]
    connection = bus_over(parts, loaded, clock, source=_SOURCE)
    try:
        broker = await parts.examine()
        took = (time.monotonic() - began) * 1000
        said = f"{broker.program} {broker.version} at {masked(url)} answers ({took:.0f} ms)"
        return [
            Check("bus", State.OK, said) if broker.route is None else _route(broker.route, took),
            *_settings(loaded, broker, url, monitor),
            _room(loaded, broker),
            _skew(broker),
            *await _fleet(connection),
        ]
    except BusError as error:
        return [failed("bus", error)]
    finally:
        await connection.close()


def _route(route: Route, took: float) -> Check:
    """Which of two buses is in use, and since when it is the second."""
    said = f"{masked(route.used)} is in use ({took:.0f} ms)"
    if not route.away:
        return Check("bus", State.OK, f"{said}, the other one answers")
    away = ", ".join(map(masked, route.away))
    if route.fallback:
        since = "" if route.since is None else f" for {times.ago(time.time() - route.since)}"
        said = f"{said}, the fallback{since}"
    why = "tasks on it wait, and no other bus is left if the one in use goes"
    do = f"start {away}; it is used again by itself"
    return Check("bus", State.WARN, f"{said}; {away} is away", do, why=why, promise=16)


async def _fleet(connection: Bus) -> list[Check]:
    workers = await present(connection.store)
    seen = await last_seen(connection.store)
    left = await listening.left(connection)
    now = time.time()
    found = [_workers(workers, now), _groups(workers, seen, now), *worker_files(workers)]
    return found + ([_left(left)] if left else [])


def _settings(loaded: Loaded, broker: Examined, url: str, monitor: str | None) -> list[Check]:
    """Whether the broker is set so that it can keep its promises, and what of that nobody sees."""
    used = url if broker.route is None else broker.route.used
    sync = [_sync(loaded, broker, used, monitor)] if broker.hides_sync else []
    found = [_setting(State.WARN, it) for it in broker.dangers]
    other, seen = "other " * broker.hides_sync, " that it shows" * bool(broker.unseen)
    well = Check("settings", State.OK, f"no {other}setting of the broker{seen} breaks a promise")
    return [*sync, *(found or [well]), *(_setting(State.NOTE, it) for it in broker.unseen)]


def _setting(state: State, danger: Danger) -> Check:
    return Check(danger.name, state, danger.said, danger.do, why=danger.why, promise=danger.promise)


def _sync(loaded: Loaded, broker: Examined, url: str, monitor: str | None) -> Check:
    """Whether what is accepted is on disk: told by the server's file, or by its monitoring."""
    server = own_broker.running(loaded)
    why = "what was accepted survives a machine that stops only if each write is synced"
    do = "`jetstream { sync_interval: always }` in the server's file"
    if server is not None:
        text = (server.folder / "server.conf").read_text(encoding="utf-8")
        always: bool | None = "sync_interval: always" in text
    else:
        always = _told_to_sync(broker, monitor or f"http://{urlsplit(url).hostname}:{_MONITOR}")
    if always:
        return Check("sync", State.OK, "the server syncs every write")
    if always is None:
        said = "a client cannot see whether it syncs every write"
        do = f"look there for {do}, or name its monitoring: `muster doctor --monitor URL`"
        return Check("sync", State.WARN, said, do, why=why, promise=1)
    do = "`muster down`, then `muster up`" if server is not None else do
    return Check("sync", State.WARN, "writes are not synced at once", do, why=why, promise=1)


def _told_to_sync(broker: Examined, monitor: str) -> bool | None:
    """What the monitoring of this very server says; None where it does not answer."""
    told = _json(f"{monitor.rstrip('/')}/jsz")
    if told is None or told.get("server_id") != broker.identity:
        return None
    return bool(told.get("config", {}).get("sync_always", False))


def _json(url: str) -> dict[str, Any] | None:
    if not url.startswith(("http://", "https://")):
        return None
    with suppress(OSError, ValueError), urllib.request.urlopen(url, timeout=1.0) as answer:  # noqa: S310
        found = json.load(answer)
        return found if isinstance(found, dict) else None
    return None


def _room(loaded: Loaded, broker: Examined) -> Check:
    """Whether the fleet has room: in its own limit, in the account, on our own disk."""
    if broker.used is None or broker.limit is None:
        return Check("room", State.OK, "the broker does not say how full it is")
    said = f"tasks fill {broker.used / 1e9:.1f} of {broker.limit / 1e9:.1f} GB"
    left = broker.limit - broker.used
    why = "a broker whose disk is full takes nothing, also no end of a task"
    if broker.used >= broker.limit * SHARE:
        why = "publishing is refused until some of it is done"
        do = "see who is behind: `muster lag`; more workers, or a higher bus.max_bytes"
        return Check("room", State.WARN, said, do, why=why, promise=21)
    if broker.storage is not None and broker.storage - (broker.stored or 0) < left:
        said += f", the account may store {broker.storage / 1e9:.1f}"
        do = "set bus.max_bytes below that, or give the account more"
        return Check("room", State.WARN, said, do, why=why, promise=21)
    if own_broker.asked(loaded) is not None:
        free = shutil.disk_usage(loaded.folder).free
        said += f", {free / 1e9:.1f} GB of this disk are free"
        if free < left:
            do = "set bus.max_bytes below what is free"
            return Check("room", State.WARN, said, do, why=why, promise=21)
    return Check("room", State.OK, said)


def _skew(broker: Examined) -> Check:
    """Whether the broker's clock agrees with ours: it counts the leases and what is due."""
    if broker.ahead is None:
        return Check("skew", State.OK, "the broker does not tell its time")
    way = "ahead of" if broker.ahead > 0 else "behind"
    said = f"the broker's clock is {abs(broker.ahead):.3f} s {way} ours (± {broker.doubt:.3f} s)"
    if abs(broker.ahead) - broker.doubt > _SKEW:
        do = "let both hosts follow one clock (NTP): `timedatectl set-ntp true`"
        why = "delayed tasks start, and deadlines pass, by two clocks"
        return Check("skew", State.WARN, said, do, why=why, promise=8)
    return Check("skew", State.OK, said)


def _groups(workers: Sequence[Alive], seen: Mapping[str, float], now: float) -> Check:
    """Whether every group that had workers has some: what is accepted for it waits."""
    gone = deserted(set(seen) - {worker.role for worker in workers}, seen, now)
    if not gone:
        return Check("groups", State.OK, f"{len(seen)} had a worker within a day")
    longest = sorted(gone, key=lambda group: -gone[group])
    said = ", ".join(f"{group} ({times.ago(gone[group])})" for group in longest)
    actions = (
        f"start one: `muster work {longest[0]}`",
        f"or retire it: `muster roles rm {longest[0]}`",
    )
    message = f"{len(gone)} of {len(seen)} groups have had no worker for a day"
    error = Deserted(message, details=said, actions=actions)
    why, do = "what is published for it waits for ever", error.lines()[2]
    said = f"no worker for a day: {said}"
    return Check("groups", State.FAIL, said, do, error, why=why, promise=22)


def _workers(workers: Sequence[Alive], now: float) -> Check:
    """Whether anybody works, and whether the clocks of other hosts agree: nobody can have renewed
    in our future."""
    if not workers:
        why = "what is published waits"
        return Check("workers", State.WARN, "nobody works", "start them: `muster up`", why=why)
    ahead = max(worker.at - now for worker in workers)
    said = f"{len(workers)} work on {len({worker.host for worker in workers})} hosts"
    if ahead > _SKEW:
        do = "let every host follow one clock (NTP): `timedatectl set-ntp true`"
        said = f"{said}; a clock is {ahead:.1f} s ahead of ours"
        why = "delays and deadlines depend on it"
        return Check("workers", State.WARN, said, do, why=why, promise=8)
    return Check("workers", State.OK, said)


def _left(groups: Sequence[str]) -> Check:
    said = f"{len(groups)} groups of listeners that were killed"
    do = "retire them: `muster task tail --for 1s`"
    why = "they collect events until the broker is full"
    return Check("listeners", State.WARN, said, do, why=why, promise=21)
