"""Deeds: on the wire beside events, and what those make of them who do not know them."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.deeds import Action, Concerned, Deed, Scope, decode_told, encode_deeds
from contracts.errors import DecodeError
from contracts.events import decode_events, encode_events
from tests.contracts.envelopes import counts, golden, moments, names, tried
from tests.contracts.test_events import FAILED, PUBLISHED, STARTED, json_trees

PAUSED = Deed(
    id="d1",
    at=1_700_000_000.5,
    by="ada@desk",
    action=Action.PAUSE,
    scope=Scope.ROLE,
    target="writer",
    role="writer",
    data={"reason": "it costs too much"},
)

REPLAYED = Deed(
    id="d2",
    at=1_700_000_001.25,
    by="ada@desk",
    action=Action.REPLAY,
    scope=Scope.LETTERS,
    target="--reason crash",
    tasks=(Concerned("t1", "writer", 2),),
)

deeds = st.builds(
    Deed,
    id=names,
    at=moments,
    by=names,
    action=names,
    scope=names,
    target=names,
    role=names,
    tasks=st.lists(st.builds(Concerned, names, names, st.none() | counts), max_size=3).map(tuple),
    count=st.none() | counts,
    before=names,
    after=names,
    data=st.dictionaries(names, st.none() | st.booleans() | names, max_size=3),
)


@given(st.lists(deeds, max_size=4))
def test_deeds_survive_the_wire(batch: list[Deed]) -> None:
    assert decode_told(encode_deeds(batch)).deeds == batch


def test_what_was_once_written_is_read_for_ever() -> None:
    assert decode_told(golden("deeds.json").encode()).deeds == [PAUSED, REPLAYED]


def test_who_knows_events_only_leaves_deeds_out() -> None:
    """Such as a release before them: its recorder and its listeners."""
    events = json.loads(encode_events([STARTED, PUBLISHED]))
    batch = json.dumps([*json.loads(encode_deeds([PAUSED])), *events]).encode()
    assert decode_events(batch) == [STARTED, PUBLISHED]
    told = decode_told(batch)
    assert (told.events, told.deeds) == ([STARTED, PUBLISHED], [PAUSED])


def test_what_a_later_release_tells_is_left_out_or_read() -> None:
    """Another kind of item is left out; another action, and more about a task, are read."""
    batch = json.loads(encode_deeds([REPLAYED, PAUSED]))
    batch[0]["data"] |= {"action": "levitate", "weight": 5}
    batch[0]["data"]["tasks"][0].append("more")
    batch.append({**batch[1], "type": "muster.weather", "data": 7})
    told = decode_told(json.dumps(batch).encode())
    assert told.deeds == [replace(REPLAYED, action="levitate"), PAUSED]


@pytest.mark.parametrize("field", ["deed", "at", "by", "action", "scope"])
def test_a_deed_that_says_too_little_is_an_error(field: str) -> None:
    batch = json.loads(encode_deeds([PAUSED]))
    del batch[0]["data"][field]
    with pytest.raises(DecodeError):
        decode_told(json.dumps(batch).encode())


@given(st.binary(max_size=60) | json_trees.map(lambda tree: json.dumps(tree).encode()))
def test_any_bytes_are_a_batch_or_an_error(body: bytes) -> None:
    found = tried(lambda: decode_told(body))
    assert hasattr(found, "deeds") or found.field == "events"


def test_the_parts_of_a_deed_are_items_of_their_own() -> None:
    parts = [REPLAYED.to("t1", "writer", 2), REPLAYED.to("t2", "writer", 0)]
    items = json.loads(encode_deeds(parts))
    assert len({item["id"] for item in items}) == 2
    assert {item["data"]["deed"] for item in items} == {"d2"}
    assert decode_told(encode_events([FAILED])).deeds == []
