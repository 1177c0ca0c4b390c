"""Subjects, filters and what follows from them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.backend import HIGH, LOW, NORMAL, Lane, LaneName
from bus.backends.nats.names import (
    cover,
    dotted,
    is_exact,
    names_of,
    overlap,
    parse_subject,
    token,
    undotted,
    untoken,
)
from contracts.errors import InvalidValue
from contracts.topics import matches_any

_WORD = st.sampled_from(["a", "b", "c"])
_TOPIC = st.lists(_WORD, min_size=1, max_size=4).map(".".join)
_PATTERN = st.builds(
    lambda words, tail: ".".join([*words, *tail]),
    st.lists(st.sampled_from(["a", "b", "*"]), min_size=0, max_size=3),
    st.sampled_from([["#"], ["a"], ["*"]]),
)


@given(st.text(min_size=0, max_size=30))
def test_any_word_survives_as_a_word_of_a_subject(word: str) -> None:
    made = token(word)
    assert untoken(made) == word
    assert made
    assert not set(made) & set(" .*>\r\n\t")


@given(st.text(max_size=30), st.text(max_size=30))
def test_different_words_are_different_in_a_subject(one: str, other: str) -> None:
    assert (token(one) == token(other)) == (one == other)


@given(st.lists(_PATTERN, min_size=1, max_size=5), _TOPIC)
def test_a_cover_takes_all_that_is_asked_for_and_never_twice(
    patterns: list[str], topic: str
) -> None:
    filters = cover(patterns)
    taking = [f for f in filters if overlap(f, topic)]
    assert len(taking) <= 1
    if matches_any(patterns, topic):
        assert len(taking) == 1
    elif is_exact(patterns):
        assert not taking


@pytest.mark.parametrize(
    ("patterns", "filters"),
    [
        (["code.#"], ["code", "code.>"]),
        (["#"], [">"]),
        (["a", "#"], [">"]),
        (["a.b", "a.*"], ["a.*"]),
        (["a.*", "*.b"], ["*.*"]),
        (["a.#", "*.b"], ["*.>", "a"]),
        (["a.b", "c.d"], ["a.b", "c.d"]),
        ([], []),
    ],
)
def test_covers(patterns: list[str], filters: list[str]) -> None:
    assert cover(patterns) == filters


def test_only_a_joined_cover_takes_more_than_asked_for() -> None:
    assert is_exact(["a.#", "b.*"])
    assert is_exact(["a.b", "a.*"])
    assert not is_exact(["a.*", "*.b"])


def test_subjects_tell_topic_and_lane() -> None:
    names = names_of("f")
    lane = Lane(LaneName.LOW, 3)
    assert parse_subject(names.subject("a.b", HIGH)) == ("a.b", HIGH)
    assert parse_subject(names.direct("g", "a.b", lane)) == ("a.b", lane)
    assert parse_subject(names.retry("g", "a.b", NORMAL)) == ("a.b", NORMAL)


@given(st.text(min_size=1, max_size=40))
def test_a_topic_that_is_not_valid_survives_for_one_group(topic: str) -> None:
    subject = names_of("f").retry("g", topic, LOW)
    assert parse_subject(subject) == (topic, LOW)
    assert not set(subject) & set(" *>\r\n\t")
    assert undotted(dotted(topic)) == topic


def test_every_copy_of_every_group_has_a_schedule_of_its_own() -> None:
    names = names_of("f")
    made = {
        names.schedule(g, NORMAL, i, c) for g in "gh" for i in ("a", "a.1", "ä") for c in (0, 1)
    }
    assert len(made) == 12


@pytest.mark.parametrize("fleet", ["", "a.b", "a b", "ä", "-a", "x" * 33, "a*", "a\n"])
def test_a_fleet_name_the_broker_cannot_hold_is_refused(fleet: str) -> None:
    with pytest.raises(InvalidValue):
        names_of(fleet)
