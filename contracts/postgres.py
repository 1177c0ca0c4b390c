"""Where a PostgreSQL is, as errors and logs may say it. Pure."""

from urllib.parse import parse_qs, urlsplit

_SCHEMES = frozenset({"postgresql", "postgres"})


def described(url: str) -> str:
    """Host, port and name of the database at `url`, without user, password and options. Raises
    `ValueError` with the reason for what is no such address."""
    parts = urlsplit(url)
    port = parts.port
    if parts.scheme not in _SCHEMES:
        raise ValueError(
            f"it begins with {parts.scheme[:20]!r}" if parts.scheme else "it has no scheme"
        )
    host = parts.hostname or (parse_qs(parts.query).get("host") or ["localhost"])[0]
    return f"{host}{f':{port}' if port else ''}/{parts.path.lstrip('/')}"
