"""Every reader tells the exact place of what it reads, and no file stops the job."""

import contextlib
import json
import logging
import random
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.documents.planted import plant, write_pdf
from workers.documents.document import Document
from workers.documents.errors import Unreadable
from workers.documents.readers.reading import parse, read

NAMES = ("a.txt", "a.md", "a.html", "a.csv", "a.tsv", "a.json", "a.jsonl", "a.py", "a.pdf", "a.rst")


def places(document: Document) -> list[tuple[int, str]]:
    """Every line of text of a document with its raw line."""
    return [
        (number, line)
        for passage in document.passages
        for number, line in zip(passage.lines, passage.text.split("\n"), strict=True)
    ]


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.rst", "a.log"])
def test_lines_of_plain_formats_are_the_raw_lines(name: str) -> None:
    raw = ["# One", "", "two", "three", "", "", "- four", "- five", "", "    six", "", "seven = 7"]
    found = places(parse(name, "\r\n".join(raw).encode()))
    assert found
    assert all(text == raw[number - 1].strip() or text == raw[number - 1] for number, text in found)


@given(st.sampled_from(NAMES), st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
def test_any_bytes_give_a_document_or_unreadable(name: str, data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        document = parse(name, data)
        assert all(p.text.strip() and (p.page or p.lines) for p in document.passages)
        assert all(
            len(p.lines) == p.text.count("\n") + 1 for p in document.passages if p.page is None
        )


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.pdf", b"just words", "is not a PDF"),
        ("a.pdf", b"%PDF-1.7\n1 0 obj <<", "broken or truncated"),
        ("a.json", b"{'a': 1}", "is not JSON"),
        ("a.json", b'{"a": 1', "is not JSON"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "is not JSON"),
        ("a.json", b"[" * 100_000, "nested deeper"),
        ("a.json", b"[" * 500 + b"]" * 500, "nested deeper"),
        ("a.txt", b"\0\1\2\3" * 50, "binary"),
        ("a.txt", b"%PDF-1.4 ...", "is a PDF"),
        ("a.html", b"no tag at all", "is not HTML"),
        ("a.csv", b"<html><body></body></html>", "is HTML"),
        ("a.csv", b'a,b\n1,"' + b"x" * 200_000, "field larger"),
    ],
)
def test_a_file_that_lies_is_unreadable_with_its_reason(
    name: str, data: bytes, reason: str
) -> None:
    with pytest.raises(Unreadable, match=name) as caught:
        parse(name, data)
    assert reason in caught.value.reason


def test_an_encrypted_pdf_is_unreadable(tmp_path: Path) -> None:
    from fpdf import FPDF

    pdf = FPDF()
    pdf.set_encryption(owner_password="owner", user_password="user")
    pdf.add_page()
    pdf.set_font("helvetica", size=12)
    pdf.cell(text="secret")
    pdf.output(str(tmp_path / "a.pdf"))
    with pytest.raises(Unreadable) as caught:
        read(tmp_path, "a.pdf")
    assert "encrypted" in caught.value.reason


def test_a_truncated_pdf_is_unreadable_and_says_nothing_on_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = write_pdf(tmp_path / "a.pdf", [["some words"] * 30] * 3).read_bytes()
    chance = random.Random(1)
    with caplog.at_level(logging.DEBUG):
        for _ in range(30):
            with contextlib.suppress(Unreadable):
                parse("a.pdf", whole[: chance.randrange(10, len(whole))])
    assert not [r for r in caplog.records if r.name.startswith("pypdf") and r.levelno > 10]


def test_pdf_text_is_on_its_page(tmp_path: Path) -> None:
    write_pdf(tmp_path / "a.pdf", [["first page"], ["second page"], ["third page"]])
    passages = read(tmp_path, "a.pdf").passages
    assert [(p.page, p.text) for p in passages] == [
        (1, "first page"),
        (2, "second page"),
        (3, "third page"),
    ]


def test_html_shows_visible_text_at_its_line() -> None:
    page = (
        "<html><head><title>T</title><script>x</script></head>\n<body>\n<!-- no\nno -->\n"
        "<h1>Head</h1>\n<p>One <b>bold</b>\ntwo &amp; <i\nclass='a'>three</i></p>\n"
        "<ul><li>item<li>other</ul><style>p{}</style></body></html>"
    )
    document = parse("a.html", page.encode())
    assert document.title == "T"
    assert places(document) == [
        (1, "T"),
        (5, "Head"),
        (6, "One bold"),
        (7, "two &"),
        (8, "three"),
        (9, "item"),
        (9, "other"),
    ]
    assert {p.heading for p in document.passages[2:]} == {"Head"}


