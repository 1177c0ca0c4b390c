"""What can go wrong with documents."""

from contracts.errors import MusterError

READABLE = "text, Markdown, HTML, PDF, CSV/TSV, JSON and source code"


class DocumentError(MusterError):
    """The root of this package's errors; none of them goes away by trying again."""


class NoDocuments(DocumentError):
    """The folder is missing, is no folder, or holds nothing that can be read."""

    def __init__(self, folder: str, saw: str) -> None:
        super().__init__(
            f"no readable documents in {folder}",
            details=saw,
            actions=(f"give a folder that holds {READABLE}",),
        )
        self.folder = folder


class Unreadable(DocumentError):
    """A file that cannot be read as what its name says; the job goes on without it."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(
            f"{file} was not read",
            details=reason,
            actions=("mend or rename the file, then ask again",),
        )
        self.file = file
        self.reason = reason


class OutsideFolder(DocumentError):
    """A place that points out of the folder: absolute, with `..`, or through a link."""

    def __init__(self, file: str) -> None:
        super().__init__(
            f"{file!r} is not a file inside the folder",
            details="only regular files below the folder are opened; links out of it are not",
            actions=("name a file relative to the folder",),
        )
        self.file = file


class InvalidQuestion(DocumentError):
    """A question without a word to look for."""

    def __init__(self, question: str) -> None:
        super().__init__(
            "the question holds no word to look for",
            details=f"it is {question[:80]!r}",
            actions=("ask with the words the documents would use",),
        )
