"""What the tests of the core share."""

import pytest

from consensus.raft.core import Raft


@pytest.fixture
def core() -> type[Raft]:
    """The core under test; `test_mutants` gives the same tests cores that break a rule."""
    return Raft
