import pytest

pytest.register_assert_rewrite("tests.bus.conformance.steps", "tests.bus.conformance.members")
