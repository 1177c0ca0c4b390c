"""When schedules tick, over changes of the clock too, and what becomes of missed ticks."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidValue
from knowledge.schedules.ticks import LATE, MOST, Misfire, Timing, plan, timing

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC).timestamp()
BERLIN, NEW_YORK = "Europe/Berlin", "America/New_York"


def _at(text: str, zone: str = "UTC", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def _ticks(cron: str, zone: str, start: str, count: int) -> list[str]:
    """The first ticks after a local time, with their offsets."""
    moment, found = _at(start, zone), list[str]()
    kept = timing(cron=cron, at=None, zone=zone, now=NOW)
    for _ in range(count):
        tick = kept.after(moment)
        assert tick is not None
        assert tick > moment
        found.append(datetime.fromtimestamp(tick, ZoneInfo(zone)).strftime("%d %H:%M:%S %z"))
        moment = tick
    return found


def test_five_fields_and_six_with_seconds() -> None:
    assert _ticks("30 8 * * MON-FRI", "UTC", "2026-01-16T08:30", 2) == [
        "19 08:30:00 +0000",
        "20 08:30:00 +0000",
    ]
    assert _ticks("*/20 0 8 * * *", "UTC", "2026-01-16T08:00:20", 2) == [
        "16 08:00:40 +0000",
        "17 08:00:00 +0000",
    ]


@pytest.mark.parametrize(
    ("name", "first"), [("@hourly", "15 13:00:00 +0000"), ("@Daily", "16 00:00:00 +0000")]
)
def test_names_of_crontab(name: str, first: str) -> None:
    assert _ticks(name, "UTC", "2026-01-15T12:00", 1) == [first]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        (BERLIN, "2026-03-28T12:00", ["29 03:00:00 +0200", "30 02:30:00 +0200"]),
        (NEW_YORK, "2026-03-07T12:00", ["08 03:00:00 -0400", "09 02:30:00 -0400"]),
    ],
)
def test_a_time_that_is_left_out_comes_right_after_once(
    zone: str, start: str, expected: list[str]
) -> None:
    """Clocks go from 02:00 to 03:00: what is due at 02:30 is neither lost nor done twice."""
    assert _ticks("30 2 * * *", zone, start, 2) == expected


@pytest.mark.parametrize(
    ("zone", "cron", "start", "expected"),
    [
        (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["25 02:30:00 +0200", "26 02:30:00 +0100"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["01 01:30:00 -0400", "02 01:30:00 -0500"]),
    ],
)
def test_a_time_that_comes_twice_counts_once(
    zone: str, cron: str, start: str, expected: list[str]
) -> None:
    assert _ticks(cron, zone, start, 2) == expected


def test_looked_for_within_the_hour_that_comes_again_it_is_not_found_again() -> None:
    """Between the two 02:30 a scheduler may start anew."""
    kept = Timing("30 2 * * *", None, BERLIN)
    between = _at("2026-10-25T02:10", BERLIN, fold=1)
    assert kept.after(between) == _at("2026-10-26T02:30", BERLIN)


@pytest.mark.parametrize(("start", "hours"), [("2026-03-28T23:00", 23), ("2026-10-24T23:00", 25)])
def test_what_comes_every_hour_goes_by_the_time_that_passes(start: str, hours: int) -> None:
    """The day of a change has 23 hours, or 25."""
    kept, moment = Timing("0 * * * *", None, BERLIN), _at(start, BERLIN)
    ticks = list(kept.upto(moment + 3600, moment + hours * 3600))
    assert [b - a for a, b in pairwise(ticks)] == [3600.0] * (hours - 1)
    last = datetime.fromtimestamp(ticks[-1], ZoneInfo(BERLIN))
    assert (last.hour, last.minute) == (23, 0)


@given(
    start=st.integers(min_value=1_700_000_000, max_value=2_000_000_000),
    cron=st.sampled_from(
        ["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15 1,2,3 * * SUN", "5 2 25 10 *"]
    ),
    zone=st.sampled_from([BERLIN, NEW_YORK, "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_ticks_rise_and_do_not_depend_on_where_one_starts_to_look(
    start: int, cron: str, zone: str
) -> None:
    kept = Timing(cron, None, zone)
    first = kept.after(start)
    assert first is not None
    second = kept.after(first)
    assert second is not None
    assert start < first < second
    assert kept.after(first - 1) == first
    assert kept.after((first + second) / 2) == second


def test_a_day_that_comes_seldom_is_found() -> None:
    assert Timing("0 0 29 2 *", None, "UTC").after(NOW) == _at("2028-02-29")


BAD = """
* * * *| * * * * * * *|60 * * * *|0 24 * * *|0 0 30 2 *|0 0 31 4,6 *|a b c d e|0 0 * * MOO|@
*/0 * * * *|5-1 * * * *|@reboot|0 0 * 2 MON#6|0 0 L/2,3 * SUN#1/2|² * * * *|1, * * * *|
"""


@pytest.mark.parametrize("cron", BAD.replace("\n", "").split("|"))
def test_what_is_no_cron_expression_says_why(cron: str) -> None:
    with pytest.raises(InvalidValue, match="is not a cron expression") as caught:
        timing(cron=cron, at=None, zone="UTC", now=NOW)
    assert all(caught.value.lines())


@pytest.mark.parametrize(
    "zone", ["Europe/Berlim", "europe/berlin2", "", "Europe", "../etc/passwd", "a\0b"]
)
def test_what_is_no_zone_names_the_nearest(zone: str) -> None:
    with pytest.raises(InvalidValue, match="is not a time zone") as caught:
        timing(cron="0 0 * * *", at=None, zone=zone, now=NOW)
    assert all(caught.value.lines())


SECONDS = Timing("* * * * * *", None, "UTC")
ONCE = Timing(None, NOW, "UTC")


@pytest.mark.parametrize("misfire", Misfire)
def test_what_is_in_time_fires_whatever_is_said_of_missed_ticks(misfire: Misfire) -> None:
    found = plan(SECONDS, NOW, misfire, NOW + 2.5)
    assert found.fire == (NOW, NOW + 1, NOW + 2)
    assert (found.next, found.missed) == (NOW + 3, False)
    assert plan(ONCE, NOW, misfire, NOW + LATE).fire == (NOW,)


@pytest.mark.parametrize("misfire", Misfire)
def test_what_is_not_due_waits(misfire: Misfire) -> None:
    found = plan(SECONDS, NOW, misfire, NOW - 0.1)
    assert (found.fire, found.next) == ((), NOW)


def test_missed_ticks_are_skipped() -> None:
    found = plan(SECONDS, NOW, Misfire.SKIP, NOW + 60.5)
    assert found.fire == tuple(NOW + s for s in range(56, 61))
    assert (found.next, found.missed) == (NOW + 61, True)
    hourly = plan(Timing("0 * * * *", None, "UTC"), NOW, Misfire.SKIP, NOW + 7300.0)
    assert (hourly.fire, hourly.next) == ((), NOW + 10_800)
    assert plan(ONCE, NOW, Misfire.SKIP, NOW + 60).next is None


def test_missed_ticks_become_one() -> None:
    found = plan(SECONDS, NOW, Misfire.ONCE, NOW + 400 * 86_400.0)
    assert found.fire == (NOW + 400 * 86_400.0,)
    assert (found.next, found.missed) == (NOW + 400 * 86_400.0 + 1, True)
    late = plan(ONCE, NOW, Misfire.ONCE, NOW + 86_400.0)
    assert (late.fire, late.next) == ((NOW,), None)


def test_missed_ticks_are_all_made_up_for_in_parts() -> None:
    tick, fired = NOW, list[float]()
    while tick <= NOW + 250:
        found = plan(SECONDS, tick, Misfire.ALL, NOW + 250)
        assert 0 < len(found.fire) <= MOST
        assert found.next is not None
        fired += found.fire
        tick = found.next
    assert fired == [NOW + s for s in range(251)]


@given(
    cron_and_days=st.sampled_from(
        [("*/7 * * * *", 3), ("0 8 * * MON", 99), ("30 2 1 * *", 999), ("5 4 29 2 *", 9999)]
    ),
    share=st.floats(min_value=0.0, max_value=1.0),
)
def test_one_for_all_is_the_last_of_them(cron_and_days: tuple[str, int], share: float) -> None:
    """Found without walking over all of them, as the slow way finds it."""
    cron, days = cron_and_days
    kept = Timing(cron, None, BERLIN)
    tick = kept.after(NOW)
    assert tick is not None
    now = tick + LATE + 0.001 + share * days * 86_400.0
    found = plan(kept, tick, Misfire.ONCE, now)
    *_, last = kept.upto(tick, now)
    assert found.fire == (last,)
    assert found.next == kept.after(last)


def test_a_one_off_ticks_once() -> None:
    later = NOW + timedelta(days=1).total_seconds()
    kept = timing(cron=None, at=later, zone="UTC", now=NOW)
    assert kept.after(NOW) == later
    assert kept.after(later) is None
