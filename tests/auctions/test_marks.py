"""Which auction a copy belongs to, and how copies are numbered."""

from dataclasses import replace

import pytest

from bus import replays
from contracts.envelope import decode, encode
from tests.bus.rooms import envelope
from workers.auctions.marks import (
    BLOCK,
    MAX_KEY,
    Mark,
    is_untouched,
    key_of,
    mark_of,
    marked,
    next_block,
    unauctioned,
    unmarked,
    without_auction,
)

TASK = envelope("t-1")


def test_a_first_copy_begins_an_auction_of_its_own_in_each_role() -> None:
    assert mark_of(TASK) is None
    assert key_of(TASK, "reader") == "reader.t-1.0"
    assert key_of(TASK, "writer") != key_of(TASK, "reader")


@pytest.mark.parametrize("opened", [True, False])
def test_a_marked_copy_belongs_to_its_auction_also_after_a_round_trip(opened: bool) -> None:
    mark = Mark("reader.t-1.0", opened)
    copy = marked(TASK, mark).again()
    assert mark_of(decode(encode(copy), copy.body)) == mark


def test_a_watch_copy_of_a_watch_copy_keeps_the_key() -> None:
    mark = Mark("reader.t-1.0", opened=True)
    first = marked(TASK, mark).again()
    assert mark_of(marked(first, mark).again()) == mark


def test_any_other_copy_begins_anew() -> None:
    """As a retry that was not unmarked, or a replay of a dead letter: their numbers differ."""
    watch = marked(TASK, Mark("reader.t-1.0", opened=True)).again()
    later = replace(watch, copy=next_block(watch.copy))
    assert mark_of(later) is None
    assert key_of(later, "reader") == f"reader.t-1.{BLOCK}"


def test_a_replay_of_a_dead_watch_copy_begins_anew() -> None:
    watch = marked(TASK, Mark("reader.t-1.0", opened=True)).again()
    headers = replays.again(encode(watch), copy=watch.copy + 1, replays=1, suspect=False, now=1.0)
    assert mark_of(decode(headers, watch.body)) is None


def test_a_first_copy_that_claims_an_auction_is_not_believed() -> None:
    """A foreign program could name the auction of somebody else."""
    assert mark_of(replace(TASK, extra={"muster-auction": "0;watch;reader.other.0"})) is None


@pytest.mark.parametrize("value", ["", "1", "1;watch", "1;watch;", "1;else;key", ";;", "x;watch;k"])
def test_what_is_no_mark_is_none(value: str) -> None:
    assert mark_of(replace(TASK, copy=1, extra={"muster-auction": value})) is None


def test_a_long_id_gives_a_key_that_the_ledger_takes() -> None:
    long = replace(TASK, id="x" * 200)
    other = replace(TASK, id="x" * 199 + "y")
    assert len(key_of(long, "r" * 64)) <= MAX_KEY
    assert key_of(long, "r" * 64) != key_of(other, "r" * 64)


def test_blocks_never_meet() -> None:
    assert [next_block(copy) for copy in (0, 1, BLOCK - 1)] == [BLOCK] * 3
    assert next_block(BLOCK) == 2 * BLOCK


def test_what_is_unmarked_has_neither_auction_nor_token() -> None:
    task = replace(marked(TASK, Mark("k", opened=True)), fence=17)
    assert unmarked(task) == TASK


def test_what_ran_without_an_auction_says_so() -> None:
    assert not unauctioned(TASK)
    assert unauctioned(without_auction(TASK).again())


@pytest.mark.parametrize(
    ("copy", "earlier", "untouched"), [(0, 0, True), (1, 0, False), (0, 1, False)]
)
def test_only_a_first_copy_in_its_first_hands_was_surely_never_opened(
    copy: int, earlier: int, untouched: bool
) -> None:
    assert is_untouched({}, copy, earlier) is untouched
