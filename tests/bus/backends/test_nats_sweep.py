"""What may be removed from a stream: never what a group still wants."""

from bus.backends.nats.sweep import Reader, removable


def test_what_two_want_goes_when_both_are_done() -> None:
    readers = [Reader(("t.code.>",), 90), Reader(("t.code.rare",), 40)]
    assert removable(readers, 100) == {"t.code.>": 40, "t.code.rare": 40}


def test_a_slow_group_holds_only_what_it_wants() -> None:
    readers = [Reader(("t.a.>", "g.one.>"), 90), Reader(("t.b.>", "g.two.>"), 5)]
    assert removable(readers, 100) == {"t.a.>": 90, "g.one.>": 90, "t.b.>": 5, "g.two.>": 5}


def test_nothing_after_the_end_that_was_judged_goes() -> None:
    assert removable([Reader(("t.>",), 500)], 100) == {"t.>": 100}
