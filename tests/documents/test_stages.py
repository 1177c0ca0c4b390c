"""The stages give the same brief however the work is divided, and survive what folders hold."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.documents.planted import plant
from tests.documents.running import over_the_wire, run
from workers.documents import stages
from workers.documents.errors import InvalidQuestion, NoDocuments
from workers.documents.model import Selection

QUESTION = "What does Kestrel cost, who leads it and what is the total revenue of the North region?"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plant(tmp_path_factory.mktemp("folder")).folder


@pytest.fixture(scope="module")
def undivided(folder: Path) -> Selection:
    plan = stages.plan(folder, QUESTION, 1)
    return stages.select(QUESTION, [stages.research(plan.shards[0])], plan.skipped)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cut=st.lists(st.integers(0, 5), min_size=30, max_size=30), data=st.data())
def test_any_division_among_researchers_selects_the_same(
    folder: Path, undivided: Selection, cut: list[int], data: st.DataObject
) -> None:
    whole = stages.plan(folder, QUESTION, 1).shards[0]
    shards = [
        whole.model_copy(
            update={
                "files": tuple(
                    f for f, where in zip(whole.files, cut, strict=True) if where == number
                )
            }
        )
        for number in range(6)
    ]
    order = data.draw(st.permutations(shards))
    assert stages.select(QUESTION, [stages.research(s) for s in order]) == undivided


def test_keeping_the_best_makes_no_difference_to_the_division(tmp_path: Path) -> None:
    """More findings than are kept, of many sets of terms, in files of uneven size."""
    for number in range(40):
        lines = [
            f"Kestrel {'costs' if n % 2 else 'weighs'} {n} {'euro' if n % 3 else 'kg'}"
            f"{' in Bergen' if n % 5 else ''} number {number}.{n}."
            for n in range(number)
        ]
        (tmp_path / f"{number}.txt").write_text("\n\n".join([*lines, "End."]), encoding="utf-8")
    question = "What does Kestrel cost in euro in Bergen, and what does it weigh?"
    assert len({run(tmp_path, question, workers) for workers in (1, 3, 7, 40)}) == 1


def test_a_plan_holds_every_file_once_in_balanced_shards(folder: Path) -> None:
    plan = over_the_wire(stages.plan(folder, QUESTION, 4))
    files = [file.file for shard in plan.shards for file in shard.files]
    assert len(plan.shards) == 4
    assert sorted(files) == sorted(set(files))
    assert len(files) == plan.file_count == 30
    assert plan == stages.plan(folder, QUESTION, 4)


def test_there_are_no_more_shards_than_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words", encoding="utf-8")
    assert len(stages.plan(tmp_path, "words?", 8).shards) == 1


def test_an_empty_question_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidQuestion):
        stages.plan(tmp_path / "missing", "?", 2)


def test_lying_files_are_reported_and_the_rest_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Kestrel costs 900 euro.\n", encoding="utf-8")
    (tmp_path / "b.pdf").write_text("no pdf", encoding="utf-8")
    (tmp_path / "c.json").write_text("{no json", encoding="utf-8")
    brief = run(tmp_path, "What does Kestrel cost?")
    assert brief.status == "answered"
    assert [s.file for s in brief.skipped] == ["b.pdf", "c.json"]
    assert "- `b.pdf`: is not a PDF, although its name says so" in brief.markdown


def test_a_folder_of_lying_files_has_no_documents(tmp_path: Path) -> None:
    (tmp_path / "b.pdf").write_text("no pdf", encoding="utf-8")
    with pytest.raises(NoDocuments, match=r"b\.pdf"):
        run(tmp_path, "What does Kestrel cost?")


def test_a_file_that_vanishes_before_it_is_read_is_reported(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("Kestrel costs 900 euro.\n", encoding="utf-8")
    plan = stages.plan(tmp_path, "What does Kestrel cost?", 1)
    (tmp_path / "b.txt").unlink()
    findings = stages.research(plan.shards[0])
    assert [s.file for s in findings.skipped] == ["b.txt"]
    assert findings.counts.files == 1


def test_findings_fit_a_message(tmp_path: Path) -> None:
    """Hundreds of files full of the question's words give findings below 600 KB."""
    words = "Kestrel cost leads launch warranty mass supplier price range battery".split()
    for number in range(60):
        lines = [
            " ".join(words[(number + n * k) % 10] for k in range(1, 80)) + f" {number}.{n}."
            for n in range(40)
        ]
        (tmp_path / f"{number}.txt").write_text("\n\n".join(lines), encoding="utf-8")
    question = "What is the cost, launch, warranty, mass, supplier, price and range of Kestrel?"
    findings = stages.research(stages.plan(tmp_path, question, 1).shards[0])
    assert len(findings.model_dump_json()) < 600_000


def test_a_shard_of_a_few_files_takes_less_than_a_second(folder: Path) -> None:
    shard = stages.plan(folder, QUESTION, 8).shards[0]
    stages.research(shard)
    began = time.process_time()
    stages.research(shard)
    assert time.process_time() - began < 1.0
