"""Where a database is, as errors and logs may say it."""

from urllib.parse import parse_qs, urlsplit

from knowledge.database.errors import BadAddress

_SCHEMES = frozenset({"postgresql", "postgres"})


def described(url: str) -> str:
    """Host, port and name of the database at `url`, without user, password and options; raises
    `BadAddress`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise _bad(str(error)) from error
    if parts.scheme not in _SCHEMES:
        raise _bad(f"it begins with {parts.scheme[:20]!r}" if parts.scheme else "it has no scheme")
    host = parts.hostname or (parse_qs(parts.query).get("host") or ["localhost"])[0]
    return f"{host}{f':{port}' if port else ''}/{parts.path.lstrip('/')}"


def _bad(why: str) -> BadAddress:
    return BadAddress(
        "the address of the history database cannot be used",
        details=why,
        actions=("write it as postgresql://USER:PASSWORD@HOST:PORT/NAME",),
    )
