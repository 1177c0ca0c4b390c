"""Whether the address of a bus can be one, before anybody is asked there."""

from urllib.parse import urlsplit

from bus.backends.choice import BACKENDS, scheme_of
from contracts.topics import near
from workers.settings import Loaded, SettingsError


def checked(url: str, loaded: Loaded) -> str:
    """`url` as it is. Raises `SettingsError` for one that no backend knows, or that leads nowhere;
    nothing of it is repeated but its scheme: what cannot be read may hold a password."""
    origin = loaded.origins.get("bus.url", "the defaults")
    scheme = scheme_of(url)
    if scheme not in BACKENDS:
        close = near(scheme, BACKENDS, limit=1)
        raise SettingsError(
            f"no bus backend for {scheme[:20] or 'no scheme'!r} in bus.url",
            details=f"from {origin}; "
            + (
                f"did you mean {close[0]}://?"
                if close
                else f"this version speaks {', '.join(f'{name}://' for name in BACKENDS)}"
            ),
            actions=("set bus.url to nats://HOST:PORT", "or leave it out for the embedded server"),
        )
    why = _wrong(url)
    if why:
        raise SettingsError(
            "the address in bus.url cannot be used",
            details=f"from {origin}: {why}",
            actions=("write it as nats://USER:PASSWORD@HOST:PORT, special characters as %XX",),
        )
    return url


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
