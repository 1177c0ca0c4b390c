"""Events: batches on the wire."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DecodeError
from contracts.events import TERMINAL, Event, Kind, decode_events, encode_events
from tests.contracts.envelopes import counts, golden, moments, names, tried

STARTED = Event(
    kind=Kind.STARTED,
    at=1_700_000_000.5,
    task="t1",
    topic="support.ticket",
    role="triager",
    copy=0,
    attempt=1,
    worker="host-1-abc",
    pid=17,
)

FAILED = replace(
    STARTED,
    kind=Kind.FAILED,
    copy=4,
    attempt=5,
    tenant="acme",
    correlation="root",
    data={"seconds": 0.25, "reason": "exhausted", "error": "ValueError: no"},
)

json_values = st.none() | st.booleans() | st.integers(-(2**31), 2**31) | names

events = st.builds(
    Event,
    kind=st.sampled_from(Kind),
    at=moments,
    task=names,
    topic=names,
    role=names,
    copy=counts,
    attempt=counts,
    worker=names,
    pid=counts,
    published=moments,
    tenant=names,
    correlation=st.none() | names,
    number=counts,
    data=st.dictionaries(names, json_values, max_size=3),
)


PUBLISHED = Event(
    kind=Kind.PUBLISHED,
    at=1_700_000_000.5,
    task="t0",
    topic="support.ticket",
    role="",
    copy=0,
    attempt=0,
    worker="/muster/client",
    pid=18,
    published=1_700_000_000.25,
)

publications = st.builds(
    replace, st.just(PUBLISHED), task=names, worker=names, tenant=names, correlation=names
)


@given(st.lists(events | publications, max_size=6))
def test_a_batch_survives_the_wire(batch: list[Event]) -> None:
    """What tells of publishing comes last."""
    found = decode_events(encode_events(batch))
    for group in (lambda e: e.kind is Kind.PUBLISHED, lambda e: e.kind is not Kind.PUBLISHED):
        assert sorted(filter(group, found), key=repr) == sorted(filter(group, batch), key=repr)


def test_many_published_tasks_are_told_in_a_few_bytes_each() -> None:
    """One item of the batch; what is usual is left out."""
    tasks = [replace(PUBLISHED, task=f"01a1ff26-9156-763e-94c2-ae1d264{n:05}") for n in range(100)]
    body = encode_events([*tasks, replace(PUBLISHED, data={"priority": "low"}, role="triager")])
    assert len(body) < 101 * 110
    assert [len(json.loads(body)), json.loads(body)[0]["type"]] == [1, "muster.tasks.published"]
    assert decode_events(body)[-1].data == {"priority": "low"}


@pytest.mark.parametrize("row", [[], ["t0"], ["t0", 7, 1.0, 1.0], [None, "a.b", 1.0, 1.0]])
def test_a_row_that_says_too_little_is_an_error(row: list[object]) -> None:
    batch = json.loads(encode_events([PUBLISHED]))
    batch[0]["data"]["tasks"] = [row]
    with pytest.raises(DecodeError):
        decode_events(json.dumps(batch).encode())


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    found = tried(lambda: decode_events(body))
    assert isinstance(found, list) or found.field == "events"


json_trees = st.recursive(
    json_values, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(st.dictionaries(st.sampled_from(["data", "id", "kind"]), json_trees))
def test_any_json_is_a_batch_or_an_error(item: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        decode_events(json.dumps([item]).encode())


def test_kinds_of_a_later_release_are_left_out() -> None:
    batch = json.loads(encode_events([STARTED, FAILED]))
    batch[0]["type"] = "muster.task.levitated"
    assert decode_events(json.dumps(batch).encode()) == [FAILED]


def test_the_same_happening_has_the_same_id_however_often_it_is_told() -> None:
    assert STARTED.id == replace(STARTED, at=9.0, data={"x": 1}).id
    others = {
        replace(STARTED, task="t2").id,
        replace(STARTED, copy=1).id,
        replace(STARTED, role="other").id,
        replace(STARTED, worker="w2").id,
        replace(STARTED, kind=Kind.PROGRESS).id,
        replace(STARTED, number=1).id,
    }
    assert len(others | {STARTED.id}) == 7


def test_who_publishes_a_task_again_tells_the_same() -> None:
    assert PUBLISHED.id == replace(PUBLISHED, worker="other", at=9.0).id


def test_three_kinds_end_a_task() -> None:
    assert {Kind.SUCCEEDED, Kind.FAILED, Kind.CANCELLED} == TERMINAL


def test_the_batch_format_is_the_one_in_the_golden_file() -> None:
    """CloudEvents JSON batch format 1.0.2; both ways."""
    expected = golden("events.json")
    assert json.loads(encode_events([STARTED, FAILED])) == json.loads(expected)
    assert decode_events(expected.encode()) == [STARTED, FAILED]
