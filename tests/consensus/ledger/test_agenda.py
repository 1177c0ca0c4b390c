"""What the leader's node is told to propose, and what it costs to ask."""

from consensus.ledger.answers import Reopened
from consensus.ledger.clock import LeaderClock
from consensus.ledger.commands import Close, Complete, Expire, Leave, Renew, Tick
from tests.consensus.ledger.crowds import HASH, Crowd


def test_asking_changes_nothing() -> None:
    crowd = Crowd(3, slots=5)
    crowd.open("a")
    crowd.award("b")
    later = crowd.now + 1_000
    before = crowd.ledger.hash()
    first = crowd.ledger.agenda.due(later)
    assert len(first) == 2
    assert crowd.ledger.agenda.due(later) == first
    assert crowd.ledger.hash() == before


def test_what_is_due_is_due_until_it_is_applied() -> None:
    crowd = Crowd(1)
    crowd.award("a")
    crowd.now += 1_000
    found = crowd.ledger.agenda.due(crowd.now)
    assert [type(c) for c in found] == [Expire]
    crowd.lead(found[0])
    assert not any(isinstance(c, Expire) for c in crowd.ledger.agenda.due(crowd.now))


def test_a_question_is_answered_in_part() -> None:
    crowd = Crowd(1, slots=100)
    for number in range(40):
        crowd.open(f"k{number}")
    crowd.now += 100
    assert len(crowd.ledger.agenda.due(crowd.now, limit=25)) == 25
    seen = 0
    while found := [c for c in crowd.ledger.agenda.due(crowd.now, 25) if isinstance(c, Close)]:
        for command in found:
            assert isinstance(crowd.lead(command), Reopened)
        seen += len(found)
    assert seen == 40


def test_a_renewed_lease_is_looked_at_when_it_ends() -> None:
    crowd = Crowd(1)
    award = crowd.award("a")
    for _ in range(50):
        crowd.now += 900
        crowd.say(0, Renew("a", award.token))
        assert crowd.ledger.agenda.due(crowd.now) == []
    assert crowd.ledger.agenda.due(crowd.now + 1_000) == [Expire("a", award.token)]
    assert len(crowd.ledger.agenda._index.lapses) == 1


def test_as_many_are_woken_as_bidders_have_room() -> None:
    crowd = Crowd(2)
    held = [crowd.award(key) for key in ("a", "b")]
    for number in range(5):
        crowd.open(f"k{number}")
    assert crowd.ledger.views.lonely() == {"review": 5}
    assert crowd.ledger.agenda.due(crowd.now) == []
    who = crowd.sessions.index(held[0].session)
    crowd.say(who, Complete("a", held[0].token, HASH))
    assert crowd.ledger.agenda.due(crowd.now) == [Close("k0", 1)]


def test_nothing_is_due_for_what_nobody_waits_for() -> None:
    crowd = Crowd(2)
    assert crowd.ledger.agenda.due(crowd.now + 3_000_000) == []
    assert crowd.ledger.agenda.shortest_lease() is None


def test_ticks_come_only_where_nothing_else_moves_the_clock() -> None:
    crowd = Crowd(2)
    crowd.open("a", window=50_000, lease=60_000)
    assert crowd.ledger.agenda.shortest_lease() == 60_000
    assert crowd.ledger.agenda.due(crowd.now + 14_999) == []
    assert crowd.ledger.agenda.due(crowd.now + 15_000) == [Tick()]
    assert crowd.ledger.agenda.due(crowd.now + 50_000) == [Close("a", 1)]


def test_only_bidders_are_dismissed() -> None:
    crowd = Crowd(1)
    assert crowd.ledger.agenda.dismissal(crowd.sessions[0]) is not None
    crowd.say(0, Leave("review"))
    assert crowd.ledger.agenda.dismissal(crowd.sessions[0]) is None
    assert crowd.ledger.agenda.dismissal(999) is None


def test_a_leaders_clock_begins_where_the_log_ended_and_never_goes_back() -> None:
    clock = LeaderClock(5_000, tick_ms=25)
    assert clock.pass_time(25) == 5_025
    assert clock.pass_time(-9_000) == 5_025
    assert clock.now == 5_025


def test_a_source_that_jumps_a_day_moves_a_leaders_clock_by_two_ticks() -> None:
    clock = LeaderClock(5_000, tick_ms=25)
    assert clock.pass_time(86_400_000) == 5_050
