"""Whether the address of a bus can be one, before anybody is asked there."""

from urllib.parse import urlsplit

from bus.backends.choice import BACKENDS, scheme_of
from contracts.topics import near
from deploy.brokers import BROKERS
from workers.own_broker import asked
from workers.settings import Loaded, SettingsError


def checked(url: str, loaded: Loaded, setting: str = "bus.url") -> str:
    """`url`, of `setting`, as it is. Raises `SettingsError` for one that no backend knows, or that
    leads nowhere; nothing of it is repeated but its scheme: what cannot be read may hold a
    password."""
    origin = loaded.origins.get(setting, "the defaults")
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        raise SettingsError(
            f"no bus backend for {scheme[:20] or 'no scheme'!r} in {setting}",
            details=f"from {origin}; {_meant(scheme, url)}",
            actions=(f"set {setting} to nats://HOST:PORT", _or_else(setting)),
        )
    why = _wrong(url)
    if why:
        raise SettingsError(
            f"the address in {setting} cannot be used",
            details=f"from {origin}: {why}",
            actions=("write it as nats://USER:PASSWORD@HOST:PORT, special characters as %XX",),
        )
    return url


def fallback_url(loaded: Loaded) -> str | None:
    """The second bus of this fleet, if it has one. Raises `SettingsError`."""
    url = loaded.settings.bus.fallback
    if url is None:
        return None
    checked(url, loaded, "bus.fallback")
    own = asked(loaded)
    first = own.scheme if own else scheme_of(loaded.settings.bus.url or "")
    if all(BACKENDS[scheme].needs_database for scheme in (first, scheme_of(url))):
        raise SettingsError(
            "both buses of this fleet would lean on the same database",
            details=f"from {loaded.origins.get('bus.fallback', 'the defaults')}: "
            f"{first} and {scheme_of(url)} keep their leases in it",
            actions=("set bus.fallback to a NATS or Redis server",),
        )
    return url


def without_database(loaded: Loaded) -> SettingsError:
    """The error for two buses without what tells their messages apart."""
    return SettingsError(
        "a fleet with two buses needs the bus database",
        details=f"bus.fallback, from {loaded.origins.get('bus.fallback', 'the defaults')}, is set; "
        "neither bus.database nor history.url is, and no PostgreSQL runs here",
        actions=("set bus.database to postgresql://USER:PASSWORD@HOST:PORT/NAME",),
    )


def _or_else(setting: str) -> str:
    """What can be there beside an address."""
    names = ", ".join(BROKERS)
    return f"or to {names} for an embedded server" if setting == "bus.url" else "or leave it out"


def _meant(scheme: str, url: str) -> str:
    """What it is like: of one without a scheme only what it may be is told."""
    if scheme:
        close = near(scheme, BACKENDS, limit=1)
        known = f"this version speaks {', '.join(f'{name}://' for name in BACKENDS)}"
        return f"did you mean {close[0]}://?" if close else known
    close = near(url.lower(), BROKERS, limit=1)
    return f"did you mean {close[0]}?" if close else "it is neither an address nor a broker's name"


def _wrong(url: str) -> str:
    try:
        parts = urlsplit(url)
        several = (
            parts.netloc.rpartition("@")[2].split(",")
            if BACKENDS[scheme_of(url)].many_hosts
            else ()
        )
        hosts = [urlsplit(f"//{host}") for host in several] or [parts]
        if any(host.port == 0 for host in hosts):
            return "its port is 0"
    except ValueError:
        return "its port is no number from 1 to 65535, or its host cannot be read"
    return "" if all(host.hostname for host in hosts) else "it names no host"
