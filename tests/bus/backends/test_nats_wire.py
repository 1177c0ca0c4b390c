"""Header blocks, keys and acknowledgement subjects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backends.nats.wire import (
    decode_key,
    encode_key,
    header_lines,
    hpub,
    parse_ack,
    parse_headers,
    pub,
    status,
    wire_name,
)

_NAME = st.from_regex(r"\A[A-Za-z0-9~_-]{1,20}\Z")
_VALUE = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=40)


@given(st.dictionaries(_NAME, _VALUE, max_size=6))
def test_headers_survive_also_those_named_like_the_servers(headers: dict[str, str]) -> None:
    block = b"NATS/1.0\r\n" + header_lines(headers) + b"Nats-Msg-Id: x\r\n\r\n"
    parsed = parse_headers(block)
    assert parsed.own == headers
    assert parsed.server == {"Nats-Msg-Id": "x"}


@pytest.mark.parametrize("value", ["a\r\nNats-Rollup: all", "a\nb", "\r\n\r\n", "a\rb"])
def test_a_value_cannot_end_its_line(value: str) -> None:
    lines = header_lines({"x": value, "y": "z"})
    assert lines.count(b"\r\n") == 2
    assert lines.count(b"\n") == lines.count(b"\r") == 2


@given(st.text(max_size=20))
def test_a_name_cannot_end_its_line_or_reach_the_server(name: str) -> None:
    made = wire_name(name)
    assert made.isascii()
    assert not set(made) & set(": \r\n")
    assert not made.lower().startswith("nats-")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 10**9))
def test_keys_survive(id_: str, copy: int) -> None:
    for group in ("g", None):
        text = encode_key(id_, group, copy)
        assert text.isascii()
        assert text.isprintable()
        assert decode_key(text) == (id_, group, copy)
        assert decode_key(f"{text}~g~STREAM~17") == (id_, group, copy)


@pytest.mark.parametrize("text", [None, "", "x", "a/b", "a/b/c", "a//1", "a/b/-1", "a/b/²"])
def test_a_foreign_message_id_gives_an_empty_id(text: str | None) -> None:
    assert decode_key(text) == ("", None, 0)


def test_sizes_in_commands_are_those_of_the_bytes() -> None:
    assert pub("s", "r", b"abc") == b"PUB s r 3\r\nabc\r\n"
    assert pub("s", "", b"") == b"PUB s  0\r\n\r\n"
    lines = header_lines({"a": "ä"})
    block = b"NATS/1.0\r\n" + lines + b"\r\n"
    made = hpub("s", "r", lines, b"xyz")
    assert made == b"HPUB s r %d %d\r\n" % (len(block), len(block) + 3) + block + b"xyz\r\n"


def test_acknowledgement_subjects_of_both_forms() -> None:
    short = "$JS.ACK.S.c.2.17.5.1700000000000000000.42"
    long = "$JS.ACK.domain.hash.S.c.2.17.5.1700000000000000000.42.rnd"
    assert parse_ack(short) == parse_ack(long) == ("S", "c", 2, 17)


@pytest.mark.parametrize(
    ("block", "code", "reason"),
    [
        (b"NATS/1.0 404 No Messages\r\n\r\n", 404, "No Messages"),
        (b"NATS/1.0 503\r\n\r\n", 503, ""),
        (b"NATS/1.0\r\na: b\r\n\r\n", 0, ""),
        (None, 0, ""),
    ],
)
def test_status_lines(block: bytes | None, code: int, reason: str) -> None:
    assert parse_headers(block)[2:] == (code, reason)
    assert status(block) == code
