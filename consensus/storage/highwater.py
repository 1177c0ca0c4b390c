"""How far a store ever came, in a file beside the database.

A write-ahead log ends where its first damaged frame is: one flipped bit makes it shorter without an
error, and a vote may be in what is cut off. So every transaction leaves its number here, too. The
file is written in place and not flushed: it survives the end of the process, and after a power
failure it may be behind the database, never ahead of it. It is never lowered.
"""

import os
import struct
import zlib
from pathlib import Path

from consensus.raft.types import NodeId
from consensus.storage.errors import Broken
from consensus.storage.files import sync, write_durably

SIZE = 32
_MARK = b"muster\x00\x01"
_BODY = struct.Struct(">8sQQ4x")
_CRC = struct.Struct(">I")


class HighWater:
    """The open file: mark (8 bytes), node, seq (8 each), zeros (4), CRC-32 of those 28 (4).

    Raises `Broken` for a file that holds anything else, `OSError` as the system does.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR)
        try:
            self.node, self.seq = _decode(os.pread(self._file, SIZE + 1, 0))
        except BaseException:
            os.close(self._file)
            raise

    @classmethod
    def begin(cls, path: Path, node: NodeId) -> "HighWater":
        """Make the file with seq 0, durably, before there is a database."""
        write_durably(path, _encode(node, 0))
        return cls(path)

    def rise(self, seq: int) -> None:
        """Note a transaction that is durable."""
        if seq <= self.seq:
            raise ValueError(f"the high-water mark would be lowered from {self.seq} to {seq}")
        if os.pwrite(self._file, _encode(self.node, seq), 0) != SIZE:
            raise OSError("the high-water mark was written in part")
        self.seq = seq

    def read(self) -> int:
        """What the file says now."""
        return _decode(os.pread(self._file, SIZE + 1, 0))[1]

    def flush(self) -> None:
        """Let the mark survive a power failure, too."""
        sync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _encode(node: NodeId, seq: int) -> bytes:
    body = _BODY.pack(_MARK, node, seq)
    return body + _CRC.pack(zlib.crc32(body))


def _decode(data: bytes) -> tuple[NodeId, int]:
    if len(data) != SIZE:
        raise Broken(f"the high-water file has {len(data)} bytes or more, not {SIZE}")
    mark, node, seq = _BODY.unpack_from(data)
    if mark != _MARK or data != _encode(node, seq):
        raise Broken("the checksum of the high-water file is wrong")
    return node, seq
