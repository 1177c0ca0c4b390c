"""What clients and nodes say has one encoding, and nothing else is read."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.ledger.answers import Opened, Refused
from consensus.service.replies import (
    Answered,
    Invalid,
    Moved,
    Postponed,
    Push,
    Reply,
    Shown,
    decode_push,
    decode_reply,
    encode_push,
    encode_reply,
)
from consensus.service.requests import (
    DOES,
    CommandAsked,
    EndWanted,
    ListAsked,
    NewsWanted,
    Order,
    PingAsked,
    ReadAsked,
    Request,
    StatusAsked,
    Wanted,
    decode_order,
    decode_request,
    decode_wanted,
    encode_order,
    encode_request,
    encode_wanted,
)
from consensus.service.shown import auction_of, shown
from consensus.wire.errors import Unreadable
from contracts.auctions import (
    Auction,
    AwardShown,
    BidShown,
    Opening,
    Phase,
    Refusal,
    RoundShown,
    Won,
)

NONCE = bytes(range(16))
U63 = st.integers(0, (1 << 63) - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(CommandAsked, st.binary(min_size=16, max_size=16), st.binary(max_size=90)),
    st.builds(ReadAsked, TEXT),
    st.builds(ListAsked, TEXT, st.integers(0, 1000)),
    st.just(StatusAsked()),
    st.builds(PingAsked, st.sampled_from([b"", NONCE])),
)
BIDS = st.builds(BidShown, TEXT, st.booleans(), st.integers(-9, 9), U63, st.binary(max_size=40))
AUCTIONS = st.builds(
    Auction,
    key=TEXT,
    role=TEXT,
    phase=st.sampled_from(Phase),
    round=U63,
    deadline=U63,
    clock=U63,
    asked=st.lists(TEXT, max_size=3).map(tuple),
    award=st.none() | st.builds(AwardShown, U63, TEXT, U63, U63, U63),
    last_round=st.none()
    | st.builds(RoundShown, U63, U63, U63, st.lists(BIDS, max_size=3).map(tuple), U63),
    result_hash=st.binary(max_size=32),
)
PUSHES: st.SearchStrategy[Push] = st.one_of(
    AUCTIONS,
    st.builds(Opening, U63, TEXT, TEXT, U63, U63),
    st.builds(Won, U63, TEXT, TEXT, U63, U63),
)


@given(REQUESTS)
def test_a_request_is_read_as_it_was_asked(request: Request) -> None:
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize(
    "reply",
    [
        Answered(Opened(9, 8)),
        Answered(Refused(Refusal.FENCED, 2, 1)),
        Moved("127.0.0.1:8"),
        Moved(""),
        Postponed("the ledger is busy"),
        Invalid("no", "because", ("do that", "or this")),
    ],
)
def test_a_reply_is_read_as_it_was_told(reply: Reply) -> None:
    assert decode_reply(encode_reply(reply)) == reply


def test_what_is_shown_is_an_object() -> None:
    found = decode_reply(encode_reply(Shown({"a": [1, None], "b": "é"})))
    assert isinstance(found, Shown)
    assert dict(found.body) == {"a": [1, None], "b": "é"}


@given(PUSHES)
def test_a_push_is_read_as_it_was_told(push: Push) -> None:
    assert decode_push(encode_push(push)) == push


@given(AUCTIONS)
def test_an_auction_survives_json(auction: Auction) -> None:
    assert auction_of(json.loads(json.dumps(shown(auction)))) == auction


@pytest.mark.parametrize("wanted", [NewsWanted(NONCE), EndWanted("k"), EndWanted("")])
def test_what_is_wanted_is_read(wanted: Wanted) -> None:
    assert decode_wanted(encode_wanted(wanted)) == wanted


@pytest.mark.parametrize("do", DOES)
def test_an_order_keeps_all_63_bits(do: str) -> None:
    order = Order(do=do, node=(1 << 63) - 1, address="a:1", instead=(1 << 63) - 3)
    assert decode_order(encode_order(order)) == order


@given(st.binary(max_size=80))
def test_other_bytes_are_unreadable_and_nothing_worse(data: bytes) -> None:
    for read in (decode_request, decode_reply, decode_push, decode_wanted, decode_order):
        for body in (data, b"\x01" + data, b"\x03" + data, b"\x04" + data, b"\x05" + data):
            try:
                read(body)
            except Unreadable:
                continue


@pytest.mark.parametrize("body", [b"", b"\x01short", b"\x04x", b"\x09", b"\x02\xff"])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_request(body)
