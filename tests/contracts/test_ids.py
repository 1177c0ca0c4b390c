"""Ids: ordered by time, or always the same for the same thing."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from contracts.ids import child_id, content_id, key_id, new_id, tick_id

NOW = 1_700_000_000.123


def test_a_new_id_has_the_layout_of_rfc_9562() -> None:
    """Section 5.7: 48 bits of milliseconds, version 7, variant 10."""
    found = uuid.UUID(new_id(NOW))
    assert found.version == 7
    assert found.variant == uuid.RFC_4122
    assert found.int >> 80 == 1_700_000_000_123
    assert str(found) == str(uuid.UUID(str(found)))


@given(st.integers(0, 2**48 - 2), st.integers(1, 10**9))
def test_ids_sort_by_the_millisecond_they_were_made_in(millis: int, later: int) -> None:
    later = min(millis + later, 2**48 - 1)
    assert _at(millis) < _at(later)


def _at(millis: int) -> str:
    """Half a millisecond in, where no rounding of floats can reach the next."""
    return new_id((millis + 0.5) / 1000)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(NOW) for _ in range(1000)}) == 1000


def test_a_child_keeps_its_name_over_runs_and_releases() -> None:
    """Golden: a parent that runs again under a later release must find its children."""
    assert child_id("parent", 1, "coder", b'{"a":1}') == "705fbe9f-82ee-5e35-aca2-cc2c977b5f03"


def test_a_key_keeps_its_id_over_releases() -> None:
    """Golden: the key is the id."""
    assert key_id("default", "support.ticket", "order-7") == "8f48fc9c-2bd5-5fd6-b0eb-09c9fabd5273"


def test_a_tick_keeps_its_id_over_releases() -> None:
    """Golden: whoever takes over from another release's scheduler publishes the same task."""
    assert tick_id("daily", 1_768_478_400.0) == "88595111-3dd9-543b-b376-ea0a705c16bd"
    assert tick_id("daily", 1_768_478_400.25) != tick_id("daily", 1_768_478_400.0)
    assert tick_id("daily", 1_768_478_400.0) != tick_id("hourly", 1_768_478_400.0)


@given(st.integers(1, 5), st.sampled_from(["a", "b"]), st.binary(max_size=3))
def test_children_differ_by_parent_number_role_and_payload(
    number: int, role: str, payload: bytes
) -> None:
    one = child_id("p", number, role, payload)
    others = {
        child_id("q", number, role, payload),
        child_id("p", number + 1, role, payload),
        child_id("p", number, role + "x", payload),
        child_id("p", number, role, payload + b"x"),
    }
    assert one not in others
    assert len(others) == 4


def test_a_key_names_another_task_for_another_tenant_or_topic() -> None:
    found = {key_id("t", "a", "k"), key_id("u", "a", "k"), key_id("t", "b", "k")}
    assert len(found) == 3


def test_bytes_without_an_id_are_named_by_what_they_are() -> None:
    """The order of headers plays no part; unreadable header values do not stop it."""
    one = content_id({"a": "1", "b": "\udcff"}, b"x")
    assert one == content_id({"b": "\udcff", "a": "1"}, b"x")
    assert one != content_id({"a": "1"}, b"x")
    assert one != content_id({"a": "1", "b": "\udcff"}, b"y")
