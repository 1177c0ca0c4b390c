"""What processes of a fleet tell of themselves, as its settings say."""

import time
from dataclasses import dataclass

from bus.backends.choice import BACKENDS, scheme_of
from contracts.clock import Clock
from contracts.ids import new_id
from workers.engine.identity import Identity
from workers.own_broker import asked
from workers.settings import Loaded
from workers.telemetry.opening import open_client_tracing, open_tracing, resource
from workers.telemetry.passing import PassedOn
from workers.telemetry.scraping import Scraping
from workers.telemetry.tally import Tenants
from workers.telemetry.telling import Telling
from workers.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Reporting:
    """`telling` is handed to what works, `scraping` serves `/metrics`."""

    telling: Telling
    scraping: Scraping

    @classmethod
    def of_worker(cls, loaded: Loaded, who: Identity, clock: Clock) -> "Reporting":
        """Of a worker process, whose roles are imported. Raises what `open_tracing` does."""
        settings, system = loaded.settings, _system(loaded)
        named = resource(settings.fleet.name, who.name)
        tracing = open_tracing(settings.telemetry, system, named)
        passed_on = PassedOn(settings.log, settings.telemetry, system, named, tracing)
        return cls(
            Telling(tracing, Tenants(settings.telemetry.tenants), passed_on),
            Scraping(clock, _shown(loaded, who), tracing.counts),
        )


def service_scraping(loaded: Loaded, who: Identity, clock: Clock) -> Scraping:
    """The figures of a process that runs no handler."""
    return Scraping(clock, _shown(loaded, who))


def _shown(loaded: Loaded, who: Identity) -> dict[str, str]:
    named = {"worker": who.name, "host": who.host, "pid": str(who.pid)}
    return {"fleet": loaded.settings.fleet.name, **named}


def client_tracing(loaded: Loaded) -> Tracing:
    """The spans of whoever publishes to this fleet."""
    settings = loaded.settings
    who = resource(settings.fleet.name, new_id(time.time()))
    return open_client_tracing(settings.telemetry, _system(loaded), who)


def _system(loaded: Loaded) -> str:
    """The broker as traces name it."""
    own = asked(loaded)
    scheme = own.scheme if own else scheme_of(loaded.settings.bus.url or "")
    return BACKENDS[scheme].name if scheme in BACKENDS else scheme
