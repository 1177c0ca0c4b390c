"""Which files of a folder are documents: a walk in a fixed order that never leaves the folder."""

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from workers.documents.errors import READABLE, NoDocuments, OutsideFolder, Unreadable
from workers.documents.model import FileInfo, Kind, Skipped

LEFT_OUT = frozenset({"node_modules", "__pycache__", "venv"})

_KINDS: dict[Kind, str] = {
    "text": "txt text rst adoc asciidoc org tex log nfo me",
    "markdown": "md markdown mdown mkd mdx",
    "html": "html htm xhtml",
    "pdf": "pdf",
    "delimited": "csv tsv tab",
    "json": "json jsonl ndjson geojson",
    "source": (
        "py pyi js mjs cjs jsx ts tsx java kt kts scala go rs c h cc cpp cxx hpp hh cs swift m mm"
        " rb php pl pm lua r jl hs ml mli ex exs erl clj dart zig nim sh bash zsh fish ps1 bat sql"
        " yaml yml toml ini cfg conf properties env xml xsd proto graphql tf css scss less vue"
        " svelte cmake gradle make mk dockerfile"
    ),
}
_BY_SUFFIX: dict[str, Kind] = {
    suffix: kind for kind, suffixes in _KINDS.items() for suffix in suffixes.split()
}
_BY_NAME: dict[str, Kind] = {
    "makefile": "source",
    "dockerfile": "source",
    "procfile": "source",
    "rakefile": "source",
    "gemfile": "source",
}


def kind_of(name: str) -> Kind | None:
    """The kind of file a name promises; a name without a suffix promises text."""
    base = name.rsplit("/", 1)[-1].lower()
    if base in _BY_NAME:
        return _BY_NAME[base]
    stem, dot, suffix = base.rpartition(".")
    if not dot or not stem:
        return "text"
    return _BY_SUFFIX.get(suffix)


def discover(folder: Path, limit: int) -> tuple[tuple[FileInfo, ...], tuple[Skipped, ...]]:
    """The readable files of a folder and those left out with a reason, both in path order.

    Hidden files, tool folders and links that leave the folder are not documents. `limit` is in
    bytes. Raises `NoDocuments`.
    """
    root = _root(folder)
    files: list[FileInfo] = []
    skipped: list[Skipped] = []
    for name in _walk(root):
        found = _look(root, name, limit)
        if isinstance(found, FileInfo):
            files.append(found)
        else:
            skipped.append(found)
    if not files:
        raise NoDocuments(str(folder), _saw(skipped))
    return tuple(files), tuple(skipped)


def open_inside(folder: Path, file: str) -> bytes:
    """The bytes of a regular file below the folder.

    Raises `OutsideFolder` for any name or link that leaves it, `Unreadable` when it is gone.
    """
    root = folder.resolve()
    path = _inside(root, file)
    if path is None:
        raise OutsideFolder(file)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Unreadable(file, "is not a regular file")
        return path.read_bytes()
    except OSError as error:
        raise Unreadable(file, error.strerror or type(error).__name__) from error


def sha256(data: bytes) -> str:
    """The digest of a whole file, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _inside(root: Path, file: str) -> Path | None:
    pure = PurePosixPath(file)
    if not file or "\0" in file or pure.is_absolute() or ".." in pure.parts:
        return None
    try:
        path = (root / pure).resolve()
    except (OSError, RuntimeError):
        return None
    return path if path.is_relative_to(root) else None


def _root(folder: Path) -> Path:
    if not folder.exists():
        raise NoDocuments(str(folder), "it does not exist")
    if not folder.is_dir():
        raise NoDocuments(str(folder), "it is a file, not a folder")
    return folder.resolve()


def _walk(root: Path) -> Iterator[str]:
    names: list[str] = []
    for here, folders, files in os.walk(root, followlinks=False):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in LEFT_OUT]
        base = Path(here).relative_to(root)
        names += [(base / f).as_posix() for f in files if not f.startswith(".")]
    return iter(sorted(names))


def _look(root: Path, name: str, limit: int) -> FileInfo | Skipped:
    kind = kind_of(name)
    if kind is None:
        return Skipped(file=name, reason="not a kind of file that is read", foreign=True)
    try:
        if _inside(root, name) is None:
            return Skipped(file=name, reason="a link that leaves the folder")
        size = (root / name).stat().st_size
        if size > limit:
            return Skipped(file=name, reason=f"{size:,} bytes, more than the limit of {limit:,}")
        data = open_inside(root, name)
    except Unreadable as error:
        return Skipped(file=name, reason=error.reason)
    except OSError as error:
        return Skipped(file=name, reason=error.strerror or type(error).__name__)
    if not data:
        return Skipped(file=name, reason="is empty")
    if kind == "text" and "." not in name.rsplit("/", 1)[-1] and b"\0" in data[:8192]:
        return Skipped(file=name, reason="binary", foreign=True)
    return FileInfo(file=name, size=len(data), sha256=sha256(data), kind=kind)


def _saw(skipped: list[Skipped]) -> str:
    if not skipped:
        return f"it holds no files; {READABLE} are read"
    some = "; ".join(f"{s.file}: {s.reason}" for s in skipped[:3])
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f"it holds {len(skipped)} file(s), none readable: {some}{more}"
