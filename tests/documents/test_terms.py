"""Words become terms that compare equal when they mean the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.terms import fold, is_identifier, terms


@pytest.mark.parametrize(
    "word", ["P-204", "CVE-2024-3094", "E1042", "sync_interval", "v2.1", "docs/api.md", "readFile"]
)
def test_a_code_is_one_term_and_its_parts(word: str) -> None:
    assert is_identifier(word)
    assert fold(word) in terms(f"See {word}, please.")


@pytest.mark.parametrize("word", ["read-only", "Kestrel", "2026", "worker's"])
def test_an_ordinary_word_is_no_code(word: str) -> None:
    assert not is_identifier(word)


def test_forms_of_a_word_are_one_term() -> None:
    assert terms("launches") == terms("Launching") == terms("launched")


def test_a_symbol_is_found_by_its_words() -> None:
    assert terms("retry limit") <= terms("MAX_RETRY_LIMIT = 3")
    assert terms("file reader") <= terms("class FileReader:")


def test_a_version_is_found_with_and_without_its_letter() -> None:
    assert "2.1" in terms("since v2.1")


def test_stop_words_are_no_terms() -> None:
    assert terms("what is the of and to") == set()


@given(st.text(max_size=200))
def test_no_term_is_empty(text: str) -> None:
    assert all(terms(text))