def test_tables_of_html_and_markdown_give_rows_at_their_lines() -> None:
    html = "<table>\n<tr><th>a</th><th>b</th></tr>\n<tr>\n<td>1</td>\n<td>2</td></tr></table>"
    markdown = "# Head\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    for name, text, line in (("a.html", html, 4), ("a.md", markdown, 5)):
        document = parse(name, text.encode())
        assert [(t.columns, t.rows) for t in document.tables] == [(("a", "b"), (("1", "2"),))]
        rows = [p for p in document.passages if p.kind == "row"]
        assert [(p.text, list(p.lines)) for p in rows] == [("a: 1; b: 2", [line])]


def test_markdown_keeps_headings_lists_and_code() -> None:
    text = "# A\n\n## B\n\nLimits:\n\n- one\n- two\n\n```sh\nmake demo\n```\n\n## C\n\nlast\n"
    by_text = {p.text: p for p in parse("a.md", text.encode()).passages}
    assert by_text["- one"].heading == "A › B › Limits:"
    assert by_text["- two"].lines[0] == 8
    assert by_text["```sh\nmake demo\n```"].kind == "code"
    assert by_text["last"].heading == "A › C"


def test_front_matter_is_not_taken_for_a_heading() -> None:
    document = parse("a.md", b"---\ntitle: x\n---\n\n# Real\n\ntext\n")
    assert document.title == "Real"
    assert (7, "text") in places(document)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_row_is_at_the_line_it_begins_on(delimiter: str) -> None:
    rows = ["name,amount", 'one,"1', ' and more"', "", "two,2", "three,3"]
    text = "\n".join(rows).replace(",", delimiter)
    document = parse("a.csv", text.encode())
    assert document.tables[0].columns == ("name", "amount")
    assert document.tables[0].row_lines == (2, 5, 6)
    assert [p.text for p in document.passages[1:]] == [
        "name: one; amount: 1 and more",
        "name: two; amount: 2",
        "name: three; amount: 3",
    ]


def test_a_csv_without_a_header_has_numbered_columns() -> None:
    table = parse("a.csv", b"x,1\ny,2\n").tables[0]
    assert table.columns == ("column 1", "column 2")
    assert table.rows == (("x", "1"), ("y", "2"))


def test_words_above_a_csv_table_are_no_rows() -> None:
    document = parse("a.csv", b"Report of May\n\nname,amount\none,1\ntwo,2\n")
    assert document.passages[0].text == "Report of May"
    assert document.tables[0].row_lines == (4, 5)


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=12)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(VALUES, st.sampled_from([None, 0, 2]))
@example([{}, {"": None}], 0)
def test_a_json_value_stands_on_the_line_it_is_cited_at(value: object, indent: int | None) -> None:
    """But for the name that a column without one is given."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    raw = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, line in places(parse("a.json", text.encode())):
        said = re.sub(r"column \d+: ", "", line).replace(": ", " ")
        words = [w for w in said.split() if w.isascii() and w.isalnum()]
        assert all(word in raw[number - 1] for word in words if indent is not None)
        assert 1 <= number <= len(raw)


def test_json_leaves_know_what_their_objects_are_called() -> None:
    text = '{"crafts": [\n {"name": "Kestrel",\n  "specs": {\n   "mass": 14}}]}'
    passages = {p.text: p for p in parse("a.json", text.encode()).passages}
    assert passages["mass: 14"].heading == "crafts › [0] (Kestrel) › specs"
    assert list(passages["mass: 14"].lines) == [4]


def test_json_lines_are_rows_at_their_lines() -> None:
    document = parse("a.jsonl", b'{"a": 1, "b": "x"}\n\n{"a": 2, "b": "y"}\n')
    assert document.tables[0].row_lines == (1, 3)
    assert [p.text for p in document.passages] == ["a: 1; b: x", "a: 2; b: y"]


def test_python_passages_know_their_function() -> None:
    text = 'class A:\n    """Doc of A."""\n\n    def b(self):\n        # why\n        return 1\n'
    passages = parse("a.py", text.encode()).passages
    assert ("A.b", "prose") in {(p.heading, p.kind) for p in passages}
    assert any(p.text.strip() == '"""Doc of A."""' and p.kind == "prose" for p in passages)


def test_code_that_does_not_parse_is_read_all_the_same() -> None:
    assert parse("a.py", b"def broken(:\n    # why\n").passages
    assert parse("a.rs", b"fn main() {\n // hello\n}\n").passages[0].lines[0] == 1


def test_a_log_and_a_huge_line_are_read() -> None:
    assert len(parse("a.log", b"2026-01-01 ok\n2026-01-02 bad\n").passages) == 1
    assert all(len(p.text) <= 800 for p in parse("a.txt", b"word " * 100_000).passages)


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    plant(tmp_path)
    for path in sorted(tmp_path.rglob("*.*")):
        file = path.relative_to(tmp_path).as_posix()
        assert read(tmp_path, file) == read(tmp_path, file)
