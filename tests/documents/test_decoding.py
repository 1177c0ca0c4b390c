"""Text in any common encoding, with the line ends that editors count."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.documents.decoding import decode
from workers.documents.errors import Unreadable

TEXT = "Größe: 3 m² – die Prüfung läuft. Änderungen sind möglich.\n" * 5


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_text_is_read_in_its_own_encoding(encoding: str) -> None:
    assert decode("a.txt", TEXT.encode(encoding)) == TEXT


def test_every_line_end_is_one_line_end() -> None:
    assert decode("a.txt", b"a\r\nb\rc\nd") == "a\nb\nc\nd"


@pytest.mark.parametrize("data", [b"\x7fELF\x02\x01\x01\0\0\0\0", bytes(range(256)) * 4])
def test_binary_data_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable, match="binary"):
        decode("a.txt", data)


@given(st.binary(max_size=300))
def test_any_bytes_are_text_or_unreadable(data: bytes) -> None:
    with contextlib.suppress(Unreadable):
        assert "\r" not in decode("a.txt", data)
