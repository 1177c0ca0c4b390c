"""How durations, moments, secrets and errors are read and shown. No process needed."""

from datetime import datetime

import pytest

from bus.errors import BusError, NotDead, Unreachable
from contracts.errors import MusterError
from workers.cli import times
from workers.cli.errors import WrongUsage, code_of, codes, described, three_lines
from workers.cli.masking import masked

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", 86400), ("250ms", 0.25)],
)
def test_durations(text: str, seconds: float) -> None:
    assert times.seconds(text, "--delay") == seconds
    assert times.moment(text, "--at", now=NOW) == NOW + seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "1e3", "5w", "--", "²"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(WrongUsage):
        times.seconds(text, "--delay")


def test_moments() -> None:
    assert times.moment("1900000000", "--at", now=NOW) == 1_900_000_000
    assert times.moment("2030-01-01T00:00:00Z", "--at", now=NOW) == 1_893_456_000
    local = datetime(2030, 1, 1, 8).astimezone().timestamp()
    assert times.moment("2030-01-01T08:00", "--at", now=NOW) == local


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nats://127.0.0.1:4222", "nats://127.0.0.1:4222"),
        ("nats://me:pa:ss@host:1", "nats://me:***@host:1"),
        ("nats://token@host", "nats://***@host"),
        ("redis://h?password=x&db=1", "redis://h?password=***&db=***"),
        (
            "postgresql://me:x@/db?host=/run/pg&passfile=x",
            "postgresql://me:***@/db?host=/run/pg&passfile=***",
        ),
        ("postgresql://me@/db", "postgresql://me@/db"),
        ("postgresql://me:a/b@host/db", "postgresql://***@host/db"),
        ("postgresql://me:a?b@host/db?sslpassword=x", "postgresql://***@host/db?sslpassword=***"),
        ("postgresql://me:x@[::1", "***"),
        ("me:x", "***"),
        ("none", "none"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_an_error_has_three_short_lines_whatever_it_holds() -> None:
    lines = three_lines(MusterError("a\nb", details="c" * 1000)).split("\n")
    assert len(lines) == 3
    assert lines[0] == "error: a"
    assert all(len(line) < 320 for line in lines)


def test_the_nearest_class_decides_the_exit_code() -> None:
    class Nearer(Unreachable):
        pass

    assert code_of(Nearer("away")) == 3
    assert code_of(NotDead("alive")) == 5
    assert code_of(BusError("?")) == 1
    assert code_of(KeyError("x")) == 1
    assert code_of(described(KeyboardInterrupt())) == 130


def test_every_exit_code_is_one_that_is_promised() -> None:
    assert set(codes().values()) <= {1, 2, 3, 4, 5, 130}


def test_an_error_nobody_foresaw_says_where_it_was() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        shown = three_lines(described(error))
    assert "KeyError" in shown
    assert __file__ in shown
