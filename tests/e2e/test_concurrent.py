"""Many tasks that wait run at the same time, in few processes."""

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.thousand import Load, measure
from tests.forms import form
from tests.servers import NatsServer


@pytest.mark.nats
@pytest.mark.slow
@pytest.mark.long(180)
async def test_every_place_of_every_process_is_taken_at_the_same_time(
    nats_server: NatsServer, tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """By the handlers' own count. Short: 500 at once; long: a thousand in four processes, for ten
    times as long as each of them takes."""
    load = form(Load(2, 250, 1_000, 1.0), Load())
    found = await measure(nats_server, f"many-{secrets.token_hex(4)}", tmp_path, load)
    happened(
        f"{load.processes} processes of {load.places} places: {found.most} tasks at once, for "
        f"{found.lasted(load.at_once):.1f} of {found.took:.1f} s; {found.done / found.took:.0f} "
        f"tasks/s, each waiting {load.seconds:g} s; {max(found.resident):.0f} MiB a process; "
        f"an event loop late by {max(found.late):.3f} s at most"
    )
    assert (found.done, found.most) == (load.tasks, load.at_once)
