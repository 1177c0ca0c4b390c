"""Secrets as they may be shown."""

from urllib.parse import urlsplit, urlunsplit

_HARMLESS = frozenset({"host", "port", "dbname", "sslmode"})
"""Parts of a query that say where a database is, not who may use it."""


def masked(url: str) -> str:
    """`url` without its password or token, and without the values of its query, of which only
    those that say where it leads are shown."""
    if "://" not in url:
        return url if url.isalnum() else "***"
    try:
        parts = urlsplit(url)
    except ValueError:
        return "***"
    if "@" in f"{parts.path}{parts.query}{parts.fragment}":  # of a password that is not quoted
        return masked(f"{parts.scheme}://***@{url.rpartition('@')[2]}")
    host = parts.netloc
    if "@" in host:
        credentials, _, host = host.rpartition("@")
        user, colon, _ = credentials.partition(":")
        token = not colon and not parts.scheme.startswith("postgres")  # there it is a name only
        host = f"***@{host}" if token else f"{user}{':***' if colon else ''}@{host}"
    query = "&".join(_pair(pair) for pair in parts.query.split("&") if pair)
    return urlunsplit(parts._replace(netloc=host, query=query))


def _pair(pair: str) -> str:
    name = pair.partition("=")[0]
    return pair if name in _HARMLESS else f"{name}=***"
