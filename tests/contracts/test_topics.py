"""Topics, patterns and groups, against a second implementation written without any cleverness."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidTopic
from contracts.topics import (
    MAX_TOPIC,
    check_group,
    check_pattern,
    check_topic,
    matches,
    matches_any,
    near,
    publishable,
)

word = st.sampled_from(["a", "b", "code", "x-1"])
topics = st.lists(word, min_size=1, max_size=4).map(".".join)
patterns = st.builds(
    lambda words, hash_: ".".join([*words, *hash_]),
    st.lists(word | st.just("*"), min_size=1, max_size=4),
    st.sampled_from([(), ("#",)]),
) | st.just("#")


def naive(pattern: list[str], topic: list[str]) -> bool:
    """By recursion over both, word by word."""
    if pattern == ["#"]:
        return True
    if not pattern or not topic:
        return not pattern and not topic
    return pattern[0] in {"*", topic[0]} and naive(pattern[1:], topic[1:])


@given(patterns, topics)
def test_a_pattern_matches_what_the_naive_reading_says(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) is naive(pattern.split("."), topic.split("."))


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("code.*", "code.review", True),
        ("code.*", "code", False),
        ("code.*", "code.review.python", False),
        ("code.#", "code", True),
        ("code.#", "code.review.python", True),
        ("code.#", "codes", False),
        ("*.#", "a", True),
        ("#", "a.b.c", True),
        ("a.*.c", "a.b.c", True),
        ("a.*.#", "a", False),
    ],
)
def test_a_star_is_one_word_and_a_hash_is_zero_or_more(
    pattern: str, topic: str, expected: bool
) -> None:
    assert matches(pattern, topic) is expected


@given(st.lists(patterns, max_size=4), topics)
def test_any_of_several_patterns_is_enough(several: list[str], topic: str) -> None:
    expected = any(naive(p.split("."), topic.split(".")) for p in several)
    assert matches_any(several, topic) is expected


@given(topics)
def test_a_topic_is_a_topic_and_a_pattern_that_matches_itself(topic: str) -> None:
    assert check_topic(topic) == check_pattern(topic) == topic
    assert matches(topic, topic)


@given(patterns)
def test_patterns_are_patterns(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("topic", ["", ".", "a.", ".a", "a..b", "a b", "a.*", "#", "ä", "a\n"])
def test_what_is_not_dotted_words_is_no_topic(topic: str) -> None:
    with pytest.raises(InvalidTopic, match="not a valid topic"):
        check_topic(topic)


@pytest.mark.parametrize("pattern", ["", "a.#.b", "#.a", "a*", "a.**", "a.b#", "a..#", "a b"])
def test_wildcards_stand_alone_and_a_hash_is_last(pattern: str) -> None:
    with pytest.raises(InvalidTopic, match="not a valid pattern"):
        check_pattern(pattern)


@given(st.text(max_size=20) | st.from_regex(r"[ab_.-]{1,9}", fullmatch=True))
def test_any_text_is_a_topic_or_an_error_that_says_why(text: str) -> None:
    if re.fullmatch(r"[\w-]+(\.[\w-]+)*", text, re.ASCII):
        assert check_topic(text) == text
        return
    with pytest.raises(InvalidTopic) as caught:
        check_topic(text)
    assert caught.value.details
    assert caught.value.actions


def test_a_topic_that_is_too_long_is_refused_with_its_beginning() -> None:
    check_topic("a" * MAX_TOPIC)
    with pytest.raises(InvalidTopic, match=r"'a{40}…'"):
        check_topic("a" * (MAX_TOPIC + 1))


@pytest.mark.parametrize("group", ["a", "coder", "a1-b_c", "0", "a" * 64])
def test_a_group_name_is_lower_case_words_and_digits(group: str) -> None:
    assert check_group(group) == group


@pytest.mark.parametrize("group", ["", "-a", "_a", "A", "a.b", "a b", "a" * 65, "a/b", "a\n"])
def test_other_names_are_no_groups(group: str) -> None:
    with pytest.raises(InvalidTopic, match="not a valid group"):
        check_group(group)


def test_users_do_not_publish_on_the_topics_of_muster_itself() -> None:
    assert publishable("musters.events") == "musters.events"
    for topic in ("muster", "muster.events"):
        with pytest.raises(InvalidTopic, match="not a valid topic"):
            publishable(topic)


def test_near_names_come_best_first_and_far_ones_not_at_all() -> None:
    known = ["support.ticket", "support.tickets", "billing.invoice"]
    assert near("suport.ticket", known) == ["support.ticket", "support.tickets"]
    assert near("zzz", known) == []
