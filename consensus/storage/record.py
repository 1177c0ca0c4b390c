"""The record that lets an empty folder become the memory of one node, once.

Whoever makes a node writes it; the first start takes it away when the database is durable. So a
folder that was emptied does not begin again, and nobody votes twice.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consensus.raft.types import LIMIT, Configuration, Index, Member, NodeId, SnapshotMeta
from consensus.storage.errors import UnknownFormat
from consensus.storage.files import write_durably
from consensus.storage.store import ClusterId

NAME = "bootstrap.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What a node begins with.

    `configuration`: the first one, the same on each node of a new cluster; None on a node that is
    to join one. `first_index`: of a new cluster's log, the time it was made in milliseconds since
    1970, so that tokens never go back when a cluster is made anew; 0 on a node that is to join.
    `size` and `crc` (CRC-32) are of the state a restored cluster begins with; 0 for none.
    """

    cluster: ClusterId
    node: NodeId
    configuration: Configuration | None = None
    first_index: Index = 0
    size: int = 0
    crc: int = 0

    def __post_init__(self) -> None:
        if not (0 < self.cluster < LIMIT and 0 < self.node < LIMIT):
            raise ValueError("the ids of cluster and node are from 1 to 2^63 - 1")
        if self.configuration is None:
            if self.first_index or self.size or self.crc:
                raise ValueError("a node that joins has neither a first index nor a state")
        elif self.configuration.member(self.node) is None or not 0 < self.first_index < LIMIT:
            raise ValueError("a new cluster needs a first index, and this node among its members")

    @property
    def snapshot(self) -> SnapshotMeta:
        """What the log of the node follows."""
        if self.configuration is None:
            return SnapshotMeta()
        return SnapshotMeta(self.first_index - 1, 0, self.configuration, self.size, self.crc)


def write_record(folder: Path, record: Bootstrap) -> None:
    """Put the record into the folder, durably. `FileExistsError` where there is one."""
    path = folder / NAME
    if path.exists():
        raise FileExistsError(f"there is a record in {folder} already")
    write_durably(path, encode(record))


def encode(record: Bootstrap) -> bytes:
    """JSON for people to read; `crc` is the CRC-32 of the rest without spaces, keys in order."""
    body: dict[str, Any] = {
        "format": _FORMAT,
        "cluster": str(record.cluster),
        "node": str(record.node),
        "configuration": None,
        "first_index": record.first_index,
        "size": record.size,
        "state": record.crc,
    }
    if record.configuration is not None:
        body["configuration"] = [
            {"id": str(one.id), "address": one.address, "voter": one.voter}
            for one in record.configuration.members
        ]
    return json.dumps(body | {"crc": _crc(body)}, indent=2).encode() + b"\n"


def decode(data: bytes) -> Bootstrap:
    """What `encode` made, spaces aside; `ValueError` for anything else, `UnknownFormat` for
    another version's."""
    try:
        body = json.loads(data)
        crc = body.pop("crc")
        if crc != _crc(body):
            raise ValueError("its checksum is wrong")
        if body["format"] != _FORMAT:
            raise UnknownFormat(f"its bootstrap record is of format {body['format']}")
        return _decode(body)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is not a bootstrap record: {error!r}") from error


def _decode(body: dict[str, Any]) -> Bootstrap:
    members = body["configuration"]
    return Bootstrap(
        int(body["cluster"]),
        int(body["node"]),
        None
        if members is None
        else Configuration(
            tuple(
                Member(int(one["id"]), str(one["address"]), bool(one["voter"])) for one in members
            )
        ),
        int(body["first_index"]),
        int(body["size"]),
        int(body["state"]),
    )


def _crc(body: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
