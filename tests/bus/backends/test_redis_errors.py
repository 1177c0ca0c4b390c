"""What a Redis says when it refuses, as errors of the bus."""

import pytest

from bus.backends.redis.dial import address_of, masked
from bus.backends.redis.errors import Refused, moved_to, refusal
from bus.errors import AccessDenied, BusError, Full, Unreachable, Unsafe
from contracts.errors import InvalidValue


@pytest.mark.parametrize(
    ("said", "raised"),
    [
        ("NOAUTH Authentication required.", AccessDenied),
        ("WRONGPASS invalid username-password pair or user is disabled.", AccessDenied),
        ("NOPERM this user has no permissions to run the 'get' command", AccessDenied),
        ("OOM command not allowed when used memory > 'maxmemory'.", Full),
        ("LOADING Redis is loading the dataset in memory", Unreachable),
        ("READONLY You can't write against a read only replica.", Unreachable),
        ("UNBLOCKED force unblock from blocking operation", Unreachable),
        ("MISCONF Errors writing to the AOF file: No space left on device", Unreachable),
        ("MOVED 3999 127.0.0.1:6381", Unreachable),
        ("ERR max number of clients reached", Unreachable),
        ("ERR unknown command 'EVALSHA'", Unsafe),
    ],
)
def test_each_answer_is_the_error_that_says_whether_to_repeat(
    said: str, raised: type[BusError]
) -> None:
    error = refusal(Refused(said), "publishing")
    assert type(error) is raised
    assert said in error.details
    assert all(error.lines())


def test_where_the_keys_have_gone_is_read_from_the_answer() -> None:
    assert moved_to(Refused("MOVED 3999 10.0.0.7:6381")) == ("10.0.0.7", 6381)
    assert moved_to(Refused("MOVED 3999 :6381")) == ("", 6381)
    assert moved_to(Refused("ERR MOVED")) is None


def test_an_address_has_its_parts() -> None:
    found = address_of("rediss://ada:p%40ss@example.org/3", "a worker")
    assert (found.host, found.port, found.database) == ("example.org", 6379, 3)
    assert (found.user, found.password, found.secure) == ("ada", "p@ss", True)
    assert found.name == "a-worker"
    assert masked("redis://ada:secret@h:1/0") == "redis://ada:***@h:1/0"
    assert masked("redis://h:1") == "redis://h:1"


@pytest.mark.parametrize("url", ["redis://h:port", "redis://:secret@h/number"])
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        address_of(url, "t")
    assert "secret" not in str(caught.value)
