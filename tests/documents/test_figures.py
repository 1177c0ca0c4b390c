"""Figures follow their recipe exactly, and only a question that asks for one gets one."""

from pathlib import Path

import pytest

from tests.documents.running import run
from workers.documents.figures import CannotCompute, compute
from workers.documents.model import Filter, Operation, Recipe
from workers.documents.readers.reading import parse

SALES = b"""\
month,region,units,revenue,note
2026-03,North,5,"1,200.50 kg",a
2026-01,North,3,100 kg,b
2026-02,South,4,,c
2026-01,South,1,50.25 kg,d
"""


def recipe(
    operation: Operation, column: str = "revenue", *where: Filter, order: str = ""
) -> Recipe:
    return Recipe(
        file="sales.csv",
        sha256="",
        table=0,
        table_name="sales",
        operation=operation,
        column=column,
        where=where,
        order=order,
    )


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        ("sum", "1350.75"),
        ("mean", "450.25"),
        ("median", "100"),
        ("min", "50.25"),
        ("max", "1200.5"),
        ("difference", "-1150.25"),
    ],
)
def test_an_operation_is_exact_and_counts_rows_without_numbers(
    operation: Operation, value: str
) -> None:
    done = compute(recipe(operation), parse("sales.csv", SALES))
    assert (done.value, done.unit, done.rows, done.skipped_rows) == (value, "kg", 3, 1)
    assert (done.line, done.last_line) == (2, 5)


def test_rows_are_chosen_without_regard_to_case() -> None:
    done = compute(
        recipe("sum", "units", Filter(column="region", value="nORTH ")), parse("sales.csv", SALES)
    )
    assert (done.value, done.rows, done.line, done.last_line) == ("8", 2, 2, 3)


def test_a_difference_is_last_minus_first_in_time() -> None:
    where = Filter(column="region", value="North")
    done = compute(recipe("difference", "units", where, order="month"), parse("sales.csv", SALES))
    assert done.value == "2"
    assert done.at.startswith("month: 2026-01")


def test_an_extreme_says_which_row_it_stands_on() -> None:
    done = compute(recipe("max", "units"), parse("sales.csv", SALES))
    assert done.at == "month: 2026-03, region: North, note: a"
    assert done.shown_line == 2


@pytest.mark.parametrize(
    "broken",
    [
        recipe("sum", "missing"),
        recipe("sum", "region"),
        recipe("sum", "units", Filter(column="region", value="West")),
        recipe("sum").model_copy(update={"table": 7}),
    ],
)
def test_a_recipe_that_does_not_fit_the_file_cannot_be_computed(broken: Recipe) -> None:
    with pytest.raises(CannotCompute):
        compute(broken, parse("sales.csv", SALES))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sales.csv").write_bytes(SALES)
    (tmp_path / "staff.json").write_text(
        '{"staff": [{"name": "Ada", "office": "Bergen", "age": 40},\n'
        ' {"name": "Bo", "office": "Bergen", "age": 31},\n'
        ' {"name": "Cy", "office": "Oslo", "age": 53}]}',
        encoding="utf-8",
    )
    (tmp_path / "rivers.md").write_text(
        "# Rivers\n\n| river | length in km |\n|---|---|\n| Aar | 295 |\n| Inn | 518 |\n",
        encoding="utf-8",
    )
    (tmp_path / "settings.md").write_text(
        "# Settings\n\n| setting | default |\n|---|---|\n"
        "| name | default |\n| url | none |\n| proxy | none |\n",
        encoding="utf-8",
    )
    (tmp_path / "words.txt").write_text("Nothing is said of this here.\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("question", "value", "words"),
    [
        ("What is the total revenue?", "1350.75", "total of revenue"),
        ("What is the average revenue in the region South?", "50.25", "region = South"),
        ("How many units were sold in total in the North region?", "8", "units"),
        ("Which month had the highest revenue?", "1200.5", "2026-03"),
        ("Which river has the greatest length?", "518", "river: Inn"),
        ("What is the average age of the staff in Bergen?", "35.5", "office = Bergen"),
        ("How many staff work in Bergen?", "2", "number of rows"),
        ("What is the median age of the staff?", "40", "median of age"),
        ("How did the revenue of North change?", "1100.5", "2026-03"),
        ("How many settings have the default none?", "2", "default = none"),
    ],
)
def test_a_question_for_a_figure_gets_it(
    folder: Path, question: str, value: str, words: str
) -> None:
    brief = run(folder, question)
    first = brief.figures[0]
    assert first.value.lstrip("-") == value, brief.markdown
    assert words in f"{first.label} {first.at}"
    assert not brief.rejected
    assert brief.citations[first.citation - 1].place.file == first.recipe.file


def test_per_region_gives_a_figure_for_each(folder: Path) -> None:
    brief = run(folder, "What is the total of units per region?")
    assert {(f.recipe.where[0].value, f.value) for f in brief.figures} == {
        ("North", "8"),
        ("South", "5"),
    }


@pytest.mark.parametrize(
    "question",
    [
        "What is the total revenue of Osprey?",
        "What is the total weight?",
        "How many lighthouses are there?",
        "What does the note of the region say?",
        "What is the maximum length of a message?",
        "How did the revenue change?",
        "How did the age of the staff change?",
    ],
)
def test_a_question_the_tables_do_not_answer_gets_no_figure(folder: Path, question: str) -> None:
    assert run(folder, question).figures == ()
