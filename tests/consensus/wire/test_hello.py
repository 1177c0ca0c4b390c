"""Introductions, refusals and texts as bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.wire.errors import Refused, Unreadable, Why
from consensus.wire.hello import (
    TEXT,
    Hello,
    Party,
    Speaker,
    decode_hello,
    decode_refusal,
    decode_text,
    encode_hello,
    encode_refusal,
    encode_text,
)
from tests.consensus.wire.words import PEER, hellos


@given(hellos)
def test_an_introduction_is_read_back(hello: Hello) -> None:
    assert decode_hello(encode_hello(hello)) == hello


def test_an_introduction_never_changes() -> None:
    """Also a speaker that is refused for its version must be understood."""
    assert encode_hello(Hello(PEER, bytes(range(32)))).hex() == (
        b"muster ledger\n".hex() + "01"
        "00"
        "0000000000000007"
        "0000000000000001"
        "0000000000000000"
        "0000000000000000"
        "0001"
        "0001"
        "00000001" + bytes(range(32)).hex() + "0b" + b"127.0.0.1:1".hex()
    )


@given(st.one_of(st.binary(max_size=200), hellos.map(encode_hello)), st.data())
def test_garbage_is_unreadable_and_nothing_else(whole: bytes, data: st.DataObject) -> None:
    changed = bytearray(whole or b"x")
    changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    for one in (bytes(changed), whole[: data.draw(st.integers(0, len(whole)))], whole + b"x"):
        try:
            read = decode_hello(one)
        except Unreadable:
            continue
        assert encode_hello(read) == one


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"node": 0}, "a peer has the id"),
        ({"party": Party.WORKER}, "a peer has the id"),
        ({"cluster": 0}, "knows its cluster"),
        ({"seq": -1}, "numbers of a speaker"),
        ({"incarnation": 1 << 63}, "numbers of a speaker"),
        ({"name": "n" * 129}, "names short"),
    ],
)
def test_no_speaker_is_made_that_cannot_be(fields: dict[str, int], why: str) -> None:
    whole = {"party": Party.PEER, "cluster": 7, "node": 1, **fields}
    with pytest.raises(ValueError, match=why):
        Speaker(**whole)  # type: ignore[arg-type]


@given(st.sampled_from(Why), st.text(max_size=2 * TEXT))
def test_a_refusal_is_told_as_a_number_and_a_text(why: Why, text: str) -> None:
    told = decode_refusal(encode_refusal(Refused(why, text)))
    assert told.why is why
    assert told.details == decode_text(encode_text(text))


def test_a_refusal_of_a_newer_release_is_understood_as_one() -> None:
    told = decode_refusal(b"\xffthe moon is full")
    assert (told.why, told.details) == (Why.OTHER, "the moon is full")
    with pytest.raises(Unreadable):
        decode_refusal(b"")


@given(st.binary())
def test_a_text_of_a_stranger_is_fit_for_a_log(data: bytes) -> None:
    text = decode_text(data)
    assert len(text) <= TEXT
    assert text.isprintable()
