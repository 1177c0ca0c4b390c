"""Envelopes of every kind, and how one looks as text."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st

from contracts.envelope import MAX_ID, Envelope, Priority
from contracts.errors import DecodeError

T = TypeVar("T")

GOLDEN = Path(__file__).parent / "golden"

MICROSECOND = 1e-6
"""What RFC 3339 times are written to; finer parts of a time do not travel."""

words = st.text(alphabet="abcXYZ019-_", min_size=1, max_size=8)
topics = st.lists(words, min_size=1, max_size=5).map(".".join)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
ids = st.text(max_size=MAX_ID, min_size=1).filter(str.isprintable)
counts = st.integers(0, 10**18 - 1)
moments = st.integers(-(10**15), 4 * 10**15).map(lambda micros: micros / 1e6)
finite = st.floats(allow_nan=False, allow_infinity=False)
unknown = st.dictionaries(
    st.from_regex(r"x-[a-z]{1,8}", fullmatch=True), st.text(max_size=20), max_size=3
)


def envelopes() -> st.SearchStrategy[Envelope]:
    """Every envelope that a publisher of ours could make."""
    return st.builds(
        Envelope,
        id=ids,
        topic=topics,
        source=names,
        time=moments,
        body=st.binary(max_size=50),
        content_type=st.sampled_from(["application/json", "text/plain", "application/x-y; a=b"]),
        tenant=names,
        priority=st.sampled_from(Priority),
        deadline=st.none() | finite,
        budget=st.none() | counts,
        copy=counts,
        attempt=counts,
        correlation=st.none() | names,
        reply=st.none() | names,
        fence=st.none() | counts,
        subjects=st.lists(names, max_size=3).map(tuple),
        suspect=st.booleans(),
        version=st.integers(1, 99),
        extra=unknown,
    ).map(_reserved)


def _reserved(envelope: Envelope) -> Envelope:
    """Every other copy was put off to slots that are reserved for it."""
    return replace(envelope, reserved="0a1b2c3d=1700000000.5") if envelope.copy % 2 else envelope


def tried(call: Callable[[], T]) -> "T | DecodeError":
    """What decoding comes to; any other error is the test's to fail with."""
    try:
        return call()
    except DecodeError as error:
        return error


def as_text(headers: Mapping[str, str], body: bytes) -> str:
    """Headers in order of their names, an empty line, the body."""
    lines = [f"{name}: {value}" for name, value in sorted(headers.items())]
    return "\n".join([*lines, "", body.decode()]) + "\n"


def from_text(text: str) -> tuple[dict[str, str], bytes]:
    """The opposite of `as_text`."""
    head, _, body = text.removesuffix("\n").partition("\n\n")
    headers = dict(line.split(": ", 1) for line in head.splitlines())
    return headers, body.encode()


def golden(name: str) -> str:
    """A file that says how something looks on the wire; changing one breaks running fleets."""
    return (GOLDEN / name).read_text(encoding="utf-8")
