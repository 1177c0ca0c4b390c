"""A question is taken apart into what it asks and what it asks about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.errors import InvalidQuestion
from workers.documents.questions import Shape, parse


def anchors(question: str, part: int = 0) -> set[str]:
    return {term.text for term in parse(question).parts[part].terms if term.anchor}


def test_later_parts_inherit_the_name_they_speak_of() -> None:
    question = "What does Kestrel cost, who leads it and when does it launch?"
    assert [part.text for part in parse(question).parts] == [
        "What does Kestrel cost",
        "who leads it",
        "when does it launch",
    ]
    assert all(anchors(question, part) == {"kestrel"} for part in range(3))


def test_names_codes_and_years_are_anchors() -> None:
    question = "What did Kafka and fault E-1042 cost Kestrel in 2026?"
    assert anchors(question) == {"kafka", "e-1042", "kestrel", "2026"}


def test_a_question_in_title_case_has_no_names() -> None:
    assert anchors("What Is The Price Of The Aircraft") == set()


@pytest.mark.parametrize(
    ("question", "shape"),
    [
        ("Who leads Kestrel?", "person"),
        ("When does Kestrel launch?", "time"),
        ("How long is the warranty?", "duration"),
        ("How much does Kestrel cost?", "number"),
        ("Why was Kestrel late?", "any"),
    ],
)
def test_the_question_word_says_the_shape_of_an_answer(question: str, shape: Shape) -> None:
    assert parse(question).parts[0].shape == shape


@pytest.mark.parametrize("question", ["", "?", "what is it?", "... !!"])
def test_a_question_without_words_is_refused(question: str) -> None:
    with pytest.raises(InvalidQuestion):
        parse(question)


@given(st.text(max_size=200))
def test_any_text_is_a_question_or_refused(text: str) -> None:
    try:
        parts = parse(text).parts
    except InvalidQuestion:
        return
    assert [part.number for part in parts] == list(range(len(parts)))
    assert all(part.terms for part in parts)
