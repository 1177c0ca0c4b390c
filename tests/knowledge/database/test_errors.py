"""What the driver raises, told as what it means."""

import asyncpg
import pytest

from knowledge.database.errors import BadAddress, Unreachable, translated


def test_a_connection_that_breaks_in_the_middle_is_worth_another_try() -> None:
    """The driver calls that an error of its own; from a stranger it means something else."""
    broken = asyncpg.InternalClientError("cannot switch to state 15; another operation (2)")
    with pytest.raises(Unreachable) as caught, translated("here"):
        raise broken
    assert caught.value.retryable
    with pytest.raises(BadAddress), translated("here", greeting=True):
        raise broken
