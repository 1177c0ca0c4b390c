"""Numbered SQL files that make a schema what a release expects, each applied once, in order. Pure.

Each package that keeps tables has its own files, connection and errors; what a file is, and which
are missing, is one thing.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

LEDGER = """
CREATE TABLE {schema}.migrations (
    number  integer PRIMARY KEY,
    name    text NOT NULL,
    digest  text NOT NULL,
    applied timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
"""The table in which a schema keeps what was applied to it; to be formatted with its name."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from one release's tables to the next; released ones never change."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """Tells whether the file is the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


class Newer(Exception):
    """More was applied than this release knows: it would misread the tables."""


class Foreign(Exception):
    """What was applied is not of this project."""


def packaged(package: str) -> list[Migration]:
    """Those of `package` in this release: `migrations/NNNN_name.sql`, numbered without a gap from
    1."""
    found = []
    for file in (files(package) / "migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), match[2], text))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations are not numbered 1, 2, 3, …: {[m.number for m in found]}")
    return found


def missing(done: Mapping[int, str], ours: Sequence[Migration]) -> list[Migration]:
    """What is to be applied where `done`, digests by number, was. Raises `Newer` and `Foreign`,
    with the reason in words."""
    newest = max(done, default=0)
    if newest > len(ours):
        raise Newer(f"is at step {newest}, this release knows {len(ours)}")
    for m in ours:
        if done.get(m.number, m.digest) != m.digest:
            raise Foreign(f"its step {m.number} is not {m.name} of this release")
    return [m for m in ours if m.number not in done]
