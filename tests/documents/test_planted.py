"""Eight planted facts, four decoys, and questions that the folder cannot answer."""

from pathlib import Path

import pytest

from tests.documents.planted import UNANSWERABLE, Fact, Planted, plant
from tests.documents.running import draft, run
from workers.documents import stages, validation
from workers.documents.model import Brief, Place


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(tmp_path_factory.mktemp("planted"))


def holds(place: Place, fact: Fact) -> bool:
    if place.file != fact.file or place.page != fact.page:
        return False
    if fact.line is None:
        return True
    first = place.line or 0
    return first <= fact.line <= (place.last_line or first)


def cites(brief: Brief, fact: Fact) -> bool:
    return any(holds(c.place, fact) and fact.answer in c.quote for c in brief.citations)


def test_the_folder_has_thirty_files(planted: Planted) -> None:
    files = [path for path in planted.folder.rglob("*") if path.is_file()]
    assert len(files) == 30
    assert {path.suffix for path in files} == {
        ".pdf",
        ".html",
        ".csv",
        ".json",
        ".md",
        ".py",
        ".txt",
    }


@pytest.mark.parametrize("number", range(8))
def test_a_planted_fact_is_cited_at_its_page_or_line(planted: Planted, number: int) -> None:
    fact = planted.facts[number]
    brief = run(planted.folder, fact.question)
    assert brief.status == "answered"
    assert cites(brief, fact), brief.markdown
    assert not brief.rejected


@pytest.mark.parametrize("number", range(8))
def test_no_decoy_is_cited(planted: Planted, number: int) -> None:
    brief = run(planted.folder, planted.facts[number].question)
    assert not {c.place.file for c in brief.citations} & set(planted.decoys), brief.markdown


def test_the_fact_is_cited_first(planted: Planted) -> None:
    """A reader who stops after the first quote has the answer, in at least 7 of 8."""
    first = 0
    for fact in planted.facts:
        brief = run(planted.folder, fact.question)
        first += bool(brief.citations) and holds(brief.citations[0].place, fact)
    assert first >= 7


def test_a_question_of_several_parts_is_answered_part_by_part(planted: Planted) -> None:
    question = (
        "What is the maximum take-off mass of Kestrel, who leads it, when is its launch"
        " and how long is its warranty?"
    )
    brief = run(planted.folder, question)
    wanted = [
        fact
        for fact in planted.facts
        if fact.answer in ("14.2 kg", "Ines Moreau", "2027-03-14", "36 months")
    ]
    assert len(brief.answers) == 4
    for answer, fact in zip(
        brief.answers, sorted(wanted, key=lambda f: _order(f.answer)), strict=True
    ):
        cited = [c for c in brief.citations if c.number in answer.citations]
        assert any(holds(c.place, fact) for c in cited), brief.markdown
    assert not {c.place.file for c in brief.citations} & set(planted.decoys)


def _order(answer: str) -> int:
    return ["14.2 kg", "Ines Moreau", "2027-03-14", "36 months"].index(answer)


@pytest.mark.parametrize("question", UNANSWERABLE)
def test_an_unanswerable_question_ends_as_not_found(planted: Planted, question: str) -> None:
    brief = run(planted.folder, question)
    assert brief.status == "not found"
    assert brief.citations == ()
    assert brief.figures == ()
    assert "Not found" in brief.markdown


@pytest.mark.parametrize("number", range(8))
def test_a_file_changed_before_validation_loses_its_citation(tmp_path: Path, number: int) -> None:
    planted = plant(tmp_path)
    fact = planted.facts[number]
    brief = draft(tmp_path, fact.question)
    path = tmp_path / fact.file
    path.write_bytes(path.read_bytes() + b"\n")
    checked = stages.validate(tmp_path, brief)
    assert not any(c.place.file == fact.file for c in checked.citations)
    assert {v.reason for v in checked.rejected} == {validation.CHANGED}
    assert fact.answer not in checked.markdown.split("## Rejected")[0]


def test_a_brief_does_not_depend_on_the_number_of_researchers(planted: Planted) -> None:
    for fact in planted.facts:
        briefs = {run(planted.folder, fact.question, workers) for workers in (1, 2, 5, 30)}
        assert len(briefs) == 1


def test_the_total_is_computed_and_holds_when_computed_again(planted: Planted) -> None:
    brief = run(planted.folder, "What is the total revenue of the North region?")
    assert [(f.value, f.unit) for f in brief.figures] == [("489000", "€")]
    assert brief.figures[0].rows == 3
    assert brief.citations[brief.figures[0].citation - 1].place.file == "data/sales.csv"


def test_a_forged_figure_is_rejected(planted: Planted) -> None:
    brief = draft(planted.folder, "What is the total revenue of the North region?")
    forged = brief.figures[0].model_copy(update={"value": "489001"})
    checked = stages.validate(planted.folder, brief.model_copy(update={"figures": (forged,)}))
    assert checked.figures == ()
    assert "489001" not in checked.markdown
    assert "computed again it is 489000" in checked.rejected[0].reason
