"""What programs put in that know no groups, as tasks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backend import LaneName
from bus.ingress import SOURCE, message_of, parked
from bus.lanes import slice_of
from contracts.envelope import decode
from contracts.errors import DecodeError

NAMED = {"ce-type": "work.a", "ce-id": "7", "ce-source": "/shop"}
STRUCTURED = {"Content-Type": "application/cloudevents+json; charset=utf-8"}


def test_an_event_says_the_same_in_each_mode() -> None:
    """Binary by two names, and structured; with words of ours."""
    kafka = {"ce_type": "work.a", "ce_id": "7", "ce_source": "/shop ä", "muster-tenant": "acme"}
    event = {"specversion": "1.0", "type": "work.a", "id": "7", "source": "/shop ä"}
    event |= {"mustertenant": "acme", "time": "2026-01-01T00:00:00Z"}
    body = json.dumps({**event, "data": {"n": 1}}).encode()
    one = message_of(kafka, b'{"n":1}', place="here")
    two = message_of(STRUCTURED, body, place="here")
    assert (one.id, one.topic, one.body, one.lane) == (two.id, two.topic, two.body, two.lane)
    assert one.lane.slice == slice_of("acme")
    for each in (one, two):
        task = decode(each.headers, each.body)
        assert (task.id, task.topic, task.source, task.tenant) == ("7", "work.a", "/shop ä", "acme")


def test_what_is_not_said_is_filled_in() -> None:
    found = message_of({"CE-Type": "work.a"}, b"1", place="in 4-0")
    task = decode(found.headers, found.body)
    assert (task.id, task.source, task.attempt) == ("in 4-0", SOURCE, 0)


def test_what_the_fleet_keeps_account_of_cannot_be_said() -> None:
    ours = {"muster-copy": "3", "muster-attempt": "9", "muster-suspect": "1", "muster-fence": "4"}
    found = message_of({**NAMED, **ours, "x-shop": "1", "muster-priority": "high"}, b"1", place="")
    task = decode(found.headers, found.body)
    assert (task.copy, task.attempt, task.suspect, task.fence) == (0, 0, False, None)
    assert (found.copy, found.lane.name) == (0, LaneName.HIGH)
    assert task.extra == {"x-shop": "1"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({"ce-type": ""}, b"{}"),
        ({"ce-type": "a b"}, b"{}"),
        ({"ce-type": "muster.events"}, b"{}"),
        ({**NAMED, "ce-id": "x" * 201}, b"{}"),
        ({**NAMED, "ce-id": "%0A"}, b"{}"),
        ({**NAMED, "ce-id": "%FF"}, b"{}"),
        ({**NAMED, "muster-tenant": "%FF"}, b"{}"),
        (STRUCTURED, b"no JSON"),
        (STRUCTURED, b"[]"),
        (STRUCTURED, b"{}"),
        (STRUCTURED, b'{"type": "a", "data_base64": "%"}'),
        (STRUCTURED, b'{"type": "a", "data_base64": 4}'),
        (STRUCTURED, b'{"type": 7, "id": ""}'),
    ],
)
def test_what_is_no_task_is_told_apart(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(DecodeError):
        message_of(headers, body, place="here")


_TEXTS = st.text(max_size=30)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_TEXTS | st.sampled_from(list(NAMED)), _TEXTS, max_size=6), st.binary())
def test_whatever_is_put_in_is_a_task_or_told_apart(headers: dict[str, str], body: bytes) -> None:
    try:
        found = message_of(headers, body, place="here")
    except DecodeError:
        return
    assert (found.copy, found.due, found.group) == (0, 0.0, None)


@given(st.dictionaries(_TEXTS | st.sampled_from(["type", "id", "data_base64"]), _JSON, max_size=6))
def test_whatever_event_is_put_in_is_a_task_or_told_apart(event: dict[str, object]) -> None:
    body = json.dumps(event).encode("utf-8", "surrogatepass")
    try:
        found = message_of(STRUCTURED, body, place="here")
    except DecodeError:
        return
    assert all(isinstance(value, str) for value in found.headers.values())


def test_what_is_parked_is_told_once() -> None:
    assert list(parked(0, [], "look")) == []
    (danger,) = parked(1_200, ["b", "a", "b"], "look")
    assert danger.said == "1,200 tasks that others put in are parked: a, b"
