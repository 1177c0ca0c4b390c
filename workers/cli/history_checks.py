"""What `muster doctor` checks about the history database."""

import asyncio
import shutil
import time
from collections import Counter

from contracts.errors import MusterError
from deploy import postgres, postgres_server
from knowledge.database.looking import Server, look
from workers.cli.checks import Check, State
from workers.cli.options import Given
from workers.cli.reconciling import findings
from workers.history.address import history_url, is_embedded, kept, schema
from workers.settings import Loaded

_LOW_DISK = 1024**3
_MOST = 200
"""Unfinished tasks that are looked at, those that were silent for longest."""

_FEW_CONNECTIONS = 100
"""What a server has that nobody has set up: a fleet of some dozen processes uses them up."""


async def history(loaded: Loaded) -> list[Check]:
    """Whether the history database answers and keeps what it has committed."""
    if not kept(loaded):
        return [Check("history", State.OK, "none is kept (history.url is none)")]
    try:
        began = time.monotonic()
        server = await look(history_url(loaded), schema(loaded))
        took = (time.monotonic() - began) * 1000
    except MusterError as error:
        what, why, do = error.lines()
        return [Check("history", State.FAIL, f"{what}: {why}", do, error)]
    said = f"PostgreSQL {server.version} answers at {server.where} ({took:.0f} ms)"
    found = [Check("history", State.OK, said), _durable(server), _connections(server)]
    return [*found, _room(loaded, server)]


async def trouble(loaded: Loaded) -> MusterError | None:
    """Why history is not kept now although it should be; None if it can be."""
    if not kept(loaded):
        return None
    try:
        await look(history_url(loaded), schema(loaded))
    except MusterError as error:
        return error
    return None


def unfinished(given: Given, loaded: Loaded) -> list[Check]:
    """Whether what history says to go on is on the bus; nothing where either is away, which other
    checks say."""
    if not kept(loaded):
        return []
    try:
        found = asyncio.run(findings(given, None, _MOST))
    except MusterError:
        return []
    counts = Counter(each.verdict.value for each in found)
    if not counts:
        return [Check("unfinished", State.OK, "every task that has not ended is on the bus")]
    said = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    do = "see which, and what each means: `muster task reconcile`"
    why = "history shows them as going on"
    return [Check("unfinished", State.WARN, said, do, why=why)]


def _durable(server: Server) -> Check:
    """Whether what is committed survives a crash of the server and of its machine."""
    weak = [
        name
        for name, strong in (
            ("fsync", server.fsync),
            ("full_page_writes", server.full_page_writes),
            ("synchronous_commit", server.synchronous_commit != "off"),
        )
        if not strong
    ]
    if not weak:
        said = f"fsync is on, synchronous_commit is {server.synchronous_commit}"
        return Check("durability", State.OK, said)
    do = f"set {', '.join(weak)} to on: a crash loses history, schedules and what they owe"
    return Check("durability", State.WARN, f"{', '.join(weak)}: off", do)


def _connections(server: Server) -> Check:
    most = server.max_connections
    if most <= _FEW_CONNECTIONS:
        do = f"set max_connections to {postgres_server.MAX_CONNECTIONS} for a large fleet"
        return Check("connections", State.WARN, f"at most {most}", do)
    return Check("connections", State.OK, f"at most {most}")


def _room(loaded: Loaded, server: Server) -> Check:
    """What it fills, and where it is ours whether there is more room."""
    said = f"history fills {server.bytes / 1e6:.0f} MB"
    running = postgres.find(loaded.state) if is_embedded(loaded) else None
    if running is None:
        return Check("history disk", State.OK, said)
    free = shutil.disk_usage(running.folder).free
    said = f"{said}, {free / 1024**3:.1f} GiB are free in {running.folder}"
    if free < _LOW_DISK:
        return Check("history disk", State.WARN, said, "make room: a full disk stops history")
    return Check("history disk", State.OK, said)
