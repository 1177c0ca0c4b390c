"""The envelope: what is encoded is decoded again, and decoding is total."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from contracts.envelope import MAX_ID, VERSION, Envelope, Priority, decode, encode
from contracts.errors import DecodeError
from contracts.topics import MAX_TOPIC
from tests.contracts.envelopes import as_text, envelopes, from_text, golden, tried

PLAIN = Envelope(
    id="018bcfe5-6800-7000-8000-0123456789ab",
    topic="support.ticket",
    source="/muster/client",
    time=1_700_000_000.25,
    body=b'{"text":"hello"}',
)

FULL = replace(
    PLAIN,
    id="Bestellung 7 / 100 %",
    source='/muster/büro/"a"',
    content_type="text/plain; charset=utf-8",
    tenant="Müller & Söhne",
    priority=Priority.HIGH,
    deadline=1_700_003_600.5,
    budget=250_000,
    copy=3,
    attempt=2,
    correlation="018bcfe5-6800-7000-8000-000000000001",
    reply="018bcfe5-6800-7000-8000-000000000002",
    fence=7,
    subjects=("customer:7", "a,b", "ä"),
    extra={"muster-replays": "1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-01"},
)

HEADERS = {
    "ce-specversion": "1.0",
    "ce-id": "i",
    "ce-type": "a.b",
    "ce-source": "/s",
    "ce-time": "2023-11-14T22:13:20Z",
}

TOUCHED = [*HEADERS, "content-type", "muster-version", "muster-tenant", "muster-priority"] + [
    f"muster-{name}"
    for name in ("deadline", "budget", "copy", "attempt", "correlation", "reply", "fence")
]


@given(envelopes())
def test_every_envelope_survives_the_wire(envelope: Envelope) -> None:
    """Unknown headers too; nothing is added, nothing is lost."""
    assert decode(encode(envelope), envelope.body) == envelope


@given(envelopes())
def test_header_values_are_printable_ascii_without_spaces_at_their_ends(
    envelope: Envelope,
) -> None:
    """CloudEvents HTTP binding 3.1.3.2: brokers trim spaces and refuse line breaks."""
    for name, value in encode(replace(envelope, extra={})).items():
        assert value.isascii()
        assert value.isprintable()
        if name.startswith(("ce-", "muster-")):
            assert " " not in value


def test_headers_with_their_default_value_are_left_out() -> None:
    assert [name for name in encode(PLAIN) if name.startswith("muster-")] == ["muster-version"]


@given(
    st.dictionaries(st.text(max_size=20) | st.sampled_from(TOUCHED), st.text(max_size=40)),
    st.binary(max_size=50),
)
def test_any_headers_and_bytes_are_an_envelope_or_an_error(
    headers: dict[str, str], body: bytes
) -> None:
    """Nothing but `DecodeError` is raised, and it names a field."""
    _decoded_or_named(headers, body)


@given(st.dictionaries(st.sampled_from(TOUCHED), st.text(max_size=40)), st.binary(max_size=9))
def test_one_wrong_header_among_right_ones_is_an_envelope_or_an_error(
    wrong: dict[str, str], body: bytes
) -> None:
    """The same, beyond the first field that is checked."""
    _decoded_or_named({**HEADERS, **wrong}, body)


@given(st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()))
@example("0001-01-01T00:00:00+23:59")
@example("9999-12-31T23:59:59-23:59")
@example("9999-12-31T23:59:59.999999Z")
def test_what_was_decoded_can_be_encoded_again(time: str) -> None:
    """A task that cannot be encoded could never be retried or given back."""
    found = tried(lambda: decode({**HEADERS, "ce-time": time}, b""))
    if isinstance(found, DecodeError):
        assert found.field == "ce-time"
    else:
        assert decode(encode(found), b"") == found


def _decoded_or_named(headers: dict[str, str], body: bytes) -> None:
    found = tried(lambda: decode(headers, body))
    if isinstance(found, DecodeError):
        assert found.field
        assert found.reason
    else:
        assert decode(encode(found), body) == found


@pytest.mark.parametrize(
    ("header", "value", "reason"),
    [
        ("ce-specversion", "0.3", "is not 1.0"),
        ("ce-id", "", "is empty"),
        ("ce-id", "x" * (MAX_ID + 1), "is longer than"),
        ("ce-id", "a%0Ab", "not printable"),
        ("ce-id", "%FF", "not UTF-8"),
        ("ce-type", "a..b", "is not a topic"),
        ("ce-type", "a" * (MAX_TOPIC + 1), "is not a topic"),
        ("ce-source", "", "is empty"),
        ("ce-time", "yesterday", "is not an RFC 3339 time"),
        ("muster-version", "0", "is below 1"),
        ("muster-version", "two", "expected a whole number"),
        ("muster-tenant", "", "is empty"),
        ("muster-priority", "urgent", "expected high, normal or low"),
        ("muster-deadline", "soon", "expected epoch seconds"),
        ("muster-deadline", "inf", "not a finite number"),
        ("muster-deadline", "nan", "not a finite number"),
        ("muster-budget", "-1", "expected a whole number"),
        ("muster-copy", "1.5", "expected a whole number"),
        ("muster-copy", "9" * 19, "expected a whole number"),
        ("muster-attempt", "²", "expected a whole number"),
        ("muster-correlation", "", "is empty"),
        ("muster-reply", "", "is empty"),
        ("muster-fence", "", "expected a whole number"),
        ("muster-subjects", "a,,b", "is empty"),
    ],
)
def test_a_wrong_header_is_named_with_what_was_expected(
    header: str, value: str, reason: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode({**HEADERS, header: value}, b"")
    assert caught.value.field == header
    assert reason in caught.value.reason
    assert header in caught.value.lines()[0]


@pytest.mark.parametrize("header", ["ce-specversion", "ce-id", "ce-type", "ce-source"])
def test_a_missing_header_is_named(header: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != header}
    with pytest.raises(DecodeError, match="is missing") as caught:
        decode(headers, b"")
    assert caught.value.field == header


def test_header_names_of_other_publishers_may_be_written_in_any_case() -> None:
    """HTTP header names have no case."""
    found = decode({name.title(): value for name, value in HEADERS.items()}, b"x")
    assert found == decode(HEADERS, b"x")


def test_a_task_without_a_time_is_read() -> None:
    """The attribute is optional in CloudEvents."""
    headers = {name: value for name, value in HEADERS.items() if name != "ce-time"}
    assert decode(headers, b"").time == 0.0


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    headers = {**HEADERS, "ce-time": "2023-11-15T00:13:20.5+02:00"}
    assert decode(headers, b"").time == 1_700_000_000.5


def test_the_next_copy_rises_and_uses_an_attempt_only_when_told() -> None:
    assert (PLAIN.again().copy, PLAIN.again().attempt) == (1, 0)
    assert (PLAIN.again(attempt=1).copy, PLAIN.again(attempt=1).attempt) == (1, 1)
    assert FULL.again().extra == FULL.extra


@pytest.mark.parametrize(("name", "envelope"), [("plain.txt", PLAIN), ("full.txt", FULL)])
def test_the_wire_format_is_the_one_in_the_golden_file(name: str, envelope: Envelope) -> None:
    """Both ways: what is written, and what older workers have written."""
    assert as_text(encode(envelope), envelope.body) == golden(name)
    headers, body = from_text(golden(name))
    assert decode(headers, body) == envelope


def test_an_envelope_of_a_later_version_is_read_and_passed_on_unharmed() -> None:
    """Old workers read new envelopes; what they do not know survives a retry."""
    headers, body = from_text(golden("newer.txt"))
    found = decode(headers, body)
    assert found.version == 7 > VERSION
    assert found.extra["muster-colour"] == "blue"
    assert encode(found.again()) == {**headers, "muster-copy": "1"}
