"""Property tests here read files; how long one example takes says nothing on a busy machine."""

from collections.abc import Iterator

import pytest
from hypothesis import settings


@pytest.fixture(scope="session", autouse=True)
def _no_deadline() -> Iterator[None]:
    settings.register_profile("documents", deadline=None)
    settings.load_profile("documents")
    yield
    settings.load_profile("default")
