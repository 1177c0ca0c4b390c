"""The bytes of snapshots: a file for each that is whole, and one for the one that comes in."""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from consensus.raft.types import Index, SnapshotMeta
from consensus.storage.errors import Broken
from consensus.storage.files import sync, sync_folder, write_durably
from consensus.storage.store import Staged

_PART = 1 << 20


@dataclass(slots=True)
class _Staging:
    meta: SnapshotMeta
    file: int
    length: int = 0
    crc: int = 0

    @property
    def whole(self) -> bool:
        return (self.length, self.crc) == (self.meta.size, self.meta.crc)


class Snapshots:
    """The files `snapshot-INDEX-TERM-CRC` of a folder, and `staging`.

    A file under its own name is whole and flushed. One of size 0 has no file.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._saved: dict[Index, SnapshotMeta] = {}
        self._staging: _Staging | None = None

    def path(self, meta: SnapshotMeta) -> Path:
        """Where the bytes of a snapshot are once they are whole."""
        return self._folder / f"snapshot-{meta.index}-{meta.term}-{meta.crc:08x}"

    def save(self, meta: SnapshotMeta, data: bytes) -> None:
        """Make the bytes durable, which are those of `meta`."""
        if data:
            write_durably(self.path(meta), data)
        self._saved[meta.index] = meta

    def stage(self, meta: SnapshotMeta, offset: int, data: bytes) -> Staged:
        """See `Store.stage`."""
        staging = self._staging
        if staging is None or staging.meta != meta:
            if offset:
                return Staged(0, 0)
            staging = self._stage_anew(meta)
        if offset == staging.length and offset + len(data) <= meta.size:
            _write_at(staging.file, data, offset)
            staging.length += len(data)
            staging.crc = zlib.crc32(data, staging.crc)
        if staging.length == meta.size and not staging.whole:
            self.forget_staging()
            return Staged(0, 0)
        return Staged(staging.length, staging.crc)

    def install(self, meta: SnapshotMeta) -> None:
        """Make a snapshot's bytes durable that were staged or saved; `ValueError` if they were
        not, or not all."""
        staging = self._staging
        if self._saved.get(meta.index) == meta:
            return
        if staging is None or staging.meta != meta or not staging.whole:
            raise ValueError(
                f"the snapshot at {meta.index} was neither saved nor staged as a whole"
            )
        if meta.size:
            sync(staging.file)
            self._staging_path.replace(self.path(meta))
            sync_folder(self._folder)
        self.forget_staging()
        self._saved[meta.index] = meta

    def read(self, meta: SnapshotMeta, offset: int, length: int) -> bytes:
        """Bytes of a snapshot that is whole; `LookupError` if it is not here."""
        if not meta.size:
            return b""
        try:
            file = os.open(self.path(meta), os.O_RDONLY)
        except FileNotFoundError as error:
            raise LookupError(f"the snapshot at {meta.index} is not here") from error
        try:
            return os.pread(file, length, offset)
        finally:
            os.close(file)

    def check(self, meta: SnapshotMeta) -> None:
        """Read all of it; `Broken` if it is not whole, `OSError` if it cannot be read."""
        size = crc = 0
        try:
            for part in self._parts(meta):
                size, crc = size + len(part), zlib.crc32(part, crc)
        except FileNotFoundError as error:
            raise Broken(f"the file of the snapshot at {meta.index} is missing") from error
        if (size, crc) != (meta.size, meta.crc):
            raise Broken(f"the checksum of the snapshot at {meta.index} is wrong")

    def adopt(self, meta: SnapshotMeta) -> None:
        """After a start: this one is of record, and all other files are stale."""
        self._saved = {meta.index: meta}
        self._staging_path.unlink(missing_ok=True)
        kept = self.path(meta)
        for path in sorted(self._folder.glob("snapshot-*")):
            if path != kept:
                path.unlink()

    def drop(self, record: Index, keep: Sequence[Index]) -> None:
        """Remove what is older than the one of record and not to be kept."""
        for index in [one for one in self._saved if one < record and one not in keep]:
            self.path(self._saved.pop(index)).unlink(missing_ok=True)

    def forget_staging(self) -> None:
        """Throw away what came in so far."""
        if self._staging is not None:
            os.close(self._staging.file)
            self._staging = None
            self._staging_path.unlink(missing_ok=True)

    @property
    def _staging_path(self) -> Path:
        return self._folder / "staging"

    def _stage_anew(self, meta: SnapshotMeta) -> _Staging:
        self.forget_staging()
        file = os.open(self._staging_path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self._staging = _Staging(meta, file)
        return self._staging

    def _parts(self, meta: SnapshotMeta) -> Iterator[bytes]:
        if meta.size:
            with self.path(meta).open("rb") as file:
                while part := file.read(_PART):
                    yield part


def matches(meta: SnapshotMeta, data: bytes) -> bool:
    """Whether these are the bytes of that snapshot."""
    return (len(data), zlib.crc32(data)) == (meta.size, meta.crc)


def _write_at(file: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(file, view, offset)
        view, offset = view[done:], offset + done
