"""The key-value suite, unchanged, on the bus database."""

import pytest

from tests.bus.conformance.test_keyvalue import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_follow import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_trouble import *  # noqa: F403
from tests.bus.conformance.test_keyvalue_watch import *  # noqa: F403

pytestmark = pytest.mark.postgres
