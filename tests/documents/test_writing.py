"""The Markdown shows what the brief holds, and nothing can break out of it."""

from pathlib import Path

from tests.documents.planted import write_pdf
from tests.documents.running import run


def test_a_brief_reads_from_question_to_sources(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", [["Nothing here."], ["Kestrel costs 900 euro."]])
    (tmp_path / "sales.csv").write_text("region,cost\nN,1\nS,2\n", encoding="utf-8")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG")
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    text = run(tmp_path, "What does Kestrel cost?").markdown
    assert text.startswith("# What does Kestrel cost?\n")
    assert "> “Kestrel costs 900 euro.” [1]" in text
    assert "[1] `a.pdf, page 2`: “Kestrel costs 900 euro.”" in text
    assert "- `bad.json`: is not JSON" in text
    assert "- 1 file of kinds that are not read" in text
    assert text.index("> ") < text.index("## Sources") < text.index("## Not read")
    assert text.rstrip().endswith("Each quote and figure was checked against its file.")


def test_a_figure_is_shown_with_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "sales.csv").write_text("region,cost\nN,€1\nS,€2.50\n", encoding="utf-8")
    text = run(tmp_path, "What is the total cost?").markdown
    assert "- total of cost: **3.5 €** [1]" in text
    assert "- 3.5: total of cost, over 2 rows of “sales” in `sales.csv`, lines 2–3 [1]" in text


def test_a_quote_that_needs_its_heading_shows_it(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Kestrel\n\nIt costs 900 euro.\n", encoding="utf-8")
    text = run(tmp_path, "What does Kestrel cost?").markdown
    assert "> under *Kestrel*: “It costs 900 euro.” [1]" in text


def test_html_in_a_document_stays_text(tmp_path: Path) -> None:
    words = "Kestrel costs <script>alert(1)</script> 900 euro.\n"
    (tmp_path / "a.txt").write_text(words, encoding="utf-8")
    text = run(tmp_path, "What does Kestrel cost?").markdown
    assert "\\<script>" in text
    assert " <script>" not in text


def test_not_found_says_what_was_searched(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Words.\n\nMore words.\n", encoding="utf-8")
    text = run(tmp_path, "What does Kestrel cost?").markdown
    assert "**Not found.** Nothing in this folder answers the question." in text
    assert "No passage mentions: Kestrel, cost." in text
    assert "Searched 2 passages of 1 files." in text
    assert "[1]" not in text
