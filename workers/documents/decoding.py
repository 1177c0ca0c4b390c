"""Bytes to text with the line ends that editors count: LF, CR LF and CR are one line end each."""

import logging
import re

from charset_normalizer import from_bytes

from workers.documents.errors import Unreadable

SAMPLE = 64 * 1024
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_BOMS = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


def decode(file: str, data: bytes) -> str:
    """The text of a file: UTF-8 with or without a mark, UTF-16 with one, else a likely charset.

    Raises `Unreadable` for binary data.
    """
    text = _as_unicode(file, data)
    sample = text[:SAMPLE]
    if "\0" in sample or len(_CONTROL.findall(sample)) > 0.02 * len(sample) + 1:
        raise Unreadable(file, "binary data, not text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _as_unicode(file: str, data: bytes) -> str:
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                raise Unreadable(file, f"broken {encoding}: {error.reason}") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _guess(file, data)


def _guess(file: str, data: bytes) -> str:
    if b"\0" in data[:SAMPLE]:
        raise Unreadable(file, "binary data, not text")
    logging.getLogger("charset_normalizer").setLevel(logging.ERROR)
    best = from_bytes(data[:SAMPLE]).best()
    if best is None:
        raise Unreadable(file, "text in no known character set")
    try:
        return data.decode(best.encoding)
    except (UnicodeDecodeError, LookupError) as error:
        raise Unreadable(file, f"not {best.encoding} throughout") from error
