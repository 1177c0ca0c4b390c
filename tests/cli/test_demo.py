"""`muster demo` as a user runs it: real processes, real files, embedded servers of its own."""

import json
import re
from pathlib import Path

import pytest

from deploy.brokers import KAFKA
from deploy.errors import ServerMissing
from tests.cli.running import Ended, Muster
from tests.clusters import lay
from tests.documents import planted
from tests.servers import missing
from workers.documents.model import Brief

pytestmark = pytest.mark.slow


def ask(muster: Muster, folder: Path, question: str) -> tuple[Brief, Ended]:
    """The brief that the command prints as JSON, and all it said."""
    ended = muster("demo", "--json", "--folder", str(folder), "--ask", question)
    assert ended.code == 0, ended.err
    return Brief.model_validate(json.loads(ended.out)), ended


@pytest.mark.nats
def test_planted_facts_are_cited_at_their_places(muster: Muster, tmp_path: Path) -> None:
    """Three facts of the planted folder, asked for at once, by at least five processes."""
    truth = planted.plant(tmp_path / "documents")
    facts = truth.facts[:3]
    brief, ended = ask(muster, truth.folder, " ".join(fact.question for fact in facts))
    assert (brief.status, brief.validated) == ("answered", True)
    places = {(c.place.file, c.place.line, c.place.page) for c in brief.citations}
    assert {(f.file, f.line, f.page) for f in facts} <= places
    assert not {c.place.file for c in brief.citations} & set(truth.decoys)
    assert len(set(re.findall(r" s  \w+ +(\d+)  ", ended.err))) >= 5
    assert (tmp_path / "brief.md").read_text(encoding="utf-8") == brief.markdown
    assert "as its events tell" in ended.err
    assert re.search(r" died: invalid, researchers: Input should be .*, got 'three'\n", ended.err)
    assert "checked against the role coordinator and replayed: succeeded" in ended.err
    assert "with the same brief" in ended.err


@pytest.mark.nats
def test_what_the_folder_does_not_say_is_not_found(muster: Muster, tmp_path: Path) -> None:
    """No answer, no citation, and no error: the job was done."""
    truth = planted.plant(tmp_path / "documents")
    brief, _ = ask(muster, truth.folder, "Who won the chess championship of Iceland in 1974?")
    assert brief.status == "not found"
    assert brief.citations == ()


@pytest.mark.nats
def test_a_file_that_lies_about_its_format_is_named_and_left_out(
    muster: Muster, tmp_path: Path
) -> None:
    """The rest of the folder is read; the brief says which file was not, and why."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "lies.pdf").write_text("this is no PDF", encoding="utf-8")
    (folder / "true.txt").write_text("The price of tea is 4 euros per 100 g.", encoding="utf-8")
    brief, _ = ask(muster, folder, "What is the price of tea?")
    assert [c.place.file for c in brief.citations] == ["true.txt"]
    assert "`lies.pdf`: is not a PDF" in brief.markdown


@pytest.mark.nats
def test_a_folder_in_which_every_file_lies_fails_with_the_reasons(
    muster: Muster, tmp_path: Path
) -> None:
    """The job runs and fails: exit code 1, and three lines that name a file."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "lies.pdf").write_text("this is no PDF", encoding="utf-8")
    ended = muster("demo", "--folder", str(folder), "--ask", "What is the price of tea?")
    assert ended.code == 1
    assert len(ended.lines) == 3
    assert "lies.pdf" in ended.lines[1]


@pytest.mark.parametrize("name", ["redis", "rabbitmq", "kafka"])
def test_a_broker_that_is_not_on_this_machine_is_one_error(muster: Muster, name: str) -> None:
    """Three lines, the last of which says what to type; nothing was started."""
    here = muster.folder / "bin"
    here.mkdir()
    nowhere = {"PATH": str(here), "XDG_CACHE_HOME": str(here)}
    if name == "rabbitmq" and Path("/usr/lib/rabbitmq/bin").exists():
        pytest.skip("it is found where its package has put it")
    muster.environment |= nowhere
    muster.environment.pop("KAFKA_HOME", None)
    ended = muster("demo", "--bus", name)
    assert ended.code == 3, ended.err
    assert f"`make servers BROKERS={name}`" in ended.lines[2]
    assert not (muster.folder / ".muster").exists()


@pytest.mark.nats
def test_a_word_that_is_no_broker_is_refused(muster: Muster) -> None:
    """With the one that was meant."""
    ended = muster("demo", "--bus", "reddis")
    assert ended.code == 2
    assert "did you mean redis?" in ended.lines[1]


@pytest.mark.kafka
@pytest.mark.postgres
def test_a_database_runs_beside_a_broker_that_needs_one(free_folder: Path) -> None:
    """Also where no history is kept."""
    documents = free_folder / "documents"
    documents.mkdir()
    (documents / "tea.txt").write_text("The price of tea is 4 euros per 100 g.", encoding="utf-8")
    lay(free_folder / ".muster")
    muster = Muster(free_folder, MUSTER_BUS_URL="kafka")
    try:
        KAFKA.locate()
    except ServerMissing as error:
        missing("kafka", str(error))
    brief, ended = ask(muster, documents, "What is the price of tea?")
    assert [c.place.file for c in brief.citations] == ["tea.txt"]
    assert "database: PostgreSQL" in ended.err
    assert muster("down").out == "nothing runs here\n"
