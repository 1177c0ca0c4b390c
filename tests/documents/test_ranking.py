"""A finding answers by the weight of what it holds, not by sounding alike."""

from pathlib import Path

import pytest

from tests.documents.running import find, run


def folder(tmp_path: Path, **files: str) -> Path:
    for name, text in files.items():
        (tmp_path / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return tmp_path


def quotes(path: Path, question: str) -> list[str]:
    return [citation.quote for citation in run(path, question).citations]


def test_the_same_said_of_another_name_is_no_answer(tmp_path: Path) -> None:
    folder(tmp_path, a_md="Osprey costs 900 euro.\n\nKestrel was painted green.\n")
    assert quotes(tmp_path, "What does Kestrel cost?") == []


def test_a_heading_says_what_its_section_is_about(tmp_path: Path) -> None:
    folder(tmp_path, a_md="# Kestrel\n\nIt costs 900 euro.\n\n# Osprey\n\nIt costs 800 euro.\n")
    assert quotes(tmp_path, "What does Kestrel cost?") == ["It costs 900 euro."]


def test_another_word_for_the_same_is_understood(tmp_path: Path) -> None:
    folder(tmp_path, a_txt="The price of Kestrel is 900 euro.\n\nKestrel flies.\n")
    assert quotes(tmp_path, "What does Kestrel cost?") == ["The price of Kestrel is 900 euro."]


def test_the_quote_is_the_sentence_that_answers(tmp_path: Path) -> None:
    text = "Kestrel is old. It flies well. The battery of Kestrel lasts 40 minutes. It is red.\n"
    folder(tmp_path, a_txt=text, b_txt="Nothing of interest is said here.\n")
    assert quotes(tmp_path, "How long does the battery of Kestrel last?") == [
        "The battery of Kestrel lasts 40 minutes."
    ]


def test_a_question_in_the_folder_is_no_answer_to_itself(tmp_path: Path) -> None:
    folder(tmp_path, a_txt="What does Kestrel cost?\n\nThe cost of Kestrel is 900 euro.\n")
    assert quotes(tmp_path, "What does Kestrel cost?")[0] == "The cost of Kestrel is 900 euro."


def test_a_passage_that_only_repeats_the_question_is_no_answer(tmp_path: Path) -> None:
    folder(tmp_path, a_md="- Kestrel cost\n- other\n\nKestrel: cost 900 euro.\n")
    assert quotes(tmp_path, "What does Kestrel cost?") == ["Kestrel: cost 900 euro."]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder(tmp_path, a_txt="Kestrel flies at night.\n")
    selection = find(tmp_path, "Who insures Kestrel?")
    assert selection.parts[0].missing == ("insures",)
    assert "No passage mentions: insures." in run(tmp_path, "Who insures Kestrel?").markdown


def test_one_part_may_be_answered_and_another_not(tmp_path: Path) -> None:
    folder(tmp_path, a_txt="Kestrel costs 900 euro.\n\nSome other words stand here.\n")
    brief = run(tmp_path, "What does Kestrel cost and who insures it?")
    assert brief.status == "answered"
    assert [bool(answer.citations) for answer in brief.answers] == [True, False]
    assert "Not found in this folder." in brief.markdown


@pytest.mark.parametrize(
    "question", ["Compare the cost of Kestrel and Osprey", "Which costs less, Kestrel or Osprey?"]
)
def test_a_comparison_cites_both_sides(tmp_path: Path, question: str) -> None:
    folder(tmp_path, a_txt="Kestrel costs 900 euro.\n", b_txt="Osprey costs 800 euro.\n")
    assert set(quotes(tmp_path, question)) == {"Kestrel costs 900 euro.", "Osprey costs 800 euro."}


def test_there_are_at_most_twelve_citations(tmp_path: Path) -> None:
    lines = [
        f"The Kestrel {noun} limit is {n} kg near Bergen today number {n * n}."
        for n, noun in enumerate(["mast", "rotor", "tail", "wing"] * 10)
    ]
    folder(tmp_path, a_txt="\n\n".join(lines))
    question = "What is the Kestrel mast limit? What is the Kestrel rotor limit? " * 3
    assert 1 <= len(quotes(tmp_path, question)) <= 12
