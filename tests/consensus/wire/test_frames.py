"""Frames are found in any stream of bytes, and only those that were sent, in their order."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.wire.calls import Call, decode_call, encode_call
from consensus.wire.errors import Forged, TooLarge, Unreadable
from consensus.wire.frames import Frame, FrameKind, Inbox, Outbox

KEY, OTHER = b"k" * 32, b"o" * 32
LIMIT = 100


def sealed(key: bytes = KEY) -> tuple[Outbox, Inbox]:
    """The two ends of one direction."""
    outbox, inbox = Outbox(LIMIT), Inbox(LIMIT)
    outbox.seal(key)
    inbox.seal(key)
    return outbox, inbox


def taken(inbox: Inbox) -> list[Frame]:
    """All that is whole."""
    return list(iter(inbox.take, None))


@given(
    st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=LIMIT)), max_size=20),
    st.lists(st.integers(1, 60), min_size=1),
    st.booleans(),
)
def test_frames_are_found_however_the_bytes_come(
    frames: list[tuple[FrameKind, bytes]], sizes: list[int], plain: bool
) -> None:
    outbox, inbox = (Outbox(LIMIT), Inbox(LIMIT)) if plain else sealed()
    stream, found, turn = b"".join(outbox.frame(*frame) for frame in frames), [], 0
    while stream:
        size = sizes[turn % len(sizes)]
        inbox.feed(stream[:size])
        stream, turn = stream[size:], turn + 1
        found += taken(inbox)
        assert inbox.held < LIMIT + 21, "what is whole was taken"
    assert found == frames
    assert inbox.held == 0


@given(st.binary(max_size=300), st.booleans())
def test_garbage_is_unreadable_and_nothing_else(data: bytes, plain: bool) -> None:
    inbox = Inbox(LIMIT) if plain else sealed()[1]
    inbox.feed(data)
    try:
        found = taken(inbox)
    except Unreadable:
        return
    assert plain or not found, "nobody guesses a code"


@given(st.binary(max_size=LIMIT), st.data())
def test_a_frame_of_which_any_bit_was_changed_is_never_read(
    payload: bytes, data: st.DataObject
) -> None:
    outbox, inbox = sealed()
    frame = bytearray(outbox.frame(FrameKind.MESSAGE, payload))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    inbox.feed(bytes(frame))
    try:
        assert inbox.take() is None, "a changed length waits for more"
    except Unreadable:
        return
    assert bit < 32


ONE, TWO = (FrameKind.MESSAGE, b"one"), (FrameKind.MESSAGE, b"two")


@pytest.mark.parametrize(
    "meddle",
    [
        pytest.param(lambda a, b: a + a + b, id="repeated"),
        pytest.param(lambda a, b: b + a, id="reordered"),
        pytest.param(lambda a, b: a[:0] + b, id="left out"),
    ],
)
def test_a_frame_that_is_not_where_it_was_sent_is_never_read(
    meddle: Callable[[bytes, bytes], bytes],
) -> None:
    outbox, inbox = sealed()
    inbox.feed(meddle(outbox.frame(*ONE), outbox.frame(*TWO)))
    with pytest.raises(Forged):
        [inbox.take(), inbox.take()]


def test_a_frame_of_another_connection_or_direction_is_never_read() -> None:
    """Each has a key of its own."""
    outbox, _ = sealed(OTHER)
    _, inbox = sealed(KEY)
    inbox.feed(outbox.frame(*ONE))
    with pytest.raises(Forged, match="frame 0"):
        inbox.take()


def test_after_the_seal_no_frame_without_a_code_is_read() -> None:
    plain, (_, inbox) = Outbox(LIMIT), sealed()
    inbox.feed(plain.frame(FrameKind.MESSAGE, b"x" * 40))
    with pytest.raises(Forged):
        inbox.take()


def test_frames_that_came_before_the_seal_are_checked_after_it() -> None:
    """The last plain frame and the first sealed one may come in one read."""
    outbox, inbox = Outbox(LIMIT), Inbox(LIMIT)
    stream = outbox.frame(FrameKind.PROOF, b"p")
    outbox.seal(KEY)
    stream += outbox.frame(FrameKind.WELCOME, b"")
    inbox.feed(stream)
    assert inbox.take() == Frame(FrameKind.PROOF, b"p")
    inbox.seal(KEY)
    assert inbox.take() == Frame(FrameKind.WELCOME, b"")


def test_a_frame_that_is_too_large_is_refused_before_its_bytes_come() -> None:
    outbox, inbox = Outbox(LIMIT + 1), Inbox(LIMIT)
    inbox.feed(outbox.frame(FrameKind.HELLO, b"x" * (LIMIT + 1))[:4])
    with pytest.raises(Unreadable, match="102 bytes where 100"):
        inbox.take()


def test_what_is_too_large_is_not_sent_and_uses_up_no_number() -> None:
    outbox, inbox = sealed()
    with pytest.raises(TooLarge):
        outbox.frame(FrameKind.MESSAGE, b"x" * (LIMIT + 1))
    inbox.feed(outbox.frame(*ONE))
    assert inbox.take() == Frame(*ONE)


def test_a_frame_without_room_for_its_code_is_unreadable() -> None:
    _, inbox = sealed()
    inbox.feed(b"\0\0\0\x10" + b"x" * 16)
    with pytest.raises(Unreadable):
        inbox.take()


@given(st.integers(0, (1 << 64) - 1), st.binary(max_size=50))
def test_a_call_is_read_back(number: int, body: bytes) -> None:
    assert decode_call(encode_call(number, body)) == Call(number, body)


@given(st.binary(max_size=7))
def test_a_call_without_a_number_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode_call(data)
