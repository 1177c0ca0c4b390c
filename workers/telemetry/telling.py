"""How a worker process tells what it does, handed to whatever does it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.telemetry.tally import Tenants
from workers.telemetry.tracing import NoTracing, Tracing


@dataclass(frozen=True, slots=True)
class Telling:
    """`tracing` makes spans. `tenants` are those with figures of their own. `passed_on` gives
    what a child process is told of all this (`workers.telemetry.passing`)."""

    tracing: Tracing = field(default_factory=NoTracing)
    tenants: Tenants = field(default_factory=Tenants)
    passed_on: Callable[[], Mapping[str, Any]] = dict
