"""The walk through a folder is the same every time and never leaves it."""

import os
from pathlib import Path

import pytest

from workers.documents.discover import discover, kind_of, open_inside
from workers.documents.errors import NoDocuments, OutsideFolder, Unreadable

LIMIT = 1000


def names(folder: Path, limit: int = LIMIT) -> list[str]:
    return [file.file for file in discover(folder, limit)[0]]


def write(folder: Path, *files: str) -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("words", encoding="utf-8")


def test_files_come_in_the_order_of_their_paths(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.txt", "a.txt", "README")
    assert names(tmp_path) == ["README", "a.txt", "a/z.txt", "b.md"]


def test_hidden_and_tool_folders_are_not_documents(tmp_path: Path) -> None:
    write(tmp_path, "a.md", ".git/b.md", ".venv/c.py", "node_modules/d.js", "__pycache__/e.py")
    write(tmp_path, ".muster/f.txt", ".hidden.md")
    assert names(tmp_path) == ["a.md"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, "out/secret.txt", "in/a.txt", "out/deep/b.txt")
    (tmp_path / "in/link.txt").symlink_to(tmp_path / "out/secret.txt")
    (tmp_path / "in/folder").symlink_to(tmp_path / "out")
    files, skipped = discover(tmp_path / "in", LIMIT)
    assert [file.file for file in files] == ["a.txt"]
    assert [(s.file, s.reason) for s in skipped] == [("link.txt", "a link that leaves the folder")]


def test_a_link_to_itself_and_a_pipe_do_not_stop_the_walk(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    (tmp_path / "loop.txt").symlink_to(tmp_path / "loop.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    files, skipped = discover(tmp_path, LIMIT)
    assert [file.file for file in files] == ["a.txt"]
    assert {s.file for s in skipped} == {"loop.txt", "pipe.txt"}


def test_a_large_an_empty_and_a_foreign_file_are_left_out_with_a_reason(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "image.png")
    (tmp_path / "large.txt").write_text("x" * (LIMIT + 1), encoding="utf-8")
    (tmp_path / "empty.txt").touch()
    (tmp_path / "program").write_bytes(b"\x7fELF\0\0")
    skipped = {s.file: s for s in discover(tmp_path, LIMIT)[1]}
    assert "more than the limit" in skipped["large.txt"].reason
    assert skipped["empty.txt"].reason == "is empty"
    assert skipped["image.png"].foreign
    assert skipped["program"].foreign


def test_a_folder_without_documents_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path, "image.png")
    with pytest.raises(NoDocuments, match=r"image\.png"):
        discover(tmp_path, LIMIT)
    with pytest.raises(NoDocuments, match="does not exist"):
        discover(tmp_path / "missing", LIMIT)
    with pytest.raises(NoDocuments, match="not a folder"):
        discover(tmp_path / "image.png", LIMIT)


@pytest.mark.parametrize("file", ["../a.txt", "/etc/hostname", "in/../../a.txt", "", "a\0"])
def test_a_name_that_leaves_the_folder_is_not_opened(tmp_path: Path, file: str) -> None:
    with pytest.raises(OutsideFolder):
        open_inside(tmp_path, file)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="No such file"):
        open_inside(tmp_path, "gone.txt")


def test_a_name_promises_its_kind() -> None:
    kinds = {"a.MD": "markdown", "LICENSE": "text", "Makefile": "source", "x/y.tsv": "delimited"}
    assert {name: kind_of(name) for name in kinds} == kinds
    assert kind_of("a.png") is None
