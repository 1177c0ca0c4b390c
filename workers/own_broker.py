"""The broker that a folder has to itself: which one the settings ask for, and where it runs."""

from bus.backends.choice import BACKENDS
from deploy import embedded
from deploy.brokers import BROKERS, NATS
from deploy.embedded import Embedded
from deploy.program import Program
from workers.settings import Loaded


def asked(loaded: Loaded) -> Program | None:
    """The one that the settings leave to us: named by `bus.url`, NATS without one; None where
    `bus.url` is the address of another."""
    url = loaded.settings.bus.url
    return NATS if url is None else BROKERS.get(url)


def running(loaded: Loaded) -> Embedded | None:
    """That one if it runs; where none is named, any that runs in this folder."""
    first = asked(loaded)
    if first is None:
        return None
    others = BROKERS.values() if loaded.settings.bus.url is None else ()
    programs = dict.fromkeys((first, *others))
    return next((found for p in programs if (found := embedded.find(p, loaded.state))), None)


def needs_database(program: Program) -> bool:
    """Whether a bus database lies beside it."""
    return BACKENDS[program.scheme].needs_database
