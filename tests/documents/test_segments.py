"""Sentences, items and lines are found without losing a word."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.model import PassageKind
from workers.documents.segments import LONGEST, segments


def pieces(text: str, kind: PassageKind = "prose") -> list[str]:
    return [text[start:end] for start, end in segments(text, kind)]


def test_sentences_end_where_a_reader_would_end_them() -> None:
    assert pieces("Use e.g. Redis. Dr. Vos said so! It costs 3.50 euro.\nNext line.") == [
        "Use e.g. Redis.",
        "Dr. Vos said so!",
        "It costs 3.50 euro.",
        "Next line.",
    ]


def test_list_items_are_apart() -> None:
    assert pieces("Two things:\n- one\n- two") == ["Two things:", "- one", "- two"]


@given(st.text(max_size=2000), st.sampled_from(["prose", "lines", "row", "record", "code"]))
def test_segments_are_ordered_short_and_hold_every_letter(text: str, kind: PassageKind) -> None:
    spans = segments(text, kind)
    assert all(a < b <= c < d for (a, b), (c, d) in pairwise(spans))
    assert all(end - start <= LONGEST for start, end in spans)
    kept = "".join(text[start:end] for start, end in spans)
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]


@pytest.mark.parametrize("kind", ["prose", "code"])
def test_a_huge_line_is_cut_quickly(kind: PassageKind) -> None:
    assert len(segments("word " * 200_000, kind)) > 2000
