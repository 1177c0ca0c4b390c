"""What a shell completes: names of the fleet, at a glance or not at all.

Beside `workers.wiring` the only place that goes from settings to a broker, and apart from it
because importing what puts a whole bus together takes longer than a person waits for a word. It
never fails: what cannot be known in time is nothing.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contracts.errors import MusterError
from workers.settings import Loaded

T = TypeVar("T")

WITHIN = 0.15
"""Seconds a broker may take."""


def groups(loaded: Loaded) -> dict[str, list[str]]:
    """The patterns of every bound group."""

    def ask(url: str, fleet: str) -> dict[str, list[str]]:
        from bus.backends.nats import quick

        found = quick.entries(url, fleet, "binding/", within=WITHIN)
        patterns = {key: json.loads(value).get("patterns", []) for key, value in found.items()}
        return {key.rpartition("/")[2]: list(map(str, each)) for key, each in patterns.items()}

    return _quietly(loaded, ask, {})


def dead(loaded: Loaded) -> list[str]:
    """The ids of dead letters, each once."""

    def ask(url: str, fleet: str) -> list[str]:
        from bus.backends.nats import quick
        from bus.keyvalue.keys import last_word

        keys = quick.keys(url, fleet, "dead/", within=WITHIN)
        return sorted({last_word(key) for key in keys})

    return _quietly(loaded, ask, [])


def _quietly(loaded: Loaded, ask: Callable[[str, str], T], otherwise: T) -> T:
    given = loaded.settings.bus.url
    url = _embedded(loaded.state) if given in {None, "nats"} else given
    if url is None or not url.startswith("nats://"):
        return otherwise
    try:
        return ask(url, loaded.settings.fleet.name)
    except (OSError, ValueError, LookupError, AttributeError, TypeError, MusterError):
        return otherwise


def _embedded(state: Path) -> str | None:
    """Where the embedded server of this folder answers, if it runs."""
    from deploy import nats_server

    port = nats_server.configured_port(state / "nats" / "server.conf")
    return None if port is None else f"nats://127.0.0.1:{port}"
