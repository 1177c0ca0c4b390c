"""Values of headers: what people and programs mean, as text that any broker carries, and back.

Outside printable ASCII they are percent-encoded as the HTTP binding of CloudEvents (3.1.3.2)
prescribes. Every reader raises `DecodeError` with the name of its header.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from urllib.parse import quote, unquote

from contracts.errors import DecodeError

_FIRST = datetime(1, 1, 1, tzinfo=UTC).timestamp()
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
"""Times that can be written again lie between them."""


def text(headers: Mapping[str, str], name: str) -> str:
    """The value of a header that has to be there, as it was before it was quoted."""
    value = headers.get(name)
    if not value:
        raise DecodeError(name, "is missing" if value is None else "is empty")
    return _plain(name, value) if "%" in value else value


def nonempty(name: str, value: str) -> str:
    """Text of at least one character."""
    text = _plain(name, value)
    if not text:
        raise DecodeError(name, "is empty")
    return text


def count(name: str, value: str) -> int:
    """A whole number from 0 on."""
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise DecodeError(name, f"is {value[:40]!r}, expected a whole number from 0 on")
    return int(value)


def seconds(name: str, value: str) -> float:
    """A finite number of seconds."""
    try:
        seconds = float(value)
    except ValueError as error:
        raise DecodeError(name, f"is {value[:40]!r}, expected epoch seconds") from error
    if not isfinite(seconds):
        raise DecodeError(name, "is not a finite number of seconds")
    return seconds


def flag(name: str, value: str) -> bool:
    """Whether a number is above 0."""
    return count(name, value) > 0


def epoch(headers: Mapping[str, str]) -> float:
    """The `ce-time` of `headers` in epoch seconds, 0 without."""
    value = headers.get("ce-time")
    return 0.0 if value is None else _epoch(value)


@lru_cache(maxsize=64)
def _epoch(value: str) -> float:
    """Tasks that were published in one call have one time."""
    try:
        moment = datetime.fromisoformat(value)
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if not _FIRST <= seconds < _LAST:
            raise OverflowError
        return seconds
    except (ValueError, OverflowError, OSError) as error:
        raise DecodeError("ce-time", f"is not an RFC 3339 time: {value[:40]!r}") from error


@lru_cache(maxsize=64)
def rfc3339(seconds: float) -> str:
    """A time as CloudEvents write it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def quoted(value: str) -> str:
    """`value` as a header may carry it."""
    printable = value.isascii() and value.isprintable()
    if printable and " " not in value and '"' not in value and "%" not in value:
        return value
    return quote(value, safe="!#$&'()*+,/:;<=>?@[]^_`{|}~-.\\")


def shown(value: str) -> str:
    """The text that was `quoted`, for a person; what cannot be read stays as it is."""
    return unquote(value, errors="replace")


def missing(headers: Mapping[str, str], name: str, otherwise: str) -> str:
    """Why a header is wrong: it is missing, or what `otherwise` says."""
    return otherwise if name in headers else "is missing"


def _plain(name: str, value: str) -> str:
    if "%" not in value:
        return value
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise DecodeError(name, "has a percent-encoding that is not UTF-8") from error
