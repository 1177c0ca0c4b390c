"""Results as somebody reads them who asked."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DecodeError
from contracts.outcomes import Reason
from contracts.results import Result, Status, decode_result
from tests.contracts.envelopes import counts, golden, moments, names, tried

DONE = Result(
    id="t1",
    status=Status.SUCCEEDED,
    role="triager",
    worker="w1",
    fence=2,
    attempt=3,
    finished=1_700_000_001.5,
    value={"queue": "billing", "ä": [1, None]},
)

results = st.builds(
    Result,
    id=names,
    status=st.sampled_from(Status),
    role=names,
    worker=names,
    fence=counts,
    attempt=counts,
    finished=moments,
    value=st.none() | st.dictionaries(names, st.integers(-9, 9), max_size=3),
    reason=st.none() | st.sampled_from(Reason),
    error=names,
)


@given(results)
def test_a_result_survives_the_store(result: Result) -> None:
    assert decode_result(result.encode()) == result


@given(st.binary(max_size=60))
def test_any_bytes_are_a_result_or_an_error(data: bytes) -> None:
    found = tried(lambda: decode_result(data))
    assert isinstance(found, Result) or found.field == "result"


def test_a_result_of_a_later_release_is_read() -> None:
    later = {**json.loads(DONE.encode()), "cost": 7}
    assert decode_result(json.dumps(later).encode()) == DONE


@pytest.mark.parametrize("missing", ["id", "status", "fence"])
def test_a_result_without_what_it_needs_is_an_error(missing: str) -> None:
    data = json.loads(DONE.encode())
    del data[missing]
    with pytest.raises(DecodeError, match=missing):
        decode_result(json.dumps(data).encode())


def test_the_format_is_the_one_in_the_golden_file() -> None:
    """Both ways."""
    assert json.loads(DONE.encode()) == json.loads(golden("result.json"))
    assert decode_result(golden("result.json").encode()) == DONE


def test_a_release_that_knows_no_cancelling_reads_a_failure() -> None:
    """It would not understand the word, nor could it settle a later run over it."""
    cancelled = replace(DONE, status=Status.CANCELLED, error="cancelled by ada")
    assert json.loads(cancelled.encode())["status"] == "failed"
    assert decode_result(cancelled.encode()) == cancelled
