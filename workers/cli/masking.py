"""Secrets as they may be shown."""

from urllib.parse import urlsplit, urlunsplit


def masked(url: str) -> str:
    """`url` without its password or token, and without the values of its query."""
    parts = urlsplit(url)
    host = parts.netloc
    if "@" in host:
        credentials, _, host = host.rpartition("@")
        user, colon, _ = credentials.partition(":")
        host = f"{user}:***@{host}" if colon else f"***@{host}"
    query = "&".join(f"{pair.partition('=')[0]}=***" for pair in parts.query.split("&") if pair)
    return urlunsplit(parts._replace(netloc=host, query=query))
