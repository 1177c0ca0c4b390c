"""PDF: the text of each page as pypdf extracts it; scanned pages have none."""

import io
import logging
import re
import warnings

from pypdf import PdfReader
from pypdf.errors import PyPdfError

from workers.documents.errors import Unreadable
from workers.documents.readers.content import Content, one_line

MAX_PAGES = 2000
_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_BREAKS = (PyPdfError, OSError, ValueError, KeyError, TypeError, IndexError, AttributeError)


def read(file: str, data: bytes) -> Content:
    """Read one PDF. Raises `Unreadable` when it is none, broken, encrypted or only pictures."""
    if b"%PDF-" not in data[:1024]:
        raise Unreadable(file, "is not a PDF, although its name says so")
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _read(file, data)


def _read(file: str, data: bytes) -> Content:
    try:
        reader = PdfReader(io.BytesIO(data), strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable(file, "is encrypted")
        count = len(reader.pages)
        if not count:
            raise Unreadable(file, "is a broken or truncated PDF (it has no pages)")
        if count > MAX_PAGES:
            raise Unreadable(file, f"has {count} pages, more than the limit of {MAX_PAGES}")
        pages = [page.extract_text() for page in reader.pages]
        title = str((reader.metadata and reader.metadata.title) or "")
    except (*_BREAKS, RecursionError, ImportError) as error:
        why = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Unreadable(file, f"is a broken or truncated PDF ({why})") from error
    return _content(file, pages, title)


def _content(file: str, pages: list[str], title: str) -> Content:
    if not any(page.strip() for page in pages):
        raise Unreadable(file, "has no text (a scan?)")
    first = next(line for page in pages for line in page.split("\n") if line.strip())
    content = Content(title=one_line(title) or one_line(first)[:120])
    for number, page in enumerate(pages, 1):
        for block in _paragraphs(page):
            content.add(block, (), content.title, page=number)
    return content


def _paragraphs(page: str) -> list[list[str]]:
    """Lines grouped at blank lines and after lines that end a sentence well before the margin."""
    lines = [line.rstrip() for line in page.split("\n")]
    widest = max((len(line) for line in lines), default=0)
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip():
            blocks.append([])
            continue
        blocks[-1].append(line)
        if _END.search(line) and len(line) < 0.8 * widest:
            blocks.append([])
    return [block for block in blocks if block]
