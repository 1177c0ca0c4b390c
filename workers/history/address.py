"""Which database keeps the history of a fleet."""

from deploy import postgres
from workers.history.settings import NONE
from workers.own_broker import asked, needs_database
from workers.settings import Loaded, SettingsError


def kept(loaded: Loaded) -> bool:
    """Whether this fleet keeps a history."""
    return loaded.settings.history.url != NONE


def expected(loaded: Loaded) -> bool:
    """Whether events are to be kept for a recorder: one is named, or there was an embedded one in
    this folder. A fleet that never had any must not fill its broker with what nobody reads."""
    if not kept(loaded):
        return False
    return not is_embedded(loaded) or postgres.exists(loaded.state)


def is_embedded(loaded: Loaded) -> bool:
    """Whether its database is the embedded one of its folder."""
    return loaded.settings.history.url is None


def history_url(loaded: Loaded) -> str:
    """The history database of this fleet: the configured one, else the embedded one if it runs.

    Raises `Unreachable` where none runs, `SettingsError` where none is kept.
    """
    url = loaded.settings.history.url
    if not kept(loaded):
        origin = loaded.origins.get("history.url", "the defaults")
        raise SettingsError(
            "this fleet keeps no history",
            details=f"from {origin}: history.url is none",
            actions=("leave history.url out for the embedded PostgreSQL", "or name a database"),
        )
    if url is not None:
        return url
    running = postgres.find(loaded.state)
    if running is None:
        from knowledge.database.errors import Unreachable  # brings the client of the database

        raise Unreachable(
            "no history database is running here",
            details=f"history.url is not set, and no embedded server runs in {loaded.state}",
            actions=("start it: `muster up`", "or set MUSTER_HISTORY_URL"),
        )
    return running.url


def bus_database_url(loaded: Loaded) -> str | None:
    """The database beside a broker that needs one: its own, else that of history, configured or
    running here; beside an embedded broker one runs here also where no history is kept. None where
    there is none."""
    settings = loaded.settings
    if settings.bus.database is not None:
        return settings.bus.database
    if not kept(loaded) and asked(loaded) is None:
        return None
    if kept(loaded) and not is_embedded(loaded):
        return settings.history.url
    running = postgres.find(loaded.state)
    return None if running is None else running.url


def database_is_embedded(loaded: Loaded) -> bool:
    """Whether a PostgreSQL of this folder is needed: for history, or beside its own broker."""
    own = asked(loaded)
    beside = own is not None and needs_database(own) and loaded.settings.bus.database is None
    return is_embedded(loaded) or (beside and not kept(loaded))


def schema(loaded: Loaded) -> str:
    """The schema that holds what is this fleet's: several may share one database."""
    return f"muster_{loaded.settings.fleet.name}"
