"""The validator believes nothing: it opens the files again."""

from pathlib import Path

import pytest

from tests.documents.running import draft, over_the_wire
from workers.documents import stages
from workers.documents.discover import sha256
from workers.documents.model import Brief, Citation, Place
from workers.documents.validation import CHANGED, apply, check, check_citation, check_figure

NOTES = "Kestrel costs\n900 euro. It is red.\n\nKestrel weighs 14 kg.\n"
QUESTION = "What does Kestrel cost and what does it weigh? What is the total of units sold?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "notes.txt").write_text(NOTES, encoding="utf-8")
    (tmp_path / "page.html").write_text("<p>Osprey <b>costs</b>\n800 &euro;</p>", encoding="utf-8")
    (tmp_path / "sales.csv").write_text("region,units sold\nN,1\nS,2\n", encoding="utf-8")
    return tmp_path


def citation(folder: Path, quote: str, place: Place) -> Citation:
    digest = sha256((folder / place.file).read_bytes())
    return Citation(number=1, place=place, quote=quote, sha256=digest)


@pytest.mark.parametrize(
    ("quote", "place"),
    [
        ("Kestrel costs 900 euro.", Place(file="notes.txt", line=1, last_line=2)),
        ("It is red.", Place(file="notes.txt", line=2)),
        ("Osprey costs 800 €", Place(file="page.html", line=1, last_line=2)),
        ("region: S; units sold: 2", Place(file="sales.csv", line=3)),
    ],
)
def test_a_true_quote_at_its_place_holds(folder: Path, quote: str, place: Place) -> None:
    assert check_citation(folder, citation(folder, quote, place)).ok


@pytest.mark.parametrize(
    ("quote", "place"),
    [
        ("Kestrel costs 901 euro.", Place(file="notes.txt", line=1, last_line=2)),
        ("Kestrel costs 900 euro.", Place(file="notes.txt", line=1)),
        ("Kestrel costs 900 euro.", Place(file="notes.txt", line=4)),
        ("Kestrel costs 900 euro.", Place(file="notes.txt", line=400)),
        ("Kestrel costs 900 euro.", Place(file="notes.txt", page=1)),
        ("Kestrel costs 900 euro.", Place(file="notes.txt")),
        ("<b>costs</b>", Place(file="page.html", line=1)),
        ("Osprey costs 800 €", Place(file="page.html", line=2)),
        ("", Place(file="notes.txt", line=1)),
        ("  ", Place(file="page.html", line=1)),
        ("region: S; units sold: 2", Place(file="sales.csv", line=2)),
    ],
)
def test_a_quote_that_does_not_stand_there_is_rejected(
    folder: Path, quote: str, place: Place
) -> None:
    verdict = check_citation(folder, citation(folder, quote, place))
    assert not verdict.ok
    assert "does not stand at" in verdict.reason


def test_a_quote_under_another_heading_is_rejected(folder: Path) -> None:
    (folder / "a.md").write_text("# Osprey\n\nIt costs 900.\n", encoding="utf-8")
    good = citation(folder, "It costs 900.", Place(file="a.md", line=3))
    assert check_citation(folder, good.model_copy(update={"heading": "Osprey"})).ok
    verdict = check_citation(folder, good.model_copy(update={"heading": "Kestrel"}))
    assert verdict.reason == "the quote does not stand under 'Kestrel'"


def test_a_changed_a_missing_and_an_outside_file_are_rejected(folder: Path) -> None:
    good = citation(folder, "It is red.", Place(file="notes.txt", line=2))
    (folder.parent / "secret.txt").write_text("It is red.\n", encoding="utf-8")
    outside = good.model_copy(update={"place": Place.model_construct(file="../secret.txt", line=1)})
    assert check_citation(folder, outside).reason == "the place is outside the folder"
    (folder / "notes.txt").write_text(NOTES + "\n", encoding="utf-8")
    assert check_citation(folder, good).reason == CHANGED
    (folder / "notes.txt").unlink()
    assert "cannot be read" in check_citation(folder, good).reason


@pytest.mark.parametrize(
    "forged",
    [
        {"value": "4"},
        {"unit": "kg"},
        {"rows": 3},
        {"last_line": 9},
        {"label": "average of units sold"},
        {"at": "region: N"},
    ],
)
def test_a_figure_that_does_not_recompute_is_rejected(
    folder: Path, forged: dict[str, object]
) -> None:
    figure = draft(folder, QUESTION).figures[0]
    assert figure.value == "3"
    assert check_figure(folder, figure).ok
    assert not check_figure(folder, figure.model_copy(update=forged)).ok


def test_what_rested_on_a_rejected_citation_goes_with_it(folder: Path) -> None:
    brief = draft(folder, QUESTION)
    (folder / "sales.csv").write_text("region,units sold\nN,1\nS,3\n", encoding="utf-8")
    checked = over_the_wire(stages.validate(folder, brief))
    assert checked.figures == ()
    assert {c.place.file for c in checked.citations} == {"notes.txt"}
    assert [c.number for c in checked.citations] == list(range(1, len(checked.citations) + 1))
    assert {v.reason for v in checked.rejected} == {CHANGED}
    assert "## Rejected" in checked.markdown


def test_a_brief_that_loses_everything_is_not_found(folder: Path) -> None:
    brief = draft(folder, "What does Kestrel cost?")
    assert brief.status == "answered"
    (folder / "notes.txt").write_text("Kestrel costs 1 euro.\n", encoding="utf-8")
    checked = stages.validate(folder, brief)
    assert checked.status == "not found"
    assert checked.citations == ()
    assert "**Not found.**" in checked.markdown
    assert CHANGED in checked.markdown


def test_words_slipped_into_the_markdown_do_not_survive(folder: Path) -> None:
    brief = draft(folder, "What does Kestrel cost?")
    slipped = brief.model_copy(
        update={"markdown": brief.markdown + "\nKestrel is invisible [1].\n"}
    )
    assert "invisible" not in stages.validate(folder, slipped).markdown


def test_validating_twice_changes_nothing(folder: Path) -> None:
    once = stages.validate(folder, draft(folder, QUESTION))
    assert once.validated
    assert stages.validate(folder, once) == once


def test_every_number_of_a_brief_points_at_something(folder: Path) -> None:
    brief = draft(folder, QUESTION)
    for rejected in range(1, len(brief.citations) + 1):
        verdicts = [
            v.model_copy(update={"ok": False, "reason": "a test"})
            if v.of == "citation" and v.number == rejected
            else v
            for v in check(folder, brief)
        ]
        _consistent(apply(brief, verdicts))


def _consistent(brief: Brief) -> None:
    numbers = [c.number for c in brief.citations]
    assert numbers == list(range(1, len(numbers) + 1))
    assert all(f.citation in numbers for f in brief.figures)
    for answer in brief.answers:
        assert set(answer.citations) <= set(numbers)
        assert all(index < len(brief.figures) for index in answer.figures)
