"""Where the bus database is, as errors may say it. Pure."""

from urllib.parse import parse_qs, urlsplit

from bus.errors import Unsafe

_SCHEMES = frozenset({"postgresql", "postgres"})


def needed(url: str | None, program: str) -> str:
    """The address of the bus database, which `program` cannot do without. Raises `Unsafe`."""
    if url:
        return url
    raise Unsafe(
        f"{program} needs the bus database, and no address is given for it",
        details="leases, delays, claims of dedupe keys and the key-value store lie in a PostgreSQL",
        actions=(
            "set bus.database to postgresql://USER:PASSWORD@HOST:PORT/NAME",
            "or set history.url: its database is taken when bus.database is not set",
        ),
    )


def described(url: str) -> str:
    """Host, port and name of the database at `url`, without user, password and options. Raises
    `Unsafe` for what is no such address."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(str(error)) from error
    if parts.scheme not in _SCHEMES:
        raise _bad(f"it begins with {parts.scheme[:20]!r}" if parts.scheme else "it has no scheme")
    host = parts.hostname or (parse_qs(parts.query).get("host") or ["localhost"])[0]
    return f"{host}{f':{port}' if port else ''}/{parts.path.lstrip('/')}"


def _bad(why: str) -> Unsafe:
    return Unsafe(
        "the address of the bus database cannot be used",
        details=why,
        actions=("write bus.database as postgresql://USER:PASSWORD@HOST:PORT/NAME",),
    )
