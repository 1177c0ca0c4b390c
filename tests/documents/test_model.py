"""Places stay inside the folder and read well."""

import pytest
from pydantic import ValidationError

from workers.documents.model import Place


@pytest.mark.parametrize("file", ["/etc/passwd", "../secret", "a/../../b", "", "a\0b"])
def test_a_place_outside_the_folder_is_refused(file: str) -> None:
    with pytest.raises(ValidationError):
        Place(file=file)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(file="a.pdf", page=3), "a.pdf, page 3"),
        (Place(file="d/a.md", line=7, last_line=7), "d/a.md:7"),
        (Place(file="d/a.md", line=7, last_line=9), "d/a.md:7-9"),
        (Place(file="a.md"), "a.md"),
    ],
)
def test_a_place_reads_as_file_and_line_or_page(place: Place, words: str) -> None:
    assert str(place) == words
